"""The one DuckDB instance: opened with every setting fixed, handing out cursors, reopened to heal."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import duckdb

from chronoduck.engine.damage_watch import DamageWatch
from chronoduck.engine.extensions import load_extensions
from chronoduck.engine.failure_judge import FailureJudge
from chronoduck.engine.memory import MemoryBudget, available_cpus, memory_budget
from chronoduck.engine.offline import (
    MetadataCopy,
    drop_failed_checkpoints,
    finish_placing,
    sync_directory,
)
from chronoduck.engine.opening_options import OPENING_OPTIONS
from chronoduck.engine.ownership import DatabaseOwnership
from chronoduck.engine.paths import (
    check_database_file,
    clear_temp_directory,
    find_descriptor,
    is_open_here,
    prepare_directory,
    private_temp_directory,
    restrict_mode,
)
from chronoduck.engine.profiling import METRIC_SETTINGS
from chronoduck.engine.quarantine import check_log
from chronoduck.engine.reachable import check_reachable
from chronoduck.engine.spill_bound import spill_cap
from chronoduck.engine.storage_version import check_storage_version, new_file_config
from chronoduck.engine.version_note import (
    DatabaseVersionError,
    check_version_note,
    write_notes,
)
from chronoduck.engine.volume_probe import VolumeProbe
from chronoduck.errors import (
    DatabaseFailedError,
    DatabaseFormatError,
    DatabaseLockedError,
    DiskFullError,
    DuckDBConnectionError,
    DuckDBException,
    ServiceUnavailableError,
    SettingsError,
)
from chronoduck.logs import get_logger
from chronoduck.settings import Settings
from chronoduck.sql.engine_errors import (
    EngineFailure,
    first_sentence,
    translate,
)
from chronoduck.sql.error_facts import read_facts

__all__ = [
    "CURSOR_SETTINGS",
    "ENCRYPTED_SPILL",
    "Connection",
    "DuckDBInstance",
    "InstanceHeldError",
    "set_up_cursor",
]

Connection = duckdb.DuckDBPyConnection

CURSOR_SETTINGS = METRIC_SETTINGS | {
    # On for query_progress(), and it must never print.
    "enable_progress_bar": "true",
    "enable_progress_bar_print": "false",
    "progress_bar_time": "0",
}
"""Settings that a connection needs for itself; but for the next, all others are locked at the start."""
ENCRYPTED_SPILL = ("SET temp_file_encryption = true", "SET force_mbedtls_unsafe = true")
"""The second one allows DuckDB's own cipher where httpfs, which brings OpenSSL's, is not loaded. Its
random numbers are not made for secrets that last; the key here lives in memory, with the process."""
_ORDER = "preserve_insertion_order"
"""Whoever loads rows in bulk may give their order up for speed, on a connection of its own."""
_CURSOR_SETUP = "; ".join(f"SET {name} = {value}" for name, value in CURSOR_SETTINGS.items())

# httpfs copies these from the environment while it is loaded, and any statement can read settings.
# Beginnings of DuckDB's own sentences: at a start there is nothing else to tell them by, and what users
# wrote (a name in the WAL) stands behind them.
_LOCKED = "Could not set lock on file"
_NO_DATABASE = 'The file "'
_NEWER_FILE = (
    "Trying to read a database file with",
    'Error opening "',
    "Enum value: unrecognized enum value",  # a type that this engine does not have
)
_REPLAYING = 'Failure while replaying WAL file "'
_CHECKPOINT_BYTES = 4 * 262144
"""A checkpoint writes some blocks of metadata at least. Where they do not fit, it ends the instance."""
_SHARED_BLOCKS = "SELECT block_id FROM pragma_metadata_info() WHERE free_blocks > 0 ORDER BY 1"
_log = get_logger("engine")
_CREDENTIALS = ("s3_access_key_id", "s3_secret_access_key", "s3_session_token")


class InstanceHeldError(DatabaseFailedError):
    """The instance that failed cannot be closed while something of it is in use."""


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def set_up_cursor(cursor: Connection) -> Connection:
    """Return the connection with the settings that each one has for itself."""
    cursor.execute(_CURSOR_SETUP)
    return cursor


def _no_space(directory: Path) -> DiskFullError:
    return DiskFullError(
        f"the volume of {directory} has no space for a checkpoint",
        hint="Free space there. The WAL keeps what was committed.",
    )


class DuckDBInstance:
    """Owns the database file from ``open`` to ``close``. Methods may block: call them in threads."""

    def __init__(self, settings: Settings, local_directories: Sequence[Path] = ()) -> None:
        """``local_directories``: code in this process may read and write there by SQL.

        Nobody else's statements touch files at all: the guard sees to that.
        """
        self.settings = settings
        self._local_directories = tuple(local_directories)
        self.budget: MemoryBudget = memory_budget(settings)
        self.temp_directory: Path | None = None
        self.extensions: dict[str, str] = {}
        self.generation = 0
        """Counts the openings; a connection belongs to one of them."""
        self.catalog_changes = 0
        """Grows before and after each COMMIT of a transaction with DDL."""
        self.ownership = DatabaseOwnership(settings.database_path)
        self._metadata = MetadataCopy(settings.database_path)
        self.damage = DamageWatch(settings.database_path)
        self.failures = FailureJudge(
            self,
            VolumeProbe(settings.database_path),
            lambda: (settings.database_path.parent, self.temp_directory),
        )
        self._root: Connection | None = None
        self._lock = threading.Lock()

    def note_catalog_change(self) -> None:
        """Count a change of the catalog, which is about to be committed or just was."""
        with self._lock:
            self.catalog_changes += 1

    @property
    def max_temp_bytes(self) -> int:
        """Cap for spill files."""
        return self.settings.max_temp_size or 2 * self.budget.limit_bytes

    def _spill_cap(self) -> int:
        assert self.temp_directory is not None  # noqa: S101 - it is made before the opening
        directory, floor = self.settings.database_path.parent, self.settings.disk_floor
        return spill_cap(directory, self.temp_directory, self.max_temp_bytes, floor)

    @property
    def spool_directory(self) -> Path:
        """Where uploads wait for the engine; the only directory that statements may always read."""
        if self.temp_directory is None:
            raise ServiceUnavailableError("the database is not open")
        return self.temp_directory / "spool"

    def take(self) -> None:
        """Take ownership of the file and check it, without opening it; ``close`` gives it back.

        Raises:
            DuckDBConnectionError: one of its subclasses, with the fix in its hint.
            SettingsError: ``DUCKDB_ALLOWED_DIRECTORIES`` would let statements overwrite the database,
                or the engine does not know ``DUCKDB_STORAGE_VERSION``.
        """
        path = self.settings.database_path
        self.check_settings()
        prepare_directory(path.parent, mode=0o750, setting="DUCKDB_DATABASE_PATH")
        self.ownership.acquire()
        try:
            finish_placing(path)
            check_database_file(path)
            if blocks := self._metadata.put_back():
                _log.warning("torn_blocks_put_back", blocks=blocks, file=str(self._metadata.path))
            self._repair_wal()
            check_version_note(path)
            self.temp_directory = private_temp_directory(self.settings.temp_directory, path)
            clear_temp_directory(self.temp_directory)
            self.spool_directory.mkdir(mode=0o700, exist_ok=True)
        except BaseException:
            self.ownership.release()
            raise

    def check_settings(self) -> None:
        """Check what the settings say of the file, before it is looked at.

        Raises:
            SettingsError: see ``take``.
        """
        check_storage_version(self.settings.storage_version)
        check_reachable(self.settings)

    def open(self) -> None:
        """Open the file; take it first if that was not done. After a failure it is still taken.

        Raises:
            DuckDBConnectionError: one of its subclasses, with the fix in its hint.
        """
        if not self.ownership.is_held:
            self.take()
        self._connect()

    def _connect(self) -> None:
        path = self.settings.database_path
        is_new = not path.exists()
        previous = os.umask(0o027)  # the file is made 0640 from its first byte
        try:
            root = duckdb.connect(
                str(path),
                config=OPENING_OPTIONS | new_file_config(self.settings.storage_version),
            )
        except (duckdb.Error, RuntimeError, ValueError) as error:  # a damaged name is no UTF-8
            raise self._opening_error(error) from error
        finally:
            os.umask(previous)
        try:
            self._configure(root)
            root.execute("SELECT 1").fetchall()
        except duckdb.Error as error:
            root.close()
            raise translate(error) from error
        restrict_mode(path)
        write_notes(path)
        if is_new:
            sync_directory(path.parent)  # DuckDB does not
        with self._lock:
            self._root = root
            self.generation += 1

    def _opening_error(self, error: Exception) -> DuckDBConnectionError:
        path = self.settings.database_path
        message = read_facts(error).message
        if message.startswith(_REPLAYING):
            message = message.removeprefix(_REPLAYING).partition('": ')[2]
        if message.startswith(_LOCKED):
            return DatabaseLockedError(
                f"{path} is in use by a process that is not a chronoduck service: {message}",
                hint="Close that process, then start again.",
            )
        if message.startswith(_NEWER_FILE):
            return DatabaseVersionError(
                f"{path} was written by another version of DuckDB than {duckdb.__version__}: "
                f"{message.splitlines()[0]}",
                hint="Install the DuckDB version that wrote it, or export and import the data.",
            )
        if message.startswith(_NO_DATABASE):
            return DatabaseFormatError(f"{path} is not a DuckDB database")
        return DatabaseFailedError(
            f"{path} cannot be opened: {first_sentence(error)}",
            hint="Keep the file and its .wal as they are. Start the service: it tries other ways, "
            "and says what each of them came to.",
        )

    def _configure(self, root: Connection) -> None:
        """Apply the settings in the order that works: secrets need extensions, the lock comes last."""
        settings = self.settings
        # Only the replay of the WAL needed it.
        root.execute("SET autoload_known_extensions = false")
        self.extensions = load_extensions(root, settings)
        for name in _CREDENTIALS if self.extensions["httpfs"] == "loaded" else ():
            root.execute(f"SET GLOBAL {name} = ''")  # RESET would bring them back
        root.execute("SET allow_persistent_secrets = false")
        directories = [
            str(self.spool_directory),
            str(settings.rescue_path),
            *settings.allowed_directories,
            *map(str, self._local_directories),
        ]
        if settings.enable_s3 and self.extensions.get("httpfs") == "loaded":
            self._create_s3_secret(root)
            directories.append("s3://")
        allowed = ", ".join(_literal(directory) for directory in directories)
        for statement in (
            f"SET memory_limit = '{self.budget.limit_bytes}B'",
            f"SET threads = {settings.engine_threads or available_cpus()}",
            f"SET temp_directory = {_literal(str(self.temp_directory))}",
            f"SET max_temp_directory_size = '{self._spill_cap()}B'",
            *(ENCRYPTED_SPILL if settings.temp_encryption else ()),
            "SET GLOBAL TimeZone = 'UTC'",
            "SET GLOBAL arrow_lossless_conversion = true",
            f"SET allowed_directories = [{allowed}]",
            f"SET allowed_configs = {sorted((*CURSOR_SETTINGS, _ORDER))}",
            "SET enable_external_access = false",
            "SET lock_configuration = true",
        ):
            root.execute(statement)

    def _create_s3_secret(self, root: Connection) -> None:
        settings = self.settings
        key, secret = settings.aws_access_key_id, settings.aws_secret_access_key
        if key is None or secret is None:
            return
        parts = [
            "TYPE s3",
            f"KEY_ID {_literal(key.get_secret_value())}",
            f"SECRET {_literal(secret.get_secret_value())}",
            f"REGION {_literal(settings.aws_default_region)}",
        ]
        if settings.replica.endpoint is not None:
            endpoint = urlsplit(settings.replica.endpoint)
            parts += [
                f"ENDPOINT {_literal(endpoint.netloc)}",
                f"USE_SSL {str(endpoint.scheme == 'https').lower()}",
                "URL_STYLE 'path'",
            ]
        if settings.aws_session_token is not None:
            parts.append(f"SESSION_TOKEN {_literal(settings.aws_session_token.get_secret_value())}")
        try:
            root.execute(f"CREATE SECRET aws ({', '.join(parts)})")
        except duckdb.Error:
            # DuckDB repeats the statement in its message, and the statement holds the keys.
            raise SettingsError(
                "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_DEFAULT_REGION do not make a secret"
            ) from None

    def cursor(self) -> Connection:
        """Return a fresh connection to the instance; about 0.6 ms.

        Raises:
            EngineFailure: the instance is closed or invalid.
        """
        with self._lock:
            root = self._root
        if root is None:
            raise ServiceUnavailableError("the database is not open")
        try:
            return set_up_cursor(root.cursor())
        except duckdb.Error as error:
            failure = translate(error)
            if isinstance(failure, EngineFailure):
                failure.had_no_effect = True  # nothing has begun
            raise failure from error

    def is_valid(self) -> bool:
        """Whether the instance still answers; a fatal error makes every connection fail for good.

        One that has no memory for an answer is busy, and not lost.
        """
        try:
            self.cursor().execute("SELECT 1").fetchall()
        except DuckDBConnectionError:
            return False
        except duckdb.Error as error:
            return not isinstance(translate(error), DuckDBConnectionError)
        except DuckDBException:
            return True
        return True

    def judge(
        self, error: DuckDBException, generation: int, *, is_checkpoint: bool = False
    ) -> DuckDBException:
        """Return the error as the file and measurements show it; see ``FailureJudge``. Blocks."""
        seen = self.damage.judge(error)
        return self.failures.judge(seen, generation, is_checkpoint=is_checkpoint)

    def reopen(self, between: Callable[[], None] = lambda: None) -> float:
        """Close every connection and open the file again, keeping the ownership; return the seconds.

        ``between`` is called while the file is closed.

        Raises:
            InstanceHeldError: something of the old instance is still in use; call again later.
            DuckDBConnectionError: the file cannot be opened now; call again later.
        """
        started = time.perf_counter()
        self._close_root()
        if is_open_here(self.settings.database_path):
            # DuckDB would wait in connect() for the last reference to go, without an end.
            raise InstanceHeldError(
                "a connection or a result still holds the instance that failed",
                hint="It is closed when its statement ends; else restart the service.",
            )
        between()
        self._repair_wal()
        check_log(self.settings.database_path)
        self._connect()
        self.damage.recheck()
        return time.perf_counter() - started

    def _repair_wal(self) -> None:
        if dropped := drop_failed_checkpoints(self.settings.database_path):
            _log.warning("failed_checkpoint_dropped", bytes=dropped)

    def prepare_checkpoint(self, connection: Connection) -> None:
        """Copy what a checkpoint overwrites, so that a power cut in it can be undone.

        When the copy fails the checkpoint is run all the same, because a WAL that only grows is worse.
        A full volume is different: there the checkpoint would fail, too, and end the instance.

        Raises:
            DiskFullError: The volume has no space for the copy.
        """
        directory = self.settings.database_path.parent
        try:
            if shutil.disk_usage(directory).free < _CHECKPOINT_BYTES:
                raise _no_space(directory)
            rows = connection.execute(_SHARED_BLOCKS).fetchall()
            descriptor = find_descriptor(self.settings.database_path)
            if descriptor is not None:
                self._metadata.save(descriptor, [int(row[0]) for row in rows])
        except (duckdb.Error, OSError) as error:
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise _no_space(directory) from error
            _log.warning("checkpoint_without_copy", error=str(error))

    def _close_root(self) -> None:
        with self._lock:
            root, self._root = self._root, None
        if root is not None:
            with contextlib.suppress(DiskFullError):
                self.prepare_checkpoint(root)  # closing is one, too
            with contextlib.suppress(duckdb.Error):
                root.close()

    def close(self) -> None:
        """Checkpoint, close and release the file; idempotent."""
        with self._lock:
            root = self._root
        if root is not None:
            # A checkpoint that fails here loses nothing: the log is replayed at the next start.
            with contextlib.suppress(duckdb.Error, DiskFullError):
                self.prepare_checkpoint(root)
                root.execute("CHECKPOINT")
        self._close_root()
        self.ownership.release()
