"""What of the source is read: the relation, its columns, and rows in pieces no faster than allowed."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import pyarrow as pa

from chronoduck.sync.arrow_values import plain_batch
from chronoduck.sync.columns import SourceColumn
from chronoduck.sync.declaration import SourceDeclaration, SyncDeclaration
from chronoduck.sync.failures import SyncDriftError
from chronoduck.sync.source import PostgresConnection, literal, quoted

__all__ = [
    "Pieces",
    "as_text",
    "choose_columns",
    "missing_columns",
    "note_row_security",
    "relation_of",
]


def relation_of(declared: SyncDeclaration) -> str:
    """Return the table, or the query in brackets, as SQL."""
    if declared.table is not None:
        return ".".join(map(quoted, declared.table.split(".")))
    return f"(\n{(declared.query or '').strip().rstrip(';')}\n) AS source"


def as_text(declared: SyncDeclaration) -> frozenset[str]:
    """Return the columns that are asked for as text."""
    return frozenset(name for name, kind in declared.types.items() if kind == "VARCHAR")


def choose_columns(
    declared: SyncDeclaration, columns: Sequence[SourceColumn]
) -> list[SourceColumn]:
    """Return those that the sync takes.

    Raises:
        SyncDriftError: one that is declared is not there.
    """
    names = {column.name for column in columns}
    wanted = set(declared.columns) or names - set(declared.exclude)
    missing = [name for name in (*declared.columns, *declared.rename) if name not in names]
    if missing:
        raise missing_columns(missing)
    without = [name for name in declared.key if name not in wanted or name not in names]
    if without:
        raise missing_columns(without)
    return [column for column in columns if column.name in wanted]


def missing_columns(names: Sequence[str]) -> SyncDriftError:
    """Return the error that names columns that the source does not have."""
    return SyncDriftError(
        f"the source has no column {', '.join(names)}, or the sync leaves it out",
        hint="Key, cursor, columns and rename name columns of the source.",
    )


def note_row_security(connection: PostgresConnection, declared: SyncDeclaration) -> list[str]:
    """Return what is to be told if policies of the source decide which rows its user sees."""
    if declared.table is None:
        return []
    table = literal(relation_of(declared))
    if not connection.rows(f"SELECT row_security_active(to_regclass({table}))")[0][0]:
        return []
    told = f"row security of {declared.table} is active for the source's user"
    return [f"{told}: rows that its policies hide are not here, as if they were deleted"]


class Pieces:
    """Reads statements in pieces of the declared number of rows; the speed is bounded over all."""

    def __init__(self, connection: PostgresConnection, source: SourceDeclaration) -> None:
        self._connection = connection
        self._source = source
        self._started = time.monotonic()
        self._done = 0

    def read(self, sql: str) -> Iterator[list[pa.RecordBatch]]:
        """Yield the batches of each piece."""
        waiting = 0
        piece: list[pa.RecordBatch] = []
        for batch in self._connection.batches(sql):
            piece.append(plain_batch(batch))
            self._done += batch.num_rows
            waiting += batch.num_rows
            if waiting >= self._source.batch_rows:
                yield piece
                piece, waiting = [], 0
            if self._source.rows_per_second:
                ahead = self._done / self._source.rows_per_second
                time.sleep(max(0.0, self._started + ahead - time.monotonic()))
        if waiting:
            yield piece
