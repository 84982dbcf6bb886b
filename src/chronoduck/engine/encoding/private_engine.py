"""A DuckDB instance of our own that turns Arrow batches into text or into plainer Arrow types."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import duckdb
import pyarrow as pa

from chronoduck.engine.encoding.nested_enums import without_nested_enums
from chronoduck.engine.encoding.nested_maps import without_maps
from chronoduck.errors import DuckDBQueryError, EngineBugError, OutOfMemoryError
from chronoduck.resilience.standing_threads import standing_threads

__all__ = ["BatchQuery", "close_private_engines", "open_private_engines"]

_ROWS_PER_PART = 8192
"""Batches are cut into parts of at least so many rows (4 ms of work; the start of one costs 0.5)."""
_MEMORY_LIMIT = "1GB"
_CPUS = len(os.sched_getaffinity(0))
_MISREADS_SLICED_UNIONS = duckdb.__version__.startswith("1.")
"""DuckDB 1.5 takes the values of an Arrow union from its start, wherever a slice of it begins."""


class _Engine:
    """One in-memory instance that can reach nothing, and threads that take parts of a batch.

    DuckDB scans a registered Arrow stream with one thread only (1.5.5, whatever ``threads`` says):
    the caller's. Parts therefore run side by side on cursors of their own.
    """

    def __init__(self, *, large_strings: bool) -> None:
        self.connection = duckdb.connect(
            ":memory:",
            config={
                "enable_external_access": "false",
                "autoinstall_known_extensions": "false",
                "autoload_known_extensions": "false",
                "allow_community_extensions": "false",
                "memory_limit": _MEMORY_LIMIT,
                "temp_directory": "",
                "threads": "1",
            },
        )
        # Both settings hold for the instance, not for a cursor: hence one instance for each use.
        self.connection.execute(f"SET arrow_large_buffer_size = {large_strings}")
        self.connection.execute("SET arrow_lossless_conversion = false")
        self.connection.execute("SET TimeZone = 'UTC'")
        self.connection.execute("SET lock_configuration = true")
        self.lane_count = min(4, _CPUS)
        self.others = standing_threads(max(1, self.lane_count - 1), "chronoduck-encoder")

    def close(self) -> None:
        self.others.shutdown(wait=True)
        self.connection.close()


_engines: dict[bool, _Engine] = {}
_lock = threading.Lock()


def _engine(*, large_strings: bool) -> _Engine:
    with _lock:
        engine = _engines.get(large_strings)
        if engine is None:
            engine = _engines[large_strings] = _Engine(large_strings=large_strings)
        return engine


def open_private_engines() -> None:
    """Open the instances before a statement runs that may leave no memory for that."""
    for large_strings in (False, True):
        _engine(large_strings=large_strings)
    # Arrow reserves 1 GB of address space with its first buffer. Its Parquet writer ends the process
    # when it gets no memory, so it must not have to look for some while a statement takes all.
    pa.allocate_buffer(1)


def close_private_engines() -> None:
    """Close the instances and their threads; encoders that still run fail. The next one reopens."""
    with _lock:
        engines = list(_engines.values())
        _engines.clear()
    for engine in engines:
        engine.close()


class _Feed:
    """What the view ``batch`` reads: the part at hand, exported anew for every execution."""

    def __init__(self, schema: pa.Schema) -> None:
        self.part = pa.Table.from_batches([], schema=schema)

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        return self.part.__arrow_c_stream__(requested_schema)

    def __arrow_c_schema__(self) -> Any:
        return self.part.schema.__arrow_c_schema__()


class _Lane:
    """A cursor with the statement prepared: 0.45 ms for a part, against 1.1 without preparing."""

    def __init__(self, engine: _Engine, schema: pa.Schema, select_list: str) -> None:
        self._feed = _Feed(schema)
        self._cursor = engine.connection.cursor()
        self._cursor.register("batch", self._feed)
        self._cursor.execute(f"PREPARE encode AS SELECT {select_list} FROM batch")
        self._copied = [
            index
            for index, field in enumerate(schema)
            if _MISREADS_SLICED_UNIONS and _has_union(field.type)
        ]

    def run(self, part: pa.Table) -> pa.Table:
        for index in self._copied:
            whole = part.column(index).take(pa.array(range(part.num_rows), pa.int64()))
            part = part.set_column(index, part.schema.field(index), whole)
        self._feed.part = part
        rows = max(1, part.num_rows)
        answer: pa.RecordBatchReader = self._cursor.execute("EXECUTE encode").to_arrow_reader(rows)
        return answer.read_all()


def _has_union(kind: pa.DataType) -> bool:
    children = (kind.field(number).type for number in range(kind.num_fields))
    return bool(pa.types.is_union(kind)) or any(map(_has_union, children))


class BatchQuery:
    """A select list over tables of one schema, whose columns it calls ``c0``, ``c1``, ...

    Opened with the first table. Use from one thread at a time.
    """

    def __init__(self, select_list: str, *, large_strings: bool, first: int = 0) -> None:
        """``large_strings``: text columns of the answer may pass 2 GB (``large_string``).

        ``first``: the number of the tables' first column.
        """
        self._first = first
        self._select_list = select_list
        self._large_strings = large_strings
        self._engine: _Engine | None = None
        self._lanes: list[_Lane] = []

    def run(self, table: pa.Table) -> pa.Table:
        """Return the answer's rows, in the order of the table's; it sees MAPs as ``without_maps``.

        Raises:
            OutOfMemoryError: the table does not fit into memory.
            DuckDBQueryError: a column's type or a value has no form here.
            EngineBugError: the engine failed; it is replaced by a new one for the next result.
        """
        table = without_nested_enums(without_maps(table)).rename_columns(
            [f"c{self._first + index}" for index in range(table.num_columns)]
        )
        with self._errors():
            if self._engine is None:
                self._engine = _engine(large_strings=self._large_strings)
            count = min(self._engine.lane_count, max(1, table.num_rows // _ROWS_PER_PART))
            while len(self._lanes) < count:
                self._lanes.append(_Lane(self._engine, table.schema, self._select_list))
            if count == 1:
                return self._lanes[0].run(table)
            return self._run_side_by_side(self._engine, table, count)

    def _run_side_by_side(self, engine: _Engine, table: pa.Table, count: int) -> pa.Table:
        step = -(-table.num_rows // count)
        parts = [table.slice(start, step) for start in range(0, table.num_rows, step)]
        waiting = [
            engine.others.submit(lane.run, part)
            for lane, part in zip(self._lanes[1:], parts[1:], strict=False)
        ]
        try:
            tables = [self._lanes[0].run(parts[0])]
            for index, future in enumerate(waiting, start=1):
                # Nobody took it: the threads work for other results, so it is done here.
                took_back = future.cancel()
                tables.append(
                    self._lanes[index].run(parts[index]) if took_back else future.result()
                )
        finally:
            for future in waiting:
                if not future.cancel():
                    future.exception()  # waits: no lane may run after an error
        return pa.concat_tables(tables)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (duckdb.OutOfMemoryException, MemoryError) as error:
            raise OutOfMemoryError(
                "the rows of one batch do not fit into memory as text",
                hint="Select fewer columns or shorter values.",
                operator_detail=str(error),
            ) from error
        except (duckdb.DataError, duckdb.NotSupportedError, duckdb.ProgrammingError) as error:
            raise DuckDBQueryError(
                "the result holds a value that this format has no form for",
                hint="Cast the columns of unusual types to VARCHAR.",
                operator_detail=f"{type(error).__name__}: {error}",
                category="encoding",
            ) from error
        except (duckdb.Error, pa.ArrowException, OSError, RuntimeError) as error:
            with _lock, suppress(KeyError):
                del _engines[self._large_strings]
            raise EngineBugError(
                "the result could not be encoded",
                hint="Cast the columns of unusual types to VARCHAR.",
                operator_detail=f"{type(error).__name__}: {error}",
            ) from error
