"""A whole table by several connections that share one snapshot, each a range of its blocks at a time."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from contextlib import ExitStack

import pyarrow as pa

from chronoduck.sync.declaration import SourceDeclaration, SyncDeclaration
from chronoduck.sync.selection import Pieces, relation_of
from chronoduck.sync.source import PostgresConnection, literal, open_source

__all__ = ["read_table"]

Piece = list[pa.RecordBatch]
_RANGES = 140_000
"""The first version that finds a range of blocks without reading the others."""
_LEAST_BYTES = 64 * 1024**2
"""A smaller table is read before a second connection would be of use."""
_RANGE_BYTES = 32 * 1024**2
_LOOK_SECONDS = 0.2
# A table with partitions or heirs has blocks of its own only, or none.
_SIZE = """
SELECT CASE WHEN relkind = 'r' AND NOT relhassubclass
                 AND current_setting('server_version_num')::int4 >= {1}
       THEN pg_relation_size(oid) ELSE 0 END::int8, current_setting('block_size')::int8
FROM pg_class WHERE oid = to_regclass({0})
"""


def read_table(
    connection: PostgresConnection,
    declared: SyncDeclaration,
    source: SourceDeclaration,
    items: str,
) -> Iterator[Piece]:
    """Yield all rows of the connection's snapshot in pieces, in no certain order.

    Uses ``source.connections`` connections at most, that one included; a query, a small table or
    one with a bounded speed has that one alone.
    """
    select = f"SELECT {items} FROM {relation_of(declared)}"
    ranges = [] if declared.table is None else _ranges(connection, declared)
    if len(ranges) < 2 or source.connections < 2 or source.rows_per_second:
        yield from Pieces(connection, source).read(select)
        return
    snapshot = connection.rows("SELECT pg_export_snapshot()")[0][0]
    with ExitStack() as stack:
        readers = [connection]
        for _ in range(source.connections - 1):
            other = stack.enter_context(open_source(source, declared.source))
            other.begin()
            other.run(f"SET TRANSACTION SNAPSHOT {literal(snapshot)}")
            readers.append(other)
        yield from _Crew([f"{select} WHERE {each}" for each in ranges]).read(
            [Pieces(reader, source) for reader in readers]
        )


def _ranges(connection: PostgresConnection, declared: SyncDeclaration) -> list[str]:
    """Return conditions that divide the table; the last has no end: the table may grow."""
    found = connection.rows(_SIZE.format(literal(relation_of(declared)), _RANGES))
    size, block = found[0] if found else (0, 1)
    if size < _LEAST_BYTES:
        return []
    step = _RANGE_BYTES // block
    starts = range(0, size // block, step)
    conditions = [f"ctid >= '({start},0)' AND ctid < '({start + step},0)'" for start in starts]
    conditions[-1] = f"ctid >= '({starts[-1]},0)'"
    return conditions


class _Crew:
    """Threads that take statements from one list; what they read is handed over in a short queue."""

    def __init__(self, statements: list[str]) -> None:
        self._left = iter(statements)
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._ready: queue.Queue[Piece | BaseException | None] = queue.Queue(1)

    def read(self, readers: list[Pieces]) -> Iterator[Piece]:
        """Yield what they read; an error of one ends all, and so does closing this."""
        threads = [
            threading.Thread(target=self._work, args=(reader,), daemon=True) for reader in readers
        ]
        for thread in threads:
            thread.start()
        try:
            working = len(threads)
            while working:
                item = self._ready.get()
                if isinstance(item, BaseException):
                    raise item
                if item is None:
                    working -= 1
                else:
                    yield item
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()

    def _work(self, reader: Pieces) -> None:
        last: BaseException | None = None
        try:
            while (sql := self._next()) is not None:
                for piece in reader.read(sql):
                    if not self._hand_over(piece):
                        return
        except BaseException as error:  # noqa: BLE001 - raised again where the pieces are read
            last = error
        self._hand_over(last)

    def _next(self) -> str | None:
        with self._lock:
            return next(self._left, None)

    def _hand_over(self, item: Piece | BaseException | None) -> bool:
        while not self._stop.is_set():
            try:
                self._ready.put(item, timeout=_LOOK_SECONDS)
            except queue.Full:
                continue
            return True
        return False
