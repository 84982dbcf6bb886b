"""Data in from PostgreSQL: what is declared, read in a process of its own, and merged into tables.

Knows PostgreSQL's types and the engine's SQL. Must not know DuckDB's Python package, HTTP or the
service: it is handed functions that run statements in a transaction.
"""

from chronoduck.sync.declaration import SourceDeclaration, SyncDeclaration, SyncFile, read_sync_file
from chronoduck.sync.failures import (
    SyncDataError,
    SyncDriftError,
    SyncDriverError,
    SyncNotFoundError,
    SyncSourceError,
)

__all__ = [
    "SourceDeclaration",
    "SyncDataError",
    "SyncDeclaration",
    "SyncDriftError",
    "SyncDriverError",
    "SyncFile",
    "SyncNotFoundError",
    "SyncSourceError",
    "read_sync_file",
]
