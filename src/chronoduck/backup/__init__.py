"""Plain backups: one compressed file each, that ``zstd -d`` or ``gunzip`` alone restores.

Knows the database file, its log and the backup directory. Must not know replicas, HTTP or schedules.
"""
