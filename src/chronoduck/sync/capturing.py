"""The reader's side of ``mode = "cdc"``: the log tells which keys changed, a snapshot what they are now.

Rows are not taken from the log but read from the table, in one snapshot and by the same expressions
as in every other mode: a type cannot arrive differently, and large values, which the log leaves out,
are there. A run takes a snapshot, reads the log up to a place behind it, and of that the
transactions that the snapshot shows. The rows of their keys, as the snapshot shows them, turn the
snapshot of the last run into this one, exactly: never half of a transaction. The log is given up no
further than to the first transaction that the snapshot did not show.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import pyarrow as pa

from chronoduck.sync.columns import SourceColumn, find_columns
from chronoduck.sync.declaration import SourceDeclaration, SyncDeclaration
from chronoduck.sync.parallel import read_table
from chronoduck.sync.pgoutput import Changes, Key, Snapshot, write_lsn
from chronoduck.sync.publication import TableShape, find_shape
from chronoduck.sync.selection import (
    Pieces,
    as_text,
    choose_columns,
    note_row_security,
    relation_of,
)
from chronoduck.sync.slot import Capture, SourceLog
from chronoduck.sync.source import PostgresConnection, literal, open_source, quoted
from chronoduck.sync.spool import Manifest, Spool

__all__ = ["capture_source", "drop_capture", "release_log"]

Show = Callable[[str, int, int], None]
_KEYS_IN_MEMORY = 1_000_000
"""Some 150 MB; more are looked up before the log is read on."""
_KEYS_PER_QUERY = 20_000
_LOOKED_UP = 50_000
_WHOLE_FRACTION = 4
"""More keys than this part of the table: reading it whole takes less time than looking them up."""


def capture_source(
    declared: SyncDeclaration,
    source: SourceDeclaration,
    spool: Spool,
    capture: Capture,
    lsn: str | None,
    show: Show,
) -> dict[str, Any]:
    """Write what turns the rows here, which are as of ``lsn``, into those of a new snapshot.

    ``lsn`` None: slot and publication are made, and the whole table is written. Returns ``rows``,
    ``keys``, the new ``lsn``, ``as_of`` and the new ``capture``; or only ``begin_anew``, the reason
    why the log cannot be followed.

    Raises:
        SyncSourceError: PostgreSQL cannot be reached or refuses.
        SyncDriftError: a declared column is not there, or the log does not tell the key.
    """
    show("connecting", 0, 0)
    with open_source(source, declared.source) as log, open_source(source, declared.source) as table:
        slot = SourceLog(log, capture)
        ground = capture.ground
        if lsn is None:
            ground = slot.begin(declared, show)
        else:
            slot.wait_until_free(show)
            reason = slot.find_gap(declared, lsn, source.max_lag)
            if reason is not None:
                return {"begin_anew": reason}
        run = _Run(declared, source, table, spool, show)
        told = run.read(log, slot, None if lsn is None else capture.shape)
        told["notes"] += _strangers(slot, declared)
        kept = replace(
            capture,
            old_slots=(),
            ground=ground,
            shape=told.pop("shape"),
            lag_bytes=slot.lag_bytes(),
        )
        return {**told, "capture": kept.as_dict()}


def release_log(source: SourceDeclaration, capture: Capture, lsn: str | None) -> dict[str, Any]:
    """Let PostgreSQL give up the log that is committed here; return what it keeps then.

    ``lsn`` None: only look.
    """
    with open_source(source, capture.source) as log:
        slot = SourceLog(log, capture)
        if lsn is not None:
            slot.advance(lsn)
        return {"lag_bytes": slot.lag_bytes()}


def drop_capture(source: SourceDeclaration, capture: Capture) -> dict[str, Any]:
    """Drop what a sync has in PostgreSQL; return what of it was there."""
    with open_source(source, capture.source) as connection:
        slot = SourceLog(connection, capture)
        dropped = [name for name in (capture.slot, *capture.old_slots) if slot.drop(name)]
        return {"slots": dropped, "has_dropped_publication": slot.drop_publication()}


def _strangers(slot: SourceLog, declared: SyncDeclaration) -> list[str]:
    return [
        f"PostgreSQL keeps its log for the slot {name}, which is not this database's; if no other "
        f"service uses it: SELECT pg_drop_replication_slot({literal(name)})"
        for name in slot.others(f"chronoduck_{declared.name.replace('-', '_')}_")
    ]


class _Run:
    """One snapshot."""

    def __init__(
        self,
        declared: SyncDeclaration,
        source: SourceDeclaration,
        connection: PostgresConnection,
        spool: Spool,
        show: Show,
    ) -> None:
        self._declared = declared
        self._source = source
        self._connection = connection
        self._spool = spool
        self._show = show
        self._pieces = Pieces(connection, source)
        self._relation = relation_of(declared)
        self._columns: Sequence[SourceColumn] = ()
        self._rows = 0
        self._looked_up = 0

    def read(self, log: PostgresConnection, slot: SourceLog, shape: str | None) -> dict[str, Any]:
        """Write the changes since the last run, which left ``shape``; None: everything."""
        as_of = self._connection.rows("SELECT clock_timestamp()")[0][0]
        self._connection.begin()
        # Before the snapshot: what a later DDL does to the table's files, snapshots do not hide.
        self._connection.run(f"LOCK TABLE {self._relation} IN ACCESS SHARE MODE")
        snapshot = Snapshot.of(self._connection.rows("SELECT pg_current_snapshot()::text")[0][0])
        self._columns = choose_columns(
            self._declared,
            find_columns(self._connection, self._relation, as_text(self._declared)),
        )
        found = find_shape(self._connection, self._declared, [each.name for each in self._columns])
        end = slot.end_of_log()
        changes = Changes(found.parts, self._declared.key, snapshot)
        if shape is None:
            changes.why_whole = "it is the first"
        elif shape != found.mark:
            changes.why_whole = (
                "columns or files of the table are others: ALTER, TRUNCATE, VACUUM FULL"
            )
        self._follow(log, slot.changes(end), changes, found)
        is_whole = changes.why_whole is not None
        notes = [f"the whole table was read: {changes.why_whole}"] if is_whole and shape else []
        notes += note_row_security(self._connection, self._declared)
        self._write_manifest(notes, end, found.rows if is_whole else len(changes.keys), is_whole)
        if is_whole:
            self._spool.discard()
            self._rows = self._looked_up = 0
            pieces = read_table(self._connection, self._declared, self._source, self._items())
            self._write_rows(pieces, found.rows)
        else:
            self._look_up(changes.keys, found)
        reached = end if changes.first_hidden is None else write_lsn(changes.first_hidden)
        return {
            "rows": self._rows,
            "keys": self._looked_up,
            "lsn": reached,
            "as_of": as_of.isoformat(),
            "shape": found.mark,
            "is_keyed": found.is_keyed,
            "notes": notes,
        }

    def _follow(
        self, log: PostgresConnection, sql: str, changes: Changes, table: TableShape
    ) -> None:
        """Read the log to its end, even when the whole table is read: where it may be given up."""
        self._show("reading the log", 0, 0)
        limit = max(_LOOKED_UP, table.rows // _WHOLE_FRACTION)
        for batch in log.batches(sql):
            for message in batch.column(0).to_pylist():
                changes.take(message)
            self._show("reading the log", changes.count, 0)
            if changes.why_whole is not None:
                changes.keys.clear()
            elif table.rows and self._looked_up + len(changes.keys) > limit:
                changes.why_whole = "much of it has changed"
            elif len(changes.keys) > _KEYS_IN_MEMORY:
                self._look_up(changes.keys, table)
                changes.keys.clear()
                self._spool.begin_round()

    def _write_manifest(self, notes: list[str], end: str, estimate: int, is_whole: bool) -> None:
        watermark = None if is_whole else end
        self._spool.write_manifest(
            Manifest(tuple(self._columns), watermark, estimate, tuple(notes))
        )

    def _items(self) -> str:
        return ", ".join(f"{each.expression} AS {quoted(each.name)}" for each in self._columns)

    def _write_rows(self, pieces: Iterable[list[pa.RecordBatch]], estimate: int) -> None:
        for piece in pieces:
            self._rows += sum(batch.num_rows for batch in piece)
            self._spool.write_rows(piece, None)
            self._show("reading", self._rows, max(self._rows, estimate))

    def _look_up(self, keys: Iterable[Key], table: TableShape) -> None:
        """Write the keys, and the rows that they have in the snapshot."""
        names = [quoted(name) for name in self._declared.key]
        kept = [each for each in self._columns if each.name in self._declared.key]
        told = ", ".join(f"{each.expression} AS {quoted(each.name)}" for each in kept)
        for part in _parts(keys):
            asked = _asked(part, names, [table.types[name] for name in self._declared.key])
            for piece in self._pieces.read(f"SELECT {told} FROM ({asked}) AS asked"):
                self._spool.write_keys(piece)
            rows = f"SELECT {self._items()} FROM {self._relation} WHERE ({', '.join(names)}) IN ({asked})"
            self._write_rows(self._pieces.read(rows), 0)
            self._looked_up += len(part)


def _parts(keys: Iterable[Key]) -> Iterator[list[Key]]:
    left = iter(keys)
    while part := list(islice(left, _KEYS_PER_QUERY)):
        yield part


def _asked(keys: Sequence[Key], names: Sequence[str], types: Sequence[str]) -> str:
    """Return keys, texts as PostgreSQL wrote them, as a query of their values."""
    items = ", ".join(
        f"k{index}::{kind} AS {name}"
        for index, (name, kind) in enumerate(zip(names, types, strict=True))
    )
    arrays = ", ".join(f"{literal(_array(column))}::text[]" for column in zip(*keys, strict=True))
    columns = ", ".join(f"k{index}" for index in range(len(names)))
    return f"SELECT {items} FROM unnest({arrays}) AS asked({columns})"


def _array(values: Sequence[str]) -> str:
    escaped = (value.replace("\\", "\\\\").replace('"', '\\"') for value in values)
    return "{" + ",".join(f'"{value}"' for value in escaped) + "}"
