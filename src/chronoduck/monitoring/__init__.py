"""What the service tells about itself: statements' history, health, statistics, the machine.

Reads numbers that others keep and never runs a user's statement. Must not know the service, HTTP or
DuckDB: ``assembly`` hands it probes.
"""
