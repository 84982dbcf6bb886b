"""A database that no process serves: copied, opened by more than one way, read, put in place.

Every use of such a file goes through here: start, recover, restore, verify, backup, drill and
compaction. Nothing here knows of replicas, backups or settings. DuckDB runs in child processes.
"""

from chronoduck.engine.offline.aside import (
    SetAside,
    find_set_aside,
    free_name,
    free_suffix,
    rename_aside,
)
from chronoduck.engine.offline.attempt import AttemptFailedError, Budget, Run, attempt
from chronoduck.engine.offline.files import (
    clone_database,
    database_files,
    files_bytes,
    remove_database,
    side_files,
    sync_directory,
)
from chronoduck.engine.offline.held import HeldWal
from chronoduck.engine.offline.marker import OpeningMark
from chronoduck.engine.offline.metadata_copy import MetadataCopy
from chronoduck.engine.offline.naming import speaking_of
from chronoduck.engine.offline.placing import finish_placing, is_placing_unfinished, place_database
from chronoduck.engine.offline.prefix import Transactions
from chronoduck.engine.offline.reading import Reading, read_database
from chronoduck.engine.offline.replayed_wal import join_wal, read_root, replayed_wal
from chronoduck.engine.offline.snapshot import SnapshotError, copy_database
from chronoduck.engine.offline.trial import Poisoned, find_poisoned
from chronoduck.engine.offline.wal_repair import drop_failed_checkpoints
from chronoduck.engine.offline.ways import Opening, UnopenableError, Way, open_by_ways

__all__ = [
    "AttemptFailedError",
    "Budget",
    "HeldWal",
    "MetadataCopy",
    "Opening",
    "OpeningMark",
    "Poisoned",
    "Reading",
    "Run",
    "SetAside",
    "SnapshotError",
    "Transactions",
    "UnopenableError",
    "Way",
    "attempt",
    "clone_database",
    "copy_database",
    "database_files",
    "drop_failed_checkpoints",
    "files_bytes",
    "find_poisoned",
    "find_set_aside",
    "finish_placing",
    "free_name",
    "free_suffix",
    "is_placing_unfinished",
    "join_wal",
    "open_by_ways",
    "place_database",
    "read_database",
    "read_root",
    "remove_database",
    "rename_aside",
    "replayed_wal",
    "side_files",
    "speaking_of",
    "sync_directory",
]
