"""The query log's own small database: an instance beside the served one, which it cannot disturb.

It is not a table of the served database, nor attached to it: its writes wake no checkpoint, take no
gate of writers and reach no replica, its failures are none of the served instance's, and whoever gets
past every check of a statement still does not find it there. What reads it runs on a connection to
this instance, where users' tables do not exist either.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from chronoduck.engine.database import (
    CURSOR_SETTINGS,
    ENCRYPTED_SPILL,
    Connection,
    set_up_cursor,
)
from chronoduck.engine.opening_options import CLOSED_OPTIONS
from chronoduck.engine.paths import is_open_here
from chronoduck.engine.storage_version import new_file_config
from chronoduck.engine.volume_probe import VolumeProbe
from chronoduck.errors import (
    DiskFullError,
    DuckDBConnectionError,
    DuckDBException,
    ServiceUnavailableError,
)
from chronoduck.logs import get_logger
from chronoduck.resilience.service_time import CarefulClock
from chronoduck.sql.engine_errors import FULL_ERRNOS
from chronoduck.sql.error_facts import read_facts

__all__ = ["QUERY_LOG_COLUMNS", "QueryLogStore", "reading_query_log"]

QUERY_LOG_COLUMNS: dict[str, str] = {
    "time": "TIMESTAMP",
    "statement_id": "VARCHAR",
    "request_id": "VARCHAR",
    "principal": "VARCHAR",
    "user_name": "VARCHAR",
    "role": "VARCHAR",
    "client_address": "VARCHAR",
    "kind": "VARCHAR",
    "template": "VARCHAR",
    "statement": "VARCHAR",
    "fingerprint": "VARCHAR",
    "query_hash": "VARCHAR",
    "outcome": "VARCHAR",
    "error_code": "VARCHAR",
    "rule": "VARCHAR",
    "row_count": "BIGINT",
    "result_bytes": "BIGINT",
    "memory_mb": "DOUBLE",
    "queue_seconds": "DOUBLE",
    "execution_seconds": "DOUBLE",
    "engine_seconds": "DOUBLE",
    "error_type": "VARCHAR",
}
"""Columns of ``chronoduck.query_log`` and their types; ``time`` is the end, in UTC.

New ones come last: so they stand in a file of an earlier version, too.
"""
_LATER_COLUMNS = ("error_type",)
"""Those that a file of an earlier version lacks: they are added, and NULL in its rows."""

_MEMORY_LIMIT = "128MB"
_SPILL_LIMIT = "1GB"
_CHECKPOINT_SIZE = "4MB"
"""Of the write-ahead log: what is not in the file yet is in memory, and a checkpoint needs some, too."""
_MEMORY_ROWS = 50_000
"""Rows that are kept while there is no file to keep them in."""
_KEPT_WINDOWS_SECONDS = 8 * 86_400
_ARROW = {
    "TIMESTAMP": pa.timestamp("us"),
    "VARCHAR": pa.string(),
    "BIGINT": pa.int64(),
    "DOUBLE": pa.float64(),
}
_SCHEMA = pa.schema([(name, _ARROW[kind]) for name, kind in QUERY_LOG_COLUMNS.items()])
_TABLES = (
    "CREATE TABLE IF NOT EXISTS chronoduck.query_log ("
    + ", ".join(f"{name} {kind}" for name, kind in QUERY_LOG_COLUMNS.items())
    + ")",
    "CREATE TABLE IF NOT EXISTS chronoduck.query_windows (start BIGINT, counts VARCHAR)",
    *(
        f"ALTER TABLE chronoduck.query_log ADD COLUMN IF NOT EXISTS {name} {QUERY_LOG_COLUMNS[name]}"
        for name in _LATER_COLUMNS
    ),
)
_PRUNE = """
DELETE FROM chronoduck.query_log WHERE time < greatest(
    make_timestamp(?::BIGINT),
    (SELECT time FROM chronoduck.query_log ORDER BY time DESC LIMIT 1 OFFSET ?)
)
"""
_OF_THE_MACHINE = FULL_ERRNOS | {
    errno.EAGAIN,  # another process holds the lock
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOMEM,
}
"""Error numbers that a new file would meet, too."""
_RETRY_SECONDS = 60.0
_USED = """
SELECT used_blocks * block_size FROM pragma_database_size() WHERE database_name = 'chronoduck'
"""

_log = get_logger("query_log")


class QueryLogStore:
    """Opens, fills and prunes the log. One thread at a time, but for ``cursor``. Everything blocks."""

    def __init__(
        self,
        path: Path,
        keep_rows: int,
        keep_days: int,
        *,
        storage_version: str,
        space_bytes: int = sys.maxsize,
        check_volume: Callable[[int], None] = lambda count: None,
    ) -> None:
        """``space_bytes``: about what the file may take; the oldest rows go. ``check_volume`` raises
        when so many bytes more would leave too little on the disk: the rows are lost then."""
        self._path = path
        self._space_bytes = space_bytes
        self._check_volume = check_volume
        self._unpruned_bytes = 0
        self._storage_version = storage_version
        self._keep_rows = keep_rows
        self._keep_days = keep_days
        self._root: Connection | None = None
        self._clock = CarefulClock()
        self._lock = threading.Lock()
        self._unpruned = 0
        self._retry_at = 0.0
        """``time.monotonic()``: when to look for the file again."""
        self.is_persistent = False
        self.error: str | None = None
        """Why it is not in its file, or not open at all."""

    @property
    def is_open(self) -> bool:
        """Whether rows can be taken."""
        return self._root is not None

    def open(self) -> None:
        """Open the file, or set a damaged one aside for a new one; else go on in memory.

        Never raises for the file's sake: a service without a log is better than none.
        """
        if self._root is not None or is_open_here(self._path):
            return  # a reader still holds the instance that failed, and two would spoil the file
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._root = self._open_file()
            self.is_persistent = True
        except (OSError, duckdb.Error) as error:
            self._root = _connect(None, self._storage_version)
            self.is_persistent = False
            self.error = _reason(error)
            self._retry_at = time.monotonic() + _RETRY_SECONDS
            _log.warning("query_log_in_memory", reason=self.error)

    def _return_to_file(self) -> None:
        """Go on in the file, now that it can be opened, with what was kept in memory meanwhile."""
        self._retry_at = time.monotonic() + _RETRY_SECONDS
        memory = self._root
        if memory is None or is_open_here(self._path):
            return
        try:
            with contextlib.closing(memory.cursor()) as cursor:
                kept: pa.Table = cursor.execute("FROM chronoduck.query_log").to_arrow_table()
            self._root = self._open_file()
        except (OSError, duckdb.Error):
            return
        self.is_persistent = True
        memory.close()
        self._insert(kept, ())
        _log.info("query_log_in_file_again", rows=kept.num_rows)

    def _open_file(self) -> Connection:
        try:
            return _connect(self._path, self._storage_version)
        except duckdb.Error as error:
            if not _is_damaged(error, self._path):
                raise
            reason = _reason(error)
        aside = self._path.with_name(self._path.name + ".damaged")
        self._path.replace(aside)  # it goes over the one before: one is enough to look at
        with contextlib.suppress(FileNotFoundError):
            _wal_of(self._path).replace(_wal_of(aside))
        _log.warning("query_log_set_aside", reason=reason, file=str(aside))
        return _connect(self._path, self._storage_version)

    def append(
        self, columns: Mapping[str, Sequence[Any]], windows: Sequence[tuple[int, str]]
    ) -> bool:
        """Add rows, and put windows in place of those of the same start, in one transaction.

        Returns whether they were kept; a log that failed is opened anew by the next call.
        """
        incoming = pa.table(dict(columns), schema=_SCHEMA)
        self.open()
        if self._root is None:
            return False
        try:
            if not self.is_persistent and time.monotonic() >= self._retry_at:
                self._return_to_file()
            if self.is_persistent:
                self._check_volume(incoming.nbytes)
            self._insert(incoming, windows)
            self._unpruned += incoming.num_rows
            self._unpruned_bytes += incoming.nbytes
            is_much = self._unpruned_bytes >= self._space_bytes // 10
            if is_much or self._unpruned >= max(1_000, self._kept_rows // 20):
                self.prune()
        except DiskFullError as error:
            if self.error != error.detail:
                _log.warning("query_log_write_failed", reason=error.detail)
            self.error = error.detail
            return False
        except duckdb.Error as error:
            self._close_root()
            if self.error != (reason := _reason(error)):
                _log.warning("query_log_write_failed", reason=reason)
            self.error = reason
            return False
        if self.is_persistent:
            self.error = None
        return True

    def _insert(self, incoming: pa.Table, windows: Sequence[tuple[int, str]]) -> None:
        assert self._root is not None  # noqa: S101 - the log is open
        with contextlib.closing(self._root.cursor()) as cursor:
            _run(cursor, "BEGIN")
            cursor.register("incoming", incoming)
            _run(cursor, "INSERT INTO chronoduck.query_log BY NAME FROM incoming")
            for window in windows:
                _run(cursor, "DELETE FROM chronoduck.query_windows WHERE start = ?", window[:1])
                _run(cursor, "INSERT INTO chronoduck.query_windows VALUES (?, ?)", window)
            _run(cursor, "COMMIT")

    @property
    def _kept_rows(self) -> int:
        return self._keep_rows if self.is_persistent else min(self._keep_rows, _MEMORY_ROWS)

    def prune(self) -> None:
        """Delete what is older or more than is kept; the file does not shrink but is filled again.

        Raises:
            duckdb.Error: it failed.
        """
        assert self._root is not None  # noqa: S101 - the log is open
        self._unpruned = self._unpruned_bytes = 0
        now = self._clock.now()
        oldest = now - self._keep_days * 86_400
        with contextlib.closing(self._root.cursor()) as cursor:
            _run(cursor, _PRUNE, [int(oldest * 1e6), self._kept_rows])
            _run(
                cursor,
                "DELETE FROM chronoduck.query_windows WHERE start < ?",
                [int(now) - _KEPT_WINDOWS_SECONDS],
            )
            self._prune_bytes(cursor)

    def _prune_bytes(self, cursor: Connection) -> None:
        """Delete the oldest rows when the file takes more than it may; space is used again."""
        if not self.is_persistent or self._path.stat().st_size <= self._space_bytes // 2:
            return
        _run(cursor, "CHECKPOINT chronoduck")
        [[used]] = cursor.execute(_USED).fetchall()
        if used <= self._space_bytes // 2:
            return
        # Half of what it may take: what is deleted stays in the file until the next checkpoint.
        [[rows]] = cursor.execute("SELECT count(*) FROM chronoduck.query_log").fetchall()
        kept = int(rows * self._space_bytes / 2 / used)
        _run(cursor, _PRUNE, [0, kept])
        _run(cursor, "CHECKPOINT chronoduck")

    def read_windows(self, since: int) -> list[tuple[int, str]]:
        """Return the windows that begin at ``since`` (Unix time) or later, and forget older ones."""
        if self._root is None:
            return []
        try:
            with contextlib.closing(self._root.cursor()) as cursor:
                _run(cursor, "DELETE FROM chronoduck.query_windows WHERE start < ?", [since])
                cursor.execute("SELECT start, counts FROM chronoduck.query_windows ORDER BY start")
                return cursor.fetchall()
        except duckdb.Error as error:
            _log.warning("query_log_unreadable", reason=_reason(error))
            return []

    def cursor(self) -> Connection:
        """Return a connection for one statement that reads; safe from any thread.

        Raises:
            ServiceUnavailableError: the log is closed.
        """
        with self._lock:
            root = self._root
        try:
            if root is not None:
                return set_up_cursor(root.cursor())
        except duckdb.Error as error:
            _log.warning("query_log_unreadable", reason=_reason(error))
        raise ServiceUnavailableError(
            "the query log is not open", hint="DUCKDB_QUERY_LOG_ENABLED and the log tell why."
        )

    def close(self) -> None:
        """Fold the write-ahead log into the file and close; idempotent."""
        self._close_root()

    def _close_root(self) -> None:
        with self._lock:
            root, self._root = self._root, None
        if root is not None:
            with contextlib.suppress(duckdb.Error):
                root.close()


@contextlib.contextmanager
def reading_query_log() -> Iterator[None]:
    """Have a failure of the log's instance be no failure of the served one.

    Raises:
        ServiceUnavailableError: the log's instance failed.
    """
    try:
        yield
    except DuckDBException as error:
        if isinstance(error, DuckDBConnectionError) or error.code == "engine_bug":
            raise ServiceUnavailableError(
                "the query log cannot be read now",
                hint="It is opened anew when it is written next; look for query_log in the log.",
            ) from error
        raise


def _connect(path: Path | None, storage_version: str) -> Connection:
    """Open an instance in which the file is the catalogue ``chronoduck``, and nothing else is."""
    file = ":memory:" if path is None else str(path)
    spill = "" if path is None else f"{path}.tmp"
    previous = os.umask(0o077)
    try:
        root = duckdb.connect(
            ":memory:",
            config={
                **CLOSED_OPTIONS,
                "threads": "1",
                "wal_autocheckpoint": _CHECKPOINT_SIZE,
                "memory_limit": _MEMORY_LIMIT,
                **new_file_config(storage_version),
            },
        )
        try:
            for statement in (
                f"ATTACH {_quoted(file)} AS chronoduck",
                *_TABLES,
                "SET allow_persistent_secrets = false",
                f"SET temp_directory = {_quoted(spill)}",
                f"SET max_temp_directory_size = '{_SPILL_LIMIT}'",
                *ENCRYPTED_SPILL,
                "SET GLOBAL TimeZone = 'UTC'",
                "SET GLOBAL arrow_lossless_conversion = true",
                f"SET allowed_configs = {sorted(CURSOR_SETTINGS)}",
                "SET enable_external_access = false",
                "SET lock_configuration = true",
            ):
                _run(root, statement)
        except duckdb.Error:
            root.close()
            raise
    finally:
        os.umask(previous)
    return root


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _run(connection: Connection, sql: str, params: Sequence[Any] = ()) -> None:
    """Run a statement to its end: DuckDB 2.0 runs no other before its result was read."""
    connection.execute(sql, params).fetchall()


def _wal_of(path: Path) -> Path:
    return path.with_name(path.name + ".wal")


def _is_damaged(error: duckdb.Error, path: Path) -> bool:
    """Whether the file is at fault, and neither this machine nor its disk."""
    facts = read_facts(error)
    if facts.type == "Out of Memory" or facts.errno in _OF_THE_MACHINE:
        return False
    found = VolumeProbe(path).look()
    return not (found.is_full or found.is_failed)


def _reason(error: Exception) -> str:
    """Return the first line of what happened."""
    text = str(error)
    if isinstance(error, duckdb.Error):
        text = read_facts(error).message
    return text.splitlines()[0] if text else type(error).__name__
