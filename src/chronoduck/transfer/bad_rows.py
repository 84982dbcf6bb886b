"""The rows of a file that cannot be loaded: which, why, and how many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chronoduck.transfer.row_checks import reason_of
from chronoduck.transfer.sources import TableSource
from chronoduck.transfer.sql import SqlSession, quote_name
from chronoduck.transfer.table_columns import Filled

__all__ = ["BadRow", "Inspection"]

_JUDGED = "temp._chronoduck_judged"
_SHOWN_CHARACTERS = 1000


@dataclass(frozen=True)
class BadRow:
    """A row that was not loaded; ``number`` counts from 1, lines in texts and rows otherwise."""

    number: int
    reason: str
    text: str
    """At most 1,000 characters of it; empty where a row is no text."""


class Inspection:
    """Every row judged one by one and kept with the verdict, on the disk when they are many."""

    def __init__(
        self,
        session: SqlSession,
        source: TableSource,
        filled: Sequence[Filled],
        known: Sequence[str],
        key: Sequence[str],
    ) -> None:
        """``known``: all columns of the table; a row must have a value for those of the ``key``."""
        self._session = session
        self._source = source
        rows = source.rows(session, filled, known)
        session.execute(
            f"CREATE OR REPLACE TEMP TABLE _chronoduck_judged AS "
            f"SELECT *, coalesce(_row_flaw, {reason_of(rows.cells, key)}) AS _row_reason "
            f"FROM ({rows.sql})"
        )
        values = ", ".join(
            f"{cell.value} AS {quote_name(cell.filled.column.name)}" for cell in rows.cells
        )
        self.good_rows = f"SELECT {values} FROM {_JUDGED} WHERE _row_reason IS NULL"
        """The rows that can be loaded, as SQL."""
        counted = session.execute(f"SELECT count(*), count(_row_reason) FROM {_JUDGED}")[0]
        self._unreadable = self._find_unreadable()
        self.rejected = int(str(counted[1])) + len(self._unreadable)
        self.line_count = int(str(counted[0])) + len(self._unreadable)

    def bad_rows(self, limit: int) -> list[BadRow]:
        """Return the first bad rows in the order of the file."""
        rows = self._session.execute(
            f"SELECT _row_n, _row_reason, left(_row_text, {_SHOWN_CHARACTERS}) FROM {_JUDGED} "
            f"WHERE _row_reason IS NOT NULL ORDER BY 1 LIMIT {limit}"
        )
        skipped = [row.number for row in self._unreadable]
        found = [
            BadRow(self._source.line_of(int(str(n)), skipped), str(reason), str(text))
            for n, reason, text in rows
        ]
        return sorted([*found, *self._unreadable], key=lambda row: row.number)[:limit]

    def _find_unreadable(self) -> list[BadRow]:
        """Return the lines that the engine's reader could make no row of."""
        if not self._source.keeps_rejects:
            return []
        rows = self._session.execute(
            f"SELECT line, any_value(error_message), left(any_value(csv_line), {_SHOWN_CHARACTERS}) "
            "FROM reject_errors GROUP BY line ORDER BY line"
        )
        return [
            BadRow(int(str(line)), str(reason), str(text).rstrip("\r\n"))
            for line, reason, text in rows
        ]
