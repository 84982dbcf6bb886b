"""Running one statement on one connection, in a worker thread, and reading its result."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Literal

import duckdb
import pyarrow as pa

from chronoduck.engine.cancellation import CancelToken
from chronoduck.engine.database import Connection
from chronoduck.engine.failures import translate

__all__ = [
    "BATCH_ROWS",
    "FetchMode",
    "Params",
    "Rows",
    "RunningResult",
    "SqlSession",
    "execute",
    "transaction",
]

Params = Sequence[Any] | Mapping[str, Any] | None
FetchMode = Literal["all", "one", "many", "none"]
Rows = list[tuple[Any, ...]]

BATCH_ROWS = 32_768
"""Rows of one Arrow batch: 16 of DuckDB's vectors; larger ones encode no faster."""

_PEAK_MEMORY = re.compile(r'"system_peak_buffer_memory": (\d+)')


@contextmanager
def _engine_errors(token: CancelToken, sql: str) -> Iterator[None]:
    """Translate what the engine raises; after an interrupt every error means "cancelled".

    DuckDB reports an interrupt as an InterruptException, an OSError while a stream is read, or an
    InvalidInputException in a window function.
    """
    try:
        yield
    except (duckdb.Error, OSError, RuntimeError, ValueError, TypeError, MemoryError) as error:
        if token.reason is not None:
            raise token.error() from error
        raise translate(error, sql) from error


def execute(connection: Connection, sql: str, params: Params, token: CancelToken) -> None:
    """Run the statement; its result is then pending on the connection."""
    with _engine_errors(token, sql), token.bound(connection):
        if params:
            connection.execute(sql, params)
        else:
            connection.execute(sql)


@contextmanager
def transaction(connection: Connection, token: CancelToken) -> Iterator[None]:
    """Run the block between BEGIN and COMMIT, or ROLLBACK after any error.

    An interrupt inside a transaction makes a later COMMIT report success although the rows are gone,
    so COMMIT is sent only when nothing failed and nobody asked to stop.
    """
    execute(connection, "BEGIN TRANSACTION", None, token)
    try:
        yield
        token.check()
        execute(connection, "COMMIT", None, token)
    except BaseException:
        # The transaction may be gone already; the connection is thrown away after an error anyway.
        with suppress(duckdb.Error):
            connection.execute("ROLLBACK")
        raise


class SqlSession:
    """Runs statements of our own on one connection, in a worker thread, and returns their rows."""

    def __init__(self, connection: Connection, token: CancelToken) -> None:
        self._connection = connection
        self._token = token

    def execute(self, sql: str, params: Params = None) -> Rows:
        """Run one statement and return all its rows."""
        return RunningResult(self._connection, sql, params, self._token).fetch("all")[0]


class RunningResult:
    """A statement whose result is being read: columns first, then rows or Arrow batches."""

    def __init__(
        self, connection: Connection, sql: str, params: Params, token: CancelToken
    ) -> None:
        """Execute the statement; blocks until the first rows are there."""
        self._connection = connection
        self._sql = sql
        self._token = token
        started = time.perf_counter()
        execute(connection, sql, params, token)
        description = connection.description or []
        self.columns = tuple(str(column[0]) for column in description)
        self.column_types = tuple(column[1] for column in description)
        """DuckDB's types (``DuckDBPyType``), one per column."""
        self.types = tuple(str(column) for column in self.column_types)
        """The types as DuckDB writes them."""
        self.engine_seconds = time.perf_counter() - started
        """Time spent in the engine so far: executing and producing rows."""
        self._reader: pa.RecordBatchReader | None = None

    def fetch(self, mode: FetchMode, max_rows: int | None = None) -> tuple[Rows, bool]:
        """Return rows as Python values and whether there were more than ``max_rows``."""
        if not self.columns or mode == "none":
            return [], False
        started = time.perf_counter()
        with _engine_errors(self._token, self._sql), self._token.bound(self._connection):
            if mode == "one":
                row = self._connection.fetchone()
                rows = [] if row is None else [row]
            elif max_rows is None:
                rows = self._connection.fetchall()
            else:
                rows = self._connection.fetchmany(max_rows + 1)
        self.engine_seconds += time.perf_counter() - started
        if max_rows is not None and len(rows) > max_rows:
            return rows[:max_rows], True
        return rows, False

    @property
    def arrow_schema(self) -> pa.Schema:
        """The Arrow schema of the batches."""
        return self._open_reader().schema

    def _open_reader(self) -> pa.RecordBatchReader:
        if self._reader is None:
            with _engine_errors(self._token, self._sql), self._token.bound(self._connection):
                self._reader = self._connection.to_arrow_reader(BATCH_ROWS)
        return self._reader

    def next_batch(self) -> pa.RecordBatch | None:
        """Return the next Arrow batch, None at the end; memory stays flat whatever the size."""
        if not self.columns:
            return None
        reader = self._open_reader()
        started = time.perf_counter()
        with _engine_errors(self._token, self._sql), self._token.bound(self._connection):
            try:
                batch = reader.read_next_batch()
            except StopIteration:
                batch = None
        self.engine_seconds += time.perf_counter() - started
        return batch

    def peak_memory_mb(self) -> float:
        """Return the buffer manager's peak in MB while the statement ran; 0 when it was not told.

        The peak is the instance's, so that statements running beside this one count in it too.
        """
        try:
            found = _PEAK_MEMORY.search(self._connection.get_profiling_information("json"))
        except duckdb.Error:
            return 0.0  # nothing was profiled, e.g. for a PRAGMA
        return round(int(found.group(1)) / 1e6, 3) if found else 0.0
