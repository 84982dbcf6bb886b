"""Statements that write: committed, and their whole result read, before anything is answered of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any, TypeVar

import duckdb
import pyarrow as pa

from chronoduck.engine.cancellation import CancelToken
from chronoduck.engine.commits import Commits
from chronoduck.engine.database import Connection
from chronoduck.engine.execution import FetchMode, Params, Rows, execute, in_engine, transaction
from chronoduck.engine.own_tables import unchanged_own_schema
from chronoduck.engine.profiling import peak_memory_bytes
from chronoduck.engine.tables_like_files import check_tables
from chronoduck.engine.type_names import type_name
from chronoduck.engine.write_walls import within_wall
from chronoduck.sql.autocommit import Autocommit
from chronoduck.sql.judged_text import JudgedText
from chronoduck.sql.written import WriteWall

__all__ = ["WrittenResult"]

T = TypeVar("T")


class WrittenResult:
    """The result of a statement that may have written; it needs the engine no more.

    It has the methods of ``RunningResult``. Whatever fails after this was made, the write was
    committed, or it is part of a transaction that is still open.
    """

    def __init__(
        self,
        connection: Connection,
        sql: JudgedText,
        params: Params,
        token: CancelToken,
        commits: Commits,
        autocommit: Autocommit,
        *,
        changes_catalog: bool,
        keeps_own_schema: bool = False,
        write_wall: WriteWall | None = None,
        as_rows: bool,
        batch_rows: int,
        tables_like_files: Sequence[tuple[str, ...]] = (),
    ) -> None:
        """Run the statement to its end; commit it unless a transaction is open.

        ``as_rows``: it will be asked for Python values, else for Arrow batches.
        ``tables_like_files``: see ``Statement``; such a one is not committed by DuckDB alone.
        ``keeps_own_schema``: refuse it before the COMMIT if the service's own schema is another one.
        ``write_wall``: what its principal may write; such a one is not committed by DuckDB alone.
        """
        started = time.perf_counter()
        self._connection = connection
        self._sql = sql
        self._token = token
        self._as_rows = as_rows
        self._batch_rows = batch_rows
        self._rows: Rows = []
        self._table: pa.Table = pa.table({})
        self._batches: Iterator[pa.RecordBatch] | None = None
        if commits.in_transaction:
            commits.changes_catalog |= changes_catalog
            check_tables(connection, tables_like_files)
            with (
                unchanged_own_schema(connection, is_watched=keeps_own_schema),
                within_wall(connection, write_wall),
            ):
                execute(connection, sql, params, token)
                self._drain()
        elif autocommit is Autocommit.BY_US:
            with transaction(connection, token, commits):
                commits.changes_catalog = changes_catalog
                check_tables(connection, tables_like_files)
                with (
                    unchanged_own_schema(connection, is_watched=keeps_own_schema),
                    within_wall(connection, write_wall),
                ):
                    execute(connection, sql, params, token)
                    self._drain()
        else:
            with commits.committing():
                execute(connection, sql, params, token)
            self._take_count()
        self.engine_seconds = time.perf_counter() - started
        """Time spent in the engine."""

    def _drain(self) -> None:
        self._describe()
        if self._as_rows:
            self._rows = self._in_engine(self._connection.fetchall)
        else:
            self._table = self._in_engine(self._connection.to_arrow_table)
        self._note_memory()

    def _take_count(self) -> None:
        """Take the count of a write that is committed; Arrow would have to ask the engine again."""
        self._describe()
        self._rows = self._connection.fetchall()
        if not self._as_rows:
            counts = pa.array([row[0] for row in self._rows], pa.int64())
            self._table = pa.table(dict.fromkeys(self.columns[:1], counts))
        self._note_memory()

    def _describe(self) -> None:
        description: list[Any] = self._connection.description or []
        self.columns = tuple(str(column[0]) for column in description)
        self.column_types = tuple(column[1] for column in description)
        self.types = tuple(map(type_name, self.column_types))

    def _note_memory(self) -> None:
        self._peak_mb = 0.0
        with suppress(duckdb.Error):
            self._peak_mb = round(peak_memory_bytes(self._connection) / 1e6, 3)

    def _in_engine(self, call: Callable[[], T]) -> T:
        return in_engine(self._connection, self._sql, self._token, call)

    def fetch(self, mode: FetchMode, max_rows: int | None = None) -> tuple[Rows, bool]:
        """Return rows as Python values and whether there were more than ``max_rows``."""
        if not self.columns or mode == "none":
            return [], False
        if mode == "one":
            return self._rows[:1], False
        truncated = max_rows is not None and len(self._rows) > max_rows
        return self._rows[:max_rows], truncated

    @property
    def arrow_schema(self) -> pa.Schema:
        """The Arrow schema of the batches."""
        return self._table.schema

    def next_batch(self) -> pa.RecordBatch | None:
        """Return the next Arrow batch, None at the end."""
        if not self.columns:
            return None
        if self._batches is None:
            batches = self._table.combine_chunks().to_batches(self._batch_rows)
            self._batches = iter(batches)
        return next(self._batches, None)

    def release(self) -> None:
        """Do nothing: nothing of it is the engine's."""

    def finish(self) -> float:
        """Return the instance's peak memory in MB while it ran; 0 when it is unknown."""
        return self._peak_mb
