"""How the rows of a file go into a table that may be there already."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from chronoduck.errors import InvalidRequestError

__all__ = ["MAX_REPORTED", "LoadMode", "LoadOptions", "OnError", "ReadOptions"]

MAX_REPORTED = 1000
"""Bad rows that are told one by one, at most; the others are counted."""


class LoadMode(StrEnum):
    """What happens to the rows that the table has."""

    APPEND = "append"
    UPSERT = "upsert"
    """Rows with the key of a new one are replaced by it."""
    REPLACE = "replace"
    """All of them are replaced."""


class OnError(StrEnum):
    """What a bad row does to the others."""

    ABORT = "abort"
    SKIP = "skip"
    REPAIR = "repair"
    """Malformed captures with known dirt are repaired, and marked."""


@dataclass(frozen=True)
class ReadOptions:
    """How a file is to be read; what is not set is guessed, and the guess is reported."""

    delimiter: str = ""
    quote: str | None = None
    """An empty one: fields are never in quotes."""
    decimal: str | None = None
    thousands: str | None = None
    encoding: str = ""
    header: str = "auto"
    """``auto``, ``yes``, ``no``, or the names of the columns."""
    skip: int = 0
    """Lines before the header."""
    null: tuple[str, ...] = ()
    """Texts that mean NULL, besides an empty field."""
    date_format: str = ""
    types: Mapping[str, str] = field(default_factory=dict)
    """Types of columns that are made, by name."""
    all_text: bool = False
    """Whether every column that is made is of texts."""
    sheet: str = ""


@dataclass(frozen=True)
class LoadOptions:
    """The wishes of one load; the defaults are those of ``chronoduck load``."""

    mode: LoadMode = LoadMode.APPEND
    key: tuple[str, ...] = ()
    """Columns by which an upsert knows a row."""
    create: bool = True
    """Whether a table that is missing is made after the file."""
    dry_run: bool = False
    on_error: OnError = OnError.ABORT
    max_reported: int = MAX_REPORTED
    read: ReadOptions = ReadOptions()

    def check(self) -> None:
        """Refuse wishes that contradict each other.

        Raises:
            InvalidRequestError: a key is missing, or is given where none is used.
        """
        if (self.mode is LoadMode.UPSERT) != bool(self.key):
            raise InvalidRequestError(
                "`mode=upsert` needs `key=column,column`"
                if not self.key
                else f"`mode={self.mode}` takes no `key`",
                hint="The key names the columns by which an upsert knows a row.",
            )
        if len({name.lower() for name in self.key}) < len(self.key) or not all(self.key):
            raise InvalidRequestError("key names a column twice, or an empty one")

    @property
    def is_plain(self) -> bool:
        """Whether rows are only added: all that can be done with captures."""
        return self.mode is LoadMode.APPEND and not self.dry_run and self.read == ReadOptions()
