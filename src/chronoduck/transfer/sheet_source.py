"""Spreadsheets (XLSX, ODS, XLS): a sheet as CSV, of which each cell's kind is known."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from chronoduck.engine.sheets import SheetFacts, SheetReader
from chronoduck.errors import LoadError
from chronoduck.transfer.csv_lines import records_in
from chronoduck.transfer.csv_source import CsvSource
from chronoduck.transfer.options import ReadOptions
from chronoduck.transfer.sql import SqlSession

__all__ = ["SheetSource", "is_sheet"]

_HEAD_BYTES = 1_000_000
_ENDLESS = 1 << 62
_ZIP, _OLE = b"PK\x03\x04", b"\xd0\xcf\x11\xe0"
_NAMES = (".xlsx", ".xlsm", ".xlsb", ".ods", ".xls")
_MARKS = (b"[Content_Types].xml", b"opendocument.spreadsheet")


def is_sheet(head: bytes, name: str) -> bool:
    """Whether a file is a spreadsheet, by its first bytes and its name."""
    if head.startswith(_OLE):
        return True
    is_named = name.lower().endswith(_NAMES)
    return head.startswith(_ZIP) and (is_named or any(mark in head for mark in _MARKS))


_TYPES = (
    ("BOOLEAN", {"truth"}),
    ("BIGINT", {"whole"}),
    ("DOUBLE", {"whole", "real"}),
    ("DATE", {"day"}),
    ("TIMESTAMP", {"day", "moment"}),  # the reader gives a moment at midnight as a day
    ("TIME", {"time"}),
    ("INTERVAL", {"time", "span"}),  # Excel itself shows 8:30 as a time and 25:30 as a duration
)
"""The first one that holds all kinds of cells that a column has; texts hold any."""


def _type_of(kinds: set[str]) -> str:
    return next((type_ for type_, held in _TYPES if kinds <= held), "VARCHAR")


class SheetSource(CsvSource):
    """One sheet; numbers, dates and truth values are what the sheet says, all else is text."""

    place = "row"
    hint = "Set `types`, `date_format` or `null`, or change the type of the column."

    def __init__(self, path: Path, name: str, head: bytes, read: ReadOptions) -> None:
        plain = replace(read, delimiter=",", quote='"', decimal=".", thousands="", encoding="")
        super().__init__(path, name, head, plain)
        self._facts: SheetFacts | None = None
        self._records_before = 0

    def convert(self, reader: SheetReader, largest_bytes: int | None) -> None:
        """Read the sheet; may block.

        Raises:
            LoadError: it cannot be read.
        """
        target = self.path.with_suffix(".csv")
        self._facts = reader.write_csv(
            self.path, target, self.read.sheet, self.name, largest_bytes, self.read.null
        )
        self.path = target
        if self._facts.others and not self.read.sheet:
            self.guesses["sheet"] = self._facts.sheet
        if self._facts.errors:
            self.guesses["error_cells"] = f"NULL ({self._facts.errors})"
        if not target.stat().st_size:
            raise LoadError(
                f"the sheet {self._facts.sheet} of {self.name} is empty",
                hint="Nothing was loaded. Set `sheet` to the name of another one.",
            )

    def prepare(self) -> None:
        """Nothing: the text was written here."""

    def settle(self, session: SqlSession, known: Sequence[str]) -> None:
        if self._dialect is not None:
            return
        with self.path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
        super().settle(session, known)
        self._records_before = records_in(
            head.split(b"\n")[: self.dialect.data_line - 1], self.dialect.delimiter, '"'
        )
        self.guesses.pop("delimiter", None)

    def said_types(self) -> dict[str, str]:
        found = {}
        for column, kinds in self._sheet.kinds.items():
            below_header = {kind for kind, last in kinds.items() if last > self._records_before}
            if below_header and column < len(self._names):
                found[self._names[column]] = _type_of(below_header)
        return found

    @property
    def _sheet(self) -> SheetFacts:
        assert self._facts is not None  # noqa: S101 - the order of calls
        return self._facts

    def lines_of(self, numbers: Sequence[int], unreadable: Collection[int] = ()) -> dict[int, int]:
        gaps = self._sheet.gaps
        found = {}
        for number in numbers:
            record = number + self._records_before
            place = bisect_right(gaps, (record, _ENDLESS))
            found[number] = record + (gaps[place - 1][1] if place else 0)
        return found
