"""Values in a database file that DuckDB does not survive: columns are tried in a process that may die.

A file may hold them from before loads refused them: binary that was taken for BIGNUM or BIT, times
beyond a day, texts that are no JSON in a column of JSON. Checksums are right; who reads them ends the
process, or invalidates the database.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

import duckdb

from chronoduck.engine.tables import located, quoted
from chronoduck.sql.tokens import read_tokens

__all__ = ["TRYING", "PoisonedColumn", "dependents_of", "try_columns"]

TRYING = "tried:"
"""What the stage of a trial begins with; the column's name follows."""
_COLUMNS = """
SELECT schema_name, table_name, column_name, data_type FROM duckdb_columns()
WHERE NOT internal AND database_name = current_database()
  AND table_oid IN (SELECT table_oid FROM duckdb_tables() WHERE database_name = current_database())
ORDER BY schema_name, table_name, column_index
"""
_RISKY = ("TIME", "BIT", "BIGNUM", "VARIANT", "JSON", "GEOMETRY", "UNION", "DATE", "INTERVAL")
_CHECKS = {
    "TIME": "{0} < TIME '00:00:00' OR {0} > TIME '24:00:00'",
    "TIME_NS": "{0} < '00:00:00'::TIME_NS OR {0} > '24:00:00'::TIME_NS",
    "JSON": "NOT json_valid({0}::VARCHAR)",
    "BIT": "length({0}) <= 0 OR octet_length({0}) * 8 - length({0}) NOT BETWEEN 0 AND 7",
}
"""Types to a condition of bad values that is computed without trust in them."""
_VIEWS = "SELECT view_name, sql FROM duckdb_views() WHERE NOT internal"
_MACROS = (
    "SELECT function_name, macro_definition FROM duckdb_functions() "
    "WHERE macro_definition IS NOT NULL AND NOT internal"
)


@dataclass(frozen=True)
class PoisonedColumn:
    """A column that holds such values."""

    schema: str
    table: str
    column: str
    type: str
    reason: str

    @property
    def name(self) -> str:
        """The column's whole name."""
        return f"{self.schema}.{self.table}.{self.column}"


def try_columns(
    connection: duckdb.DuckDBPyConnection,
    skipped: Collection[str],
    on_stage: Callable[[str], None],
) -> list[PoisonedColumn]:
    """Read and print every value of risky types; return the columns that hold bad ones.

    ``skipped``: whole names of columns that are not tried. ``on_stage`` is told a column before it is
    tried: if this process dies, its values did it.

    Raises:
        duckdb.InternalException: by a value of the column that was told last.
    """
    found = []
    for schema, table, column, type_ in connection.execute(_COLUMNS).fetchall():
        if not any(word in type_.upper() for word in _RISKY):
            continue
        poisoned = PoisonedColumn(schema, table, column, type_, "")
        if poisoned.name in skipped:
            continue
        on_stage(f"{TRYING} {poisoned.name}")
        reason = _reason(connection, located(connection, schema, table), quoted(column), type_)
        if reason is not None:
            found.append(PoisonedColumn(schema, table, column, type_, reason))
    return found


def _reason(
    connection: duckdb.DuckDBPyConnection, table: str, column: str, type_: str
) -> str | None:
    check = _CHECKS.get(type_)
    if check is not None:
        row = connection.execute(
            f"SELECT count(*) FROM {table} WHERE {check.format(column)}"
        ).fetchone()
        if row is not None and row[0]:
            return f"{row[0]:,} values are none of their type"
    printed = f"count({column}::VARCHAR)"
    if type_ == "BIGNUM":
        printed += f", count((-{column})::VARCHAR)"
    if type_ in ("BIT", "BIGNUM", "JSON", "VARIANT"):
        printed += f", count(to_json({column})::VARCHAR)"
    try:
        connection.execute(f"SELECT {printed} FROM {table}").fetchall()
    except (duckdb.InternalException, duckdb.FatalException):
        raise
    except duckdb.ConversionException:
        return None  # an ordinary error, such as a date beyond what is printed
    except (duckdb.Error, RuntimeError) as error:
        return f"its values cannot be read: {str(error).splitlines()[0][:200]}"
    return None


def dependents_of(connection: duckdb.DuckDBPyConnection, tables: Collection[str]) -> list[str]:
    """Return the tables' names and those of views and macros that read them, in lower case.

    Whole names decide: a view of ``pages`` does not read ``page``. A column of a table's name counts.
    """
    definitions = [
        (str(name).lower(), _names_in(str(text)))
        for query in (_VIEWS, _MACROS)
        for name, text in connection.execute(query).fetchall()
    ]
    names = {table.lower() for table in tables}
    while True:
        more = {
            name for name, used in definitions if name not in names and not used.isdisjoint(names)
        }
        if not more:
            return sorted(names)
        names |= more


def _names_in(sql: str) -> frozenset[str]:
    """Return the names in a definition; a literal may be one, since ``FROM 'name'`` reads a table."""
    return frozenset(
        token.text.lower() for token in read_tokens(sql) if token.is_name or token.kind == "string"
    )
