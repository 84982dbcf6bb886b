"""Files whose columns have types of their own: Parquet and Arrow IPC."""

from __future__ import annotations

from collections.abc import Sequence

from chronoduck.errors import LoadError
from chronoduck.transfer.arrow_file import open_arrow
from chronoduck.transfer.exact_values import Conversion, typed_conversion
from chronoduck.transfer.row_checks import cells_of
from chronoduck.transfer.sql import SqlSession, quote_name
from chronoduck.transfer.table_columns import Filled, TableColumn
from chronoduck.transfer.table_source import Rows, TableSource
from chronoduck.transfer.value_checks import check_file_values

__all__ = ["ArrowSource", "ParquetSource"]

BODY = "_chronoduck_body"
"""Name of what is registered with the connection."""
_MOST_DIGITS = 38


class _Typed(TableSource):
    _types: dict[str, str] | None = None

    def columns(
        self, session: SqlSession, *, lenient: bool = False, whole: bool = False
    ) -> list[TableColumn]:
        rows = session.execute(f"DESCRIBE SELECT * FROM {self.relation(session, ())}")
        self._types = {str(row[0]): str(row[1]) for row in rows}
        # A column of NULLs becomes what CREATE TABLE AS makes of it.
        return [
            TableColumn(name, type_.replace('"NULL"', "INTEGER"))
            for name, type_ in self._types.items()
        ]

    def names(self, session: SqlSession) -> list[str]:
        return [column.name for column in self.columns(session)]

    def conversion(self, filled: Filled) -> Conversion:
        types = self._types or {}
        return typed_conversion(filled.column.type, types[filled.source], quote_name(filled.source))

    def rows(self, session: SqlSession, filled: Sequence[Filled], known: Sequence[str]) -> Rows:
        relation = self.relation(session, filled)
        sql = (
            "SELECT row_number() OVER () AS _row_n, '' AS _row_text, NULL AS _row_flaw, * "
            f"FROM {relation}"
        )
        return Rows(sql, cells_of(filled, self.conversion))


class ParquetSource(_Typed):
    def settle(self, session: SqlSession, known: Sequence[str]) -> None:
        # The engine reads decimals of more digits as DOUBLE, and wrongly.
        wide = session.execute(
            f"SELECT name, precision, scale FROM parquet_schema({self.quoted_path}) "
            f"WHERE precision > {_MOST_DIGITS} LIMIT 1"
        )
        if wide:
            name, precision, scale = wide[0]
            raise LoadError(
                f"the column {str(name)[:100]} of {self.name} is DECIMAL({precision},{scale}), "
                f"and DuckDB keeps {_MOST_DIGITS} digits",
                hint="Write it as text; nothing was loaded.",
            )
        relation = self.relation(session, ())
        check_file_values(session, relation, self.columns(session), self.name)

    def relation(self, session: SqlSession, filled: Sequence[Filled]) -> str:
        return f"read_parquet({self.quoted_path})"


class ArrowSource(_Typed):
    def relation(self, session: SqlSession, filled: Sequence[Filled]) -> str:
        session.scan(BODY, open_arrow(self.path, self.name))
        return BODY
