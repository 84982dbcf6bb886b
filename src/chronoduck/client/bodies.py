"""Rows on their way into a table, and what became of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from chronoduck.client.arrow_tables import stream_of
from chronoduck.client.problems import ConnectionBrokenError, error_of
from chronoduck.client.values import row_value
from chronoduck.errors import InvalidRequestError

__all__ = [
    "LoadOptions",
    "LoadSummary",
    "Upload",
    "async_blocks",
    "blocks",
    "read_summary",
    "upload_of",
]

_BLOCK_BYTES = 1_000_000


@dataclass(frozen=True)
class Upload:
    """A body that can be sent again: bytes, or a file that each attempt opens anew."""

    content: bytes | Path
    format: str

    @property
    def params(self) -> dict[str, str]:
        """What is told of it; a name only where there is one: small bodies without one are grouped."""
        name = {"source": self.content.name} if isinstance(self.content, Path) else {}
        return {"format": self.format, **name}


@dataclass(frozen=True)
class LoadOptions:
    """What happens to the rows that a table has, and to bad ones; see docs/loading.md."""

    mode: str = "append"
    """``append``, ``upsert`` or ``replace``."""
    key: Sequence[str] = ()
    """Columns by which an upsert knows a row."""
    create: bool = True
    """Whether a table that is missing is made."""
    on_error: str = "abort"
    """``skip``: bad rows of NDJSON and CSV are left out."""
    dry_run: bool = False
    """Do everything but the commit."""
    read: Mapping[str, Any] = field(default_factory=dict)
    """How the file is written: ``delimiter``, ``decimal``, ``types`` and others of docs/loading.md."""

    @property
    def params(self) -> dict[str, str]:
        """What differs from the service's own choice: plain small bodies are committed together."""
        texts = {
            "mode": self.mode,
            "key": ",".join(self.key),
            "create": str(self.create).lower(),
            "on_error": self.on_error,
            "dry_run": str(self.dry_run).lower(),
        }
        said = {name: text for name, text in texts.items() if getattr(self, name) != _USUAL[name]}
        return said | {name: _option_text(value) for name, value in self.read.items()}


_USUAL = vars(LoadOptions())


def _option_text(value: Any) -> str:
    """Return an option as the service reads it: ``true``, ``a,b``, or JSON of types by column."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return json.dumps(value)
    return str(value) if isinstance(value, str | int) else ",".join(map(str, value))


@dataclass(frozen=True)
class LoadSummary:
    """What a load did."""

    table: str
    format: str
    rows_added: int
    duplicates: int = 0
    """Captures that were known already."""
    filled: int = 0
    """Known captures that got values which they lacked."""
    repaired: int = 0
    """Malformed captures that were repaired (``on_error="repair"``)."""
    resume_key: str | None = None
    """Of a CDX server's answer that is not its last one: ask again with ``resumeKey=`` it."""
    rejected: int = 0
    """Malformed lines."""
    rows_removed: int = 0
    """Rows that were there and were replaced."""
    created: bool = False
    """Whether the table was made for it."""
    mode: str = "append"
    dry_run: bool = False
    columns: dict[str, str] = field(default_factory=dict)
    """Of the table, with DuckDB's types; empty for captures and small bodies."""
    read_as: dict[str, str] = field(default_factory=dict)
    """What was guessed of the file, by the names of the options that set it."""
    preview: list[list[str | None]] = field(default_factory=list)
    """The first rows that a dry run would have added, as texts."""
    lines: int = 0
    bytes_read: int = 0
    seconds: float = 0.0
    rejects: list[dict[str, Any]] = field(default_factory=list)
    """The malformed lines, each with its number and the reason."""


def read_summary(lines: Iterable[str]) -> LoadSummary:
    """Return what the lines of a load's answer tell.

    Raises:
        DuckDBException: the load failed.
        ConnectionBrokenError: the lines end before the load.
    """
    rejects: list[dict[str, Any]] = []
    known = {each.name for each in fields(LoadSummary)}
    for line in filter(None, lines):
        told = json.loads(line)
        event = told.pop("event")
        if event == "reject":
            rejects.append(told)
        elif event == "error":
            raise error_of(told["error"])
        elif event == "done":
            facts = {name: value for name, value in told.items() if name in known}
            return LoadSummary(**{**facts, "rejects": rejects})
    raise ConnectionBrokenError(
        "the service broke off while it loaded",
        hint="Load it again; captures that were added stay and are not doubled.",
    )


def upload_of(data: Any, columns: Sequence[str] | None, file_format: str) -> Upload:
    """Return the body of rows, of a table (Arrow, pandas, polars), or of a file by its path.

    Raises:
        InvalidRequestError: it is none of these, or there are no rows.
    """
    if isinstance(data, str | Path):
        path = Path(data)
        return Upload(path, file_format)
    if isinstance(data, bytes | bytearray):
        return Upload(bytes(data), file_format)
    if hasattr(data, "__arrow_c_stream__") or hasattr(data, "to_parquet"):
        return Upload(stream_of(data), "arrow")
    if not isinstance(data, Iterable):
        raise InvalidRequestError(f"rows cannot be made of a {type(data).__name__}")
    lines = b"".join(_lines(data, columns))
    if not lines:
        raise InvalidRequestError("there are no rows to insert")
    return Upload(lines, "ndjson")


def _lines(rows: Iterable[Any], columns: Sequence[str] | None) -> Iterator[bytes]:
    for row in rows:
        if isinstance(row, Mapping):
            named = row
        elif columns is None:
            raise InvalidRequestError("rows that are no dicts need columns=[...]")
        elif len(row) != len(columns):
            raise InvalidRequestError(f"a row has {len(row)} values for {len(columns)} columns")
        else:
            named = dict(zip(columns, row, strict=True))
        yield json.dumps(row_value(named), ensure_ascii=False).encode() + b"\n"


def blocks(path: Path) -> Iterator[bytes]:
    """Yield what a file holds."""
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            yield block


async def async_blocks(path: Path) -> AsyncIterator[bytes]:
    """Yield what a file holds; it is read in another thread."""
    file = await asyncio.to_thread(path.open, "rb")
    with file:
        while block := await asyncio.to_thread(file.read, _BLOCK_BYTES):
            yield block
