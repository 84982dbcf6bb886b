"""The service's own schema in the catalog: what a statement of a user may not have changed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from chronoduck.engine.database import Connection
from chronoduck.own_schema import OWN_SCHEMA
from chronoduck.sql.rules.refusals import refuse_own_schema

__all__ = ["unchanged_own_schema"]

_OWN = f"lower(schema_name) = '{OWN_SCHEMA}'"
_OBJECTS = " UNION ALL ".join(
    f"SELECT '{kind}', {name}, {facts} FROM duckdb_{kind}() WHERE {_OWN}"
    for kind, name, facts in (
        ("schemas", "schema_name", "concat_ws('|', oid, comment)"),
        ("tables", "table_name", "concat_ws('|', table_oid, sql, comment)"),
        ("columns", "column_name", "concat_ws('|', table_oid, column_index, comment)"),
        ("views", "view_name", "concat_ws('|', view_oid, sql, comment)"),
        ("indexes", "index_name", "concat_ws('|', index_oid, sql, comment)"),
        ("sequences", "sequence_name", "concat_ws('|', sequence_oid, sql, comment)"),
        ("types", "type_name", "concat_ws('|', type_oid, comment)"),
    )
)


@contextmanager
def unchanged_own_schema(connection: Connection, *, is_watched: bool) -> Iterator[None]:
    """Refuse what the block did if the service's own schema is another one after it.

    This asks DuckDB what it did, so no way to write a name passes. The block runs in a transaction:
    nothing of it is committed then. Twice 4 ms.

    Raises:
        StatementRefusedError: an object in the schema came, went or changed.
    """
    if not is_watched:
        yield
        return
    before = _objects(connection)
    yield
    if _objects(connection) != before:
        refuse_own_schema()


def _objects(connection: Connection) -> list[Any]:
    return sorted(connection.execute(_OBJECTS).fetchall())
