"""Lines of a file of which the engine's reader can make no row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from chronoduck.transfer.options import MAX_REPORTED
from chronoduck.transfer.sql import SqlSession

__all__ = ["SHOWN_CHARACTERS", "BadRow", "unreadable_lines"]

SHOWN_CHARACTERS = 1000


@dataclass(frozen=True)
class BadRow:
    """A row that was not loaded; ``number`` counts from 1, lines in texts and rows otherwise."""

    number: int
    reason: str
    text: str
    """At most 1,000 characters of it; empty where a row is no text."""
    is_flaw: bool = False
    """Whether it is no row at all, instead of one with a value that does not fit."""


class _Lines(Protocol):
    def lines_at(self, places: Sequence[tuple[int, int]]) -> list[int]: ...


def unreadable_lines(session: SqlSession, source: _Lines) -> list[BadRow]:
    """Return the lines that the last reading left out, as its table of them has it.

    Those behind the first ``MAX_REPORTED`` have no text: nobody is told of them.
    """
    rows = session.execute(
        "SELECT line, any_value(line_byte_position), any_value(CAST(error_type AS VARCHAR)), "
        "any_value(error_message), CASE WHEN row_number() OVER (ORDER BY line) "
        f"<= {MAX_REPORTED} THEN left(any_value(csv_line), {SHOWN_CHARACTERS}) ELSE '' END "
        "FROM reject_errors GROUP BY line ORDER BY line"
    )
    lines = source.lines_at([(int(str(row[1])), int(str(row[0]))) for row in rows])
    return [
        BadRow(
            number,
            _reason(str(kind), str(message)),
            str(text).rstrip("\r\n"),
            is_flaw=True,
        )
        for number, (_, _, kind, message, text) in zip(lines, rows, strict=True)
    ]


def _reason(kind: str, message: str) -> str:
    """Return what a line's error means, without options that a caller cannot set."""
    if kind == "UNQUOTED VALUE":
        return "a quoted field does not end where its quotes do; set quote"
    if kind == "INVALID ENCODING":
        return "not UTF-8; set encoding, such as cp1252"
    if kind == "LINE SIZE OVER MAXIMUM":
        return "the line is longer than 2,000,000 bytes"
    if kind == "INVALID STATE":
        return "the line is not CSV of this delimiter and quote"
    if kind in ("TOO MANY COLUMNS", "MISSING COLUMNS"):
        expected, found = (word for word in message.split() if word.isdecimal())
        return f"{found} fields, where there are {expected} columns"
    return message.splitlines()[0]
