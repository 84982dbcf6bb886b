"""Tables whose names look like files': without such a table DuckDB would open the file."""

from __future__ import annotations

from collections.abc import Sequence

import duckdb

from chronoduck.engine.database import Connection
from chronoduck.sql.engine_errors import translate
from chronoduck.sql.rules.file_names import folded
from chronoduck.sql.rules.refusals import refuse

__all__ = ["check_tables"]

_DATABASE = "SELECT current_database()"
_FOUND = """
SELECT schema_name, table_name FROM duckdb_tables()
WHERE database_name = current_database() AND lower(table_name) = lower($name)
UNION ALL
SELECT schema_name, view_name FROM duckdb_views()
WHERE database_name = current_database() AND NOT internal AND lower(view_name) = lower($name)
"""


def check_tables(connection: Connection, paths: Sequence[tuple[str, ...]]) -> None:
    """Refuse a statement when one of the names in it is no table of the connection's database.

    Call it in the statement's own transaction: what it sees is what the statement sees.

    Raises:
        StatementRefusedError: one is not there, so that DuckDB would look for a file.
    """
    try:
        for path in paths:
            if not _is_there(connection, path):
                shown = ".".join(path)[:100]
                refuse("files", f"there is no table {shown!r}: the name would be read as a file's")
    except duckdb.Error as error:
        raise translate(error) from error


def _is_there(connection: Connection, path: tuple[str, ...]) -> bool:
    name = path[-1]
    found = {
        (folded(schema), folded(known))
        for schema, known in connection.execute(_FOUND, {"name": name}).fetchall()
    }
    if len(path) == 1:
        return ("main", folded(name)) in found
    if len(path) == 2 and (folded(path[0]), folded(name)) in found:
        return True
    database = folded(str(connection.execute(_DATABASE).fetchall()[0][0]))
    schema = "main" if len(path) == 2 else folded(path[1])
    return folded(path[0]) == database and (schema, folded(name)) in found
