"""How long all definitions of the catalog may be: everybody's statements pay for reading them.

DuckDB writes out every type, column and view whenever somebody lists the catalog, and the guard and the
scopes read it after each change of it. An ENUM of 300,000 values made everybody's DDL and MERGE take
seconds. So a transaction that makes the catalog longer than this is rolled back, whoever began it: a
statement, a batch or an upload that makes its table.
"""

from __future__ import annotations

from chronoduck.engine.database import Connection
from chronoduck.sql.rules.refusals import refuse

__all__ = ["MAX_DEFINITIONS", "check_definitions"]

MAX_DEFINITIONS = 8_000_000
"""Characters of all types, columns, defaults, views, macros and comments together."""
_VALUE_WEIGHT = 8
"""A value of an ENUM is written out wherever its type is."""
_OWN = "NOT internal AND database_name = current_database()"
_LENGTHS = {
    "types": f"{_VALUE_WEIGHT} * coalesce(length(labels::VARCHAR), 0)",
    "columns": "length(column_name) + length(data_type) + coalesce(length(column_default), 0) "
    "+ coalesce(length(comment), 0)",
    "tables": "coalesce(length(comment), 0)",
    "views": "length(sql) + coalesce(length(comment), 0)",
    "functions": "coalesce(length(macro_definition), 0)",
}


def check_definitions(connection: Connection) -> None:
    """Refuse what the open transaction did if all definitions are too long now, and longer than before.

    20 ms; a catalog that was longer already may be changed, but not made longer.

    Raises:
        StatementRefusedError: rule ``definitions``.
    """
    length = _length(connection)
    if length <= MAX_DEFINITIONS:
        return
    committed = connection.cursor()
    try:
        before = _length(committed)
    finally:
        committed.close()
    if length > before:
        refuse(
            "definitions",
            f"all types, columns, views and macros together would take {length:,} characters to write; "
            f"at most {MAX_DEFINITIONS:,} are kept",
        )


def _length(connection: Connection) -> int:
    parts = (
        f"(SELECT coalesce(sum({length}), 0) FROM duckdb_{kind}() WHERE {_OWN})"
        for kind, length in _LENGTHS.items()
    )
    row = connection.execute(f"SELECT {' + '.join(parts)}").fetchone()
    return 0 if row is None else int(row[0])
