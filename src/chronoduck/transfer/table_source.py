"""What a file is to the engine: its columns, its rows as SQL, and its rows one by one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from chronoduck.transfer.bad_lines import BadRow
from chronoduck.transfer.exact_values import Conversion, checked_select
from chronoduck.transfer.options import ReadOptions
from chronoduck.transfer.row_checks import Cell
from chronoduck.transfer.sql import SqlSession, quote_text
from chronoduck.transfer.table_columns import Filled, TableColumn

__all__ = ["Rows", "TableSource"]


@dataclass(frozen=True)
class Rows:
    """A file's rows one by one, whether they are good or bad.

    ``sql`` has the columns ``_row_n`` (from 1), ``_row_text`` and ``_row_flaw`` (why the row is none),
    and what the cells are made of.
    """

    sql: str
    cells: list[Cell]


class TableSource(ABC):
    """A file of rows in the spool directory; every call reads it from its beginning."""

    place = "row"
    """What the numbers of its rows count."""
    can_skip = False
    """Whether single rows can be bad."""
    keeps_rejects = False
    """Whether the engine's reader leaves out lines, and keeps them in a table of its own."""
    is_guessed = False
    """Whether the types of its columns are guessed from some of its rows at first."""
    hint = ""
    """What a caller can set for a value that is not of its column's type."""
    flaw_hint = ""
    """What a caller can set for a line that is no row."""

    def __init__(self, path: Path, name: str, head: bytes, read: ReadOptions) -> None:
        self.path = path
        self.name = name
        self.head = head
        self.read = read
        self.guesses: dict[str, str] = {}
        """What was not said of the file, and how it was read."""

    def prepare(self) -> None:  # noqa: B027 - nothing, for most
        """Take away from the copy what is none of its rows; may block.

        Raises:
            LoadError: the file says that it is not complete.
        """

    def settle(self, session: SqlSession, known: Sequence[str]) -> None:  # noqa: B027
        """Find out how the file is written; ``known``: the columns of the table, if there is one.

        Raises:
            LoadError: it cannot be read so, or a column has a type, or values, that are not loaded.
        """

    @property
    def quoted_path(self) -> str:
        """The path as SQL."""
        return quote_text(str(self.path))

    def lines_of(self, numbers: Sequence[int], unreadable: Collection[int] = ()) -> dict[int, int]:
        """Return where rows are in the file, by their numbers among those that could be read.

        ``unreadable``: the lines that could not.
        """
        return {number: number for number in numbers}

    def lines_at(self, places: Sequence[tuple[int, int]]) -> list[int]:
        """Return the lines of bytes of the copy, each with what the engine takes it for.

        There may be a million: the file is read once.
        """
        return [line for _, line in places]

    @abstractmethod
    def columns(
        self, session: SqlSession, *, lenient: bool = False, whole: bool = False
    ) -> list[TableColumn]:
        """Return the columns of a table that is made for the file.

        ``lenient``: bad rows do not matter. ``whole``: types that fit all rows, not only the first ones.
        """

    @abstractmethod
    def names(self, session: SqlSession) -> list[str]:
        """Return the names of all columns, also of those that only late rows have."""

    @abstractmethod
    def conversion(self, filled: Filled) -> Conversion:
        """Return how a column of ``relation`` becomes one of the table."""

    @abstractmethod
    def relation(self, session: SqlSession, filled: Sequence[Filled]) -> str:
        """Return the rows as SQL."""

    def select(self, session: SqlSession, filled: Sequence[Filled]) -> str:
        """Return the rows with the table's columns; one value that is not kept exactly is an error."""
        conversions = [self.conversion(each) for each in filled]
        names = [each.column.name for each in filled]
        return checked_select(self.relation(session, filled), conversions, names)

    def misfits(self, session: SqlSession, filled: Sequence[Filled]) -> bool:
        """Whether some row has more in it than the columns can take, which the reader would leave out."""
        return False

    def first_flaw(self, session: SqlSession) -> BadRow | None:
        """Return the first line that is no row at all; None: the reader did not stop for one."""
        return None

    @abstractmethod
    def rows(self, session: SqlSession, filled: Sequence[Filled], known: Sequence[str]) -> Rows:
        """Return the rows one by one; ``known``: all columns that they may have."""
