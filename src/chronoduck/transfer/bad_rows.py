"""The rows of a file that cannot be loaded: which, why, and how many."""

from __future__ import annotations

from collections.abc import Sequence

from chronoduck.transfer.bad_lines import SHOWN_CHARACTERS, BadRow, unreadable_lines
from chronoduck.transfer.row_checks import reason_of
from chronoduck.transfer.sql import SqlSession, quote_name
from chronoduck.transfer.table_columns import Filled
from chronoduck.transfer.table_source import TableSource

__all__ = ["BadRow", "Inspection"]

_JUDGED = "temp.main._chronoduck_judged"


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
        self._unreadable = unreadable_lines(session, source) if source.keeps_rejects else []
        self.rejected = int(str(counted[1])) + len(self._unreadable)
        self.line_count = int(str(counted[0])) + len(self._unreadable)

    def bad_rows(self, limit: int) -> list[BadRow]:
        """Return the first bad rows in the order of the file."""
        rows = self._session.execute(
            f"SELECT _row_n, _row_reason, left(_row_text, {SHOWN_CHARACTERS}), "
            f"_row_flaw IS NOT NULL FROM {_JUDGED} "
            f"WHERE _row_reason IS NOT NULL ORDER BY 1 LIMIT {limit}"
        )
        unreadable = {row.number for row in self._unreadable}
        lines = self._source.lines_of([int(str(row[0])) for row in rows], unreadable)
        found = [
            BadRow(lines.get(int(str(n)), int(str(n))), str(reason), str(text), bool(is_flaw))
            for n, reason, text, is_flaw in rows
        ]
        return sorted([*found, *self._unreadable], key=lambda row: row.number)[:limit]
