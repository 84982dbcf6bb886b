"""DuckDB's database file and write-ahead log as bytes: headers, blocks, entries, checksums.

Read without DuckDB, by a process that does not have the database open: closing any descriptor of the
file in the process that does would drop DuckDB's lock.
"""

from chronoduck.engine.disk_format.checksum import checksum
from chronoduck.engine.disk_format.database_file import (
    BLOCK_BYTES,
    HEADER_BYTES,
    DamagedHeaderError,
    DatabaseFile,
    DatabaseHeader,
    database_id,
    format_number,
    headers_sha256,
    is_block_intact,
    newest_iteration,
    read_header,
    read_roots,
    root_block,
)
from chronoduck.engine.disk_format.failed_checkpoint import (
    may_end_in_checkpoint,
    without_failed_checkpoints,
)
from chronoduck.engine.disk_format.free_list import ReadAt, free_blocks, missing_blocks
from chronoduck.engine.disk_format.wal_damage import WalDamage, find_damage, torn_end
from chronoduck.engine.disk_format.wal_file import (
    WalCursor,
    read_wal,
    transaction_ends,
    version_end,
    wal_owner,
)

__all__ = [
    "BLOCK_BYTES",
    "HEADER_BYTES",
    "DamagedHeaderError",
    "DatabaseFile",
    "DatabaseHeader",
    "ReadAt",
    "WalCursor",
    "WalDamage",
    "checksum",
    "database_id",
    "find_damage",
    "format_number",
    "free_blocks",
    "headers_sha256",
    "is_block_intact",
    "may_end_in_checkpoint",
    "missing_blocks",
    "newest_iteration",
    "read_header",
    "read_roots",
    "read_wal",
    "root_block",
    "torn_end",
    "transaction_ends",
    "version_end",
    "wal_owner",
    "without_failed_checkpoints",
]
