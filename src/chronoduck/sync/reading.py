"""The reader's side: one snapshot of the source, written as Arrow files for the service to merge."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from chronoduck.sync.columns import CURSOR_TYPES, SourceColumn, find_columns
from chronoduck.sync.declaration import SourceDeclaration, SyncDeclaration
from chronoduck.sync.failures import SyncDriftError
from chronoduck.sync.parallel import read_table
from chronoduck.sync.selection import (
    Pieces,
    as_text,
    choose_columns,
    missing_columns,
    note_row_security,
    relation_of,
)
from chronoduck.sync.source import PostgresConnection, open_source, quoted
from chronoduck.sync.spool import Manifest, Spool

__all__ = ["read_source"]

Show = Callable[[str, int, int], None]
_CURSOR = "chronoduck_cursor"
# What a transaction that runs now will have written carries the time of its beginning.
_NOW = """
SELECT clock_timestamp(), least(clock_timestamp(), min(xact_start)),
       count(*) FILTER (WHERE xact_start IS NULL AND state IS NULL)
FROM pg_stat_activity
WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
"""


def read_source(
    declared: SyncDeclaration,
    source: SourceDeclaration,
    spool: Spool,
    watermark: str | None,
    show: Show,
) -> dict[str, Any]:
    """Write the manifest, the rows from the watermark on (None: all) and, if asked for, all keys.

    Returns ``rows``, ``watermark``, ``as_of`` and ``keys``. Memory is bounded by the size of a piece.

    Raises:
        SyncSourceError: PostgreSQL cannot be reached or refuses.
        SyncDriftError: a declared column is not there, or cannot be a cursor.
    """
    show("connecting", 0, 0)
    with open_source(source, declared.source) as connection:
        as_of, horizon, hidden = connection.rows(_NOW)[0]
        connection.begin()
        reader = _Reader(declared, source, connection, spool, horizon)
        return reader.read(watermark, as_of, hidden, show)


class _Reader:
    """One run in one snapshot."""

    def __init__(
        self,
        declared: SyncDeclaration,
        source: SourceDeclaration,
        connection: PostgresConnection,
        spool: Spool,
        horizon: datetime,
    ) -> None:
        self._declared = declared
        self._source = source
        self._connection = connection
        self._pieces = Pieces(connection, source)
        self._spool = spool
        self._horizon = horizon
        """What is younger may not all be visible yet: the watermark stops here."""
        self._relation = relation_of(declared)
        self._watermark: str | None = None

    def read(
        self, watermark: str | None, as_of: datetime, hidden: int, show: Show
    ) -> dict[str, Any]:
        declared = self._declared
        all_columns = find_columns(self._connection, self._relation, as_text(declared))
        columns = choose_columns(declared, all_columns)
        cursor = self._cursor(all_columns)
        notes = note_row_security(self._connection, declared)
        if hidden and cursor is not None:
            notes.append(
                "transactions of other users cannot be seen: rows of those that take longer than "
                f"{declared.overlap:g} s may be missed; GRANT pg_monitor to the user"
            )
        items = self._items(columns, cursor)
        sql = f"SELECT {items} FROM {self._relation}"
        if cursor is not None and watermark is not None:
            sql += self._since(cursor, watermark)
            pieces = self._pieces.read(sql)
        else:
            pieces = read_table(self._connection, declared, self._source, items)
        estimate = self._estimate(sql)
        self._watermark = watermark
        self._spool.write_manifest(Manifest(tuple(columns), watermark, estimate, tuple(notes)))
        show("reading", 0, estimate)
        rows = self._write_rows(pieces, cursor, estimate, show)
        keys = self._write_keys(show) if declared.deletes == "key-diff" else 0
        return {
            "rows": rows,
            "watermark": self._watermark,
            "as_of": as_of.isoformat(),
            "keys": keys,
        }

    def _cursor(self, columns: Sequence[SourceColumn]) -> SourceColumn | None:
        if self._declared.cursor is None:
            return None
        found = next((each for each in columns if each.name == self._declared.cursor), None)
        if found is None:
            raise missing_columns([self._declared.cursor])
        if found.source_type not in CURSOR_TYPES:
            raise SyncDriftError(
                f"{found.name} ({found.source_type}) cannot tell how far a sync is",
                hint="A cursor is a timestamp, a date or an integer that grows with every change.",
            )
        return found

    def _items(self, columns: Sequence[SourceColumn], cursor: SourceColumn | None) -> str:
        items = [f"{column.expression} AS {quoted(column.name)}" for column in columns]
        if cursor is not None:
            items.append(f"{quoted(cursor.name)} AS {_CURSOR}")
        return ", ".join(items)

    def _since(self, cursor: SourceColumn, watermark: str) -> str:
        name = quoted(cursor.name)
        # A row without a time cannot be told from a new one: such rows are read every time.
        return (
            f" WHERE {name} >= {self._start(cursor, watermark)} OR {name} IS NULL "
            f"ORDER BY {name} NULLS FIRST"
        )

    def _start(self, cursor: SourceColumn, watermark: str) -> str:
        kind = cursor.source_type
        literal = "'" + watermark.replace("'", "''") + "'"
        if kind.startswith("int"):
            return f"{literal}::{kind}"
        if kind == "date":
            return f"({literal}::date - {math.ceil(self._declared.overlap / 86_400)})"
        return f"({literal}::{kind} - interval '{self._declared.overlap} seconds')"

    def _estimate(self, sql: str) -> int:
        """Return how many rows PostgreSQL expects."""
        plan = self._connection.rows(f"EXPLAIN (FORMAT JSON) {sql}")[0][0]
        return int(orjson.loads(plan)[0]["Plan"]["Plan Rows"])

    def _write_rows(
        self,
        pieces: Iterable[list[pa.RecordBatch]],
        cursor: SourceColumn | None,
        estimate: int,
        show: Show,
    ) -> int:
        done = 0
        for piece in pieces:
            rows = sum(batch.num_rows for batch in piece)
            if cursor is not None:
                self._advance(cursor, piece)
                piece = [batch.drop_columns([_CURSOR]) for batch in piece]
            done += rows
            self._spool.write_rows(piece, self._watermark)
            show("reading", done, max(done, estimate))
        return done

    def _advance(self, cursor: SourceColumn, piece: Sequence[pa.RecordBatch]) -> None:
        """Move the watermark to the last row of a piece, or to the horizon."""
        tops = [pc.max(batch.column(_CURSOR)) for batch in piece]
        kind = cursor.source_type
        if kind.startswith("int"):
            numbers = [top.as_py() for top in tops if top.is_valid]
            before = [] if self._watermark is None else [int(self._watermark)]
            if numbers or before:
                self._watermark = str(max(numbers + before))
            return
        raw = [top.cast(pa.int32() if kind == "date" else pa.int64()).as_py() for top in tops]
        known = [each for each in raw if each is not None]
        if known:
            reached = _text_of(kind, max(known), self._horizon)
            if reached is not None and (self._watermark is None or reached > self._watermark):
                self._watermark = reached

    def _write_keys(self, show: Show) -> int:
        """Write the keys of every row of the snapshot: what is not among them was deleted."""
        names = ", ".join(map(quoted, self._declared.key))
        done = 0
        show("reading keys", 0, 0)
        for piece in self._pieces.read(f"SELECT {names} FROM {self._relation}"):
            done += sum(batch.num_rows for batch in piece)
            self._spool.write_keys(piece)
            show("reading keys", done, 0)
        return done


def _text_of(kind: str, reached: int, horizon: datetime) -> str | None:
    """Return days or microseconds since 1970 as PostgreSQL reads them, the horizon at most."""
    epoch = datetime(1970, 1, 1, tzinfo=horizon.tzinfo)
    unit = timedelta(days=1) if kind == "date" else timedelta(microseconds=1)
    try:
        moment = epoch + min(reached, (horizon - epoch) // unit) * unit
    except OverflowError:  # before the year 1: the next run begins where this one began
        return None
    if kind == "date":
        return moment.date().isoformat()
    if kind == "timestamp":
        moment = moment.replace(tzinfo=None)
    return moment.isoformat(sep=" ", timespec="microseconds")
