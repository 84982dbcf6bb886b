"""RENAME of a table that a foreign key refers to: on DuckDB 1.5 CHECKPOINT may then never end.

DuckDB 2.0 refuses the statement by itself. 1.5 forgets to as soon as the table with the key was altered.
"""

from __future__ import annotations

import duckdb

from chronoduck.errors import StatementRefusedError
from chronoduck.sql.tokens import read_tokens

__all__ = ["refuse_rename_of_parent"]

_IS_NEEDED = duckdb.__version__.startswith("1.")
_CHILDREN = """
SELECT schema_name || '.' || table_name FROM duckdb_constraints()
WHERE constraint_type = 'FOREIGN KEY' AND lower(referenced_table) = lower(?) ORDER BY ALL
"""


def refuse_rename_of_parent(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    """Refuse the statement if it renames a table that a foreign key refers to.

    Raises:
        StatementRefusedError: names the table and who refers to it.
        duckdb.Error: the connection cannot be asked.
    """
    if not _IS_NEEDED or "rename" not in sql.lower():
        return
    table = _renamed(sql)
    if table is None:
        return
    children = [str(name) for (name,) in connection.execute(_CHILDREN, [table]).fetchall()]
    if children:
        raise StatementRefusedError(
            f"foreign keys of {', '.join(children)} refer to {table}: DuckDB {duckdb.__version__} could "
            "not write a checkpoint after this RENAME",
            hint="Create the table under its new name, copy the rows, and declare the keys again; or "
            "move to DuckDB 2.0 (`chronoduck help engine-versions`).",
            rule="rename",
        )


def _renamed(sql: str) -> str | None:
    """Return the table in ``ALTER TABLE ... RENAME TO``, without its schema."""
    tokens = read_tokens(sql)
    words = [token.text if token.kind == "word" else "" for token in tokens]
    for index in range(1, len(tokens) - 1):
        if words[index] == "rename" and words[index + 1] == "to" and "table" in words[:index]:
            return tokens[index - 1].text
    return None
