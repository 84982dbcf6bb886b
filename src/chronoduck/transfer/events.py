"""What a load tells while it goes on, and how its answer is kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import orjson

__all__ = [
    "LoadEvent",
    "LoadProgress",
    "LoadSummary",
    "RejectedLine",
    "answer_of",
    "events_of",
]

_KEPT_BYTES = 64_000


@dataclass(frozen=True)
class LoadProgress:
    """How far a load is; every row counted here is committed.

    ``lines`` counts headers and empty lines too; ``seconds`` run from the load's beginning.
    """

    bytes_read: int
    lines: int
    rows_added: int
    duplicates: int
    rejected: int
    seconds: float


@dataclass(frozen=True)
class RejectedLine:
    """A line (or row) that was left out; numbers count from 1."""

    line_number: int
    reason: str
    text: str


@dataclass(frozen=True)
class LoadSummary(LoadProgress):
    """The end of a load; ``rows_added`` is what a dry run would have added."""

    table: str
    format: str
    mode: str = "append"
    rows_removed: int = 0
    """Rows that were there and were replaced."""
    created: bool = False
    """Whether the table was made for it."""
    dry_run: bool = False
    columns: dict[str, str] = field(default_factory=dict)
    """Of the table, with DuckDB's types."""
    read_as: dict[str, str] = field(default_factory=dict)
    """What was guessed of the file, by the names of the options that set it."""
    preview: list[list[str | None]] = field(default_factory=list)
    """The first rows that a dry run would have added, as texts."""
    filled: int = 0
    """Known captures that got values which they lacked."""
    repaired: int = 0
    """Malformed captures that were repaired (``on_error=repair``)."""
    resume_key: str | None = None
    """Of a CDX server's answer that is not its last one: ask again with ``resumeKey=`` it."""


LoadEvent = LoadProgress | RejectedLine | LoadSummary


def answer_of(rejected: Sequence[RejectedLine], summary: LoadSummary) -> str:
    """Return the end of a load as it is kept: with the rejected lines, if they are not too long."""
    lines = orjson.dumps(list(rejected))
    kept = orjson.Fragment(lines if len(lines) <= _KEPT_BYTES else b"[]")
    return orjson.dumps({"rejected": kept, "summary": summary}).decode()


def events_of(answer: str) -> list[LoadEvent]:
    """Return the events of an answer that was kept."""
    fields = orjson.loads(answer)
    rejected: list[LoadEvent] = [RejectedLine(**line) for line in fields["rejected"]]
    return [*rejected, LoadSummary(**fields["summary"])]
