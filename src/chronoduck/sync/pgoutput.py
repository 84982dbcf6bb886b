"""The log of PostgreSQL (``pgoutput``, version 1): which keys of a table were touched, and by whom.

Values are not taken from it: what a row is now is read from the table (see ``capturing.py``).
Strict: a message that is not understood is an error, never passed over.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Self

from chronoduck.sync.failures import SyncSourceError

__all__ = ["Changes", "Key", "Snapshot", "read_lsn", "write_lsn"]

Key = tuple[str, ...]
_BEGIN = struct.Struct(">QqI")
_RELATION = struct.Struct(">I")
_COLUMN = struct.Struct(">II")
_SHORT = struct.Struct(">h")
_LONG = struct.Struct(">i")
_HALF = 1 << 31
_UNCHANGED = object()
"""A large value that an update did not touch and the log therefore does not hold."""
_IDLE_KINDS = frozenset(b"COYM")
"""Commit, origin, type and message: they touch no row."""


def read_lsn(text: str) -> int:
    """Return a place of the log as a number of bytes: ``16/B374D848``."""
    high, _, low = text.partition("/")
    return (int(high, 16) << 32) | int(low, 16)


def write_lsn(lsn: int) -> str:
    """Return it as PostgreSQL writes it."""
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"


@dataclass(frozen=True)
class Snapshot:
    """Which transactions a snapshot shows; numbers are PostgreSQL's of 64 bits."""

    xmin: int
    xmax: int
    running: frozenset[int]

    @classmethod
    def of(cls, text: str) -> Self:
        """Read it as ``pg_current_snapshot()`` writes it: ``xmin:xmax:running,...``."""
        xmin, xmax, running = text.split(":")
        return cls(int(xmin), int(xmax), frozenset(map(int, filter(None, running.split(",")))))

    def shows(self, xid: int) -> bool:
        """Whether it shows what the committed transaction of a number of 32 bits did.

        The log is younger than half the numbers there are: its transactions are not wrapped around.
        """
        distance = (xid - self.xmax) & 0xFFFFFFFF
        full = self.xmax + (distance - (1 << 32) if distance >= _HALF else distance)
        return full < self.xmin or (full < self.xmax and full not in self.running)


class Changes:
    """Takes the log message by message; ``keys`` is what transactions of the snapshot touched."""

    def __init__(self, tables: frozenset[int], key: Key, snapshot: Snapshot) -> None:
        """``tables`` are the table's number and those of its partitions; ``key`` names columns."""
        self._tables = tables
        self._key = key
        self._snapshot = snapshot
        self._places: dict[int, list[int]] = {}
        """Where the key's columns are in the rows of each table."""
        self._is_shown = False
        self.keys: set[Key] = set()
        self.count = 0
        """Changes of rows that were taken."""
        self.first_hidden: int | None = None
        """Where the first transaction was committed that the snapshot does not show."""
        self.why_whole: str | None = None
        """Why the keys do not tell what has changed; then the whole table has to be read."""

    def take(self, message: bytes) -> None:
        """Take the next message.

        Raises:
            SyncSourceError: it is not one of version 1.
        """
        try:
            kind = message[0]
            if kind == 0x42:
                self._begin(message)
            elif kind == 0x52:
                self._describe(message)
            elif kind in b"IUD":
                if self._is_shown and self.why_whole is None:
                    self._touch(message)
            elif kind == 0x54:
                self._truncate(message)
            elif kind not in _IDLE_KINDS:
                raise ValueError(f"a message of the kind {chr(kind)!r}")
        except (struct.error, LookupError, ValueError) as error:
            raise SyncSourceError(
                f"the log of PostgreSQL holds what is not understood: {error}",
                hint="The rows are as they were. Is the slot's plugin pgoutput?",
            ) from error

    def _begin(self, message: bytes) -> None:
        committed_at, _, xid = _BEGIN.unpack_from(message, 1)
        self._is_shown = self._snapshot.shows(xid)
        if not self._is_shown and self.first_hidden is None:
            self.first_hidden = committed_at

    def _describe(self, message: bytes) -> None:
        (table,) = _RELATION.unpack_from(message, 1)
        if table not in self._tables:
            return
        position = message.index(0, message.index(0, 5) + 1) + 1
        identity = chr(message[position])
        (count,) = _SHORT.unpack_from(message, position + 1)
        position += 3
        places, identifying = {}, set()
        for index in range(count):
            end = message.index(0, position + 1)
            name = message[position + 1 : end].decode()
            places[name] = index
            if message[position] & 1 or identity == "f":
                identifying.add(name)
            _COLUMN.unpack_from(message, end + 1)
            position = end + 1 + _COLUMN.size
        missing = [name for name in self._key if name not in identifying]
        if missing:
            self.why_whole = f"the log did not tell {', '.join(missing)} of rows that were deleted"
            return
        self._places[table] = [places[name] for name in self._key]

    def _touch(self, message: bytes) -> None:
        (table,) = _RELATION.unpack_from(message, 1)
        if table not in self._tables:
            return
        places = self._places[table]
        old = new = None
        position = 5
        while position < len(message):
            part = message[position]
            values, position = _row(message, position + 1)
            found = [values[place] for place in places]
            if part in b"KO":
                old = found
            elif part == 0x4E:
                new = found
            else:
                raise ValueError(f"a row of the kind {chr(part)!r}")
        if (new is None) != (message[0] == 0x44) or (message[0] == 0x49 and old is not None):
            raise ValueError(f"a change of the kind {chr(message[0])!r} without its rows")
        if new is None and old is None:
            raise ValueError("a change without a row")
        if new is not None and old is not None:
            new = [was if now is _UNCHANGED else now for was, now in zip(old, new, strict=True)]
        for found_key in (old, new):
            if found_key is not None:
                self._add(found_key)
        self.count += 1

    def _add(self, values: list[object]) -> None:
        if any(type(value) is not bytes for value in values):
            self.why_whole = "the log holds a change of a row whose key it does not tell"
            return
        self.keys.add(tuple([value.decode() for value in values]))  # type: ignore[attr-defined]

    def _truncate(self, message: bytes) -> None:
        (count,) = _LONG.unpack_from(message, 1)
        tables = struct.unpack_from(f">{count}I", message, 6)
        if self._is_shown and self._tables.intersection(tables):
            self.why_whole = "the table was truncated"


def _row(message: bytes, position: int) -> tuple[list[object], int]:
    """Return the values of a row, as bytes of text or None, and where it ends."""
    (count,) = _SHORT.unpack_from(message, position)
    position += 2
    values: list[object] = []
    for _ in range(count):
        kind = message[position]
        position += 1
        if kind == 0x74:
            (size,) = _LONG.unpack_from(message, position)
            position += 4
            if size < 0 or position + size > len(message):
                raise ValueError("a value that is longer than its message")
            values.append(message[position : position + size])
            position += size
        elif kind == 0x6E:
            values.append(None)
        elif kind == 0x75:
            values.append(_UNCHANGED)
        else:
            raise ValueError(f"a value of the kind {chr(kind)!r}")
    return values, position
