"""What a writer may not change: looked at in its own transaction, before it and before its COMMIT.

Names are resolved there as DuckDB resolves them for the statement, and afterwards DuckDB is asked what it
changed in the catalog. So neither a name that means something else by now, nor a way to write one that
nobody thought of, leads out of what was granted.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NoReturn

import duckdb

from chronoduck.engine.database import Connection
from chronoduck.own_schema import PRODUCT_NAMES, PRODUCT_SCHEMA
from chronoduck.principals import Principal, Role
from chronoduck.sql.autocommit import Autocommit
from chronoduck.sql.engine_errors import translate
from chronoduck.sql.rules.file_names import folded
from chronoduck.sql.rules.refusals import refuse
from chronoduck.sql.statements import Statement
from chronoduck.sql.written import Path, WriteWall, Written

__all__ = ["check_load", "may_make", "walled", "within_wall"]

_NAMES_OF_DATABASES = ("source", "subject", "system", "temp", "memory")
"""As maintenance and DuckDB call them; the database's own name is another one."""
# From DuckDB 2.0 on a schema may hold schemas, which no name of two parts reaches.
_IS_OUTERMOST = "" if duckdb.__version__.startswith("1.") else "AND parent_schema IS NULL"
_PLACE = f"""
SELECT current_database(), list(schema_name) FROM duckdb_schemas()
WHERE database_name = current_database() {_IS_OUTERMOST}
"""
_CATALOG = " UNION ALL ".join(
    f"SELECT '{kind}', schema_name AS schema, {name} AS name, concat_ws('|', {facts}) "
    f"FROM duckdb_{kind}() WHERE database_name = current_database()"
    + (" AND NOT internal" if has_internal else "")
    for kind, has_internal, name, facts in (
        ("schemas", True, "schema_name", "oid, comment, sql"),
        ("tables", True, "table_name", "table_oid, sql, comment"),
        ("columns", True, "table_name", "table_oid, column_index, column_name, data_type, comment"),
        ("views", True, "view_name", "view_oid, sql, comment"),
        ("types", True, "type_name", "type_oid, comment"),
        ("functions", True, "function_name", "function_oid, parameters, macro_definition, comment"),
        ("indexes", False, "table_name", "index_oid, index_name, sql, comment"),
        ("constraints", False, "table_name", "table_oid, constraint_index, constraint_text"),
        (
            "sequences",
            False,
            "sequence_name",
            "sequence_oid, min_value, max_value, increment_by, comment",
        ),
    )
)


def walled(statement: Statement, principal: Principal) -> Statement:
    """Return a judged statement of a writer with the wall that it runs behind, if it needs one.

    Raises:
        StatementRefusedError: what it writes is not understood, and its principal may not write all.
    """
    written = statement.written
    if principal.role is not Role.WRITER or written is None:
        return statement
    grants = principal.writes
    if grants is not None and not written.is_known:
        refuse(
            "write-scope",
            "this key writes a part of the database, and it is not clear what this "
            "statement changes",
        )
    if written.is_nothing or (grants is None and not _may_concern_product(statement, written)):
        return statement
    wall = WriteWall(written, grants, statement.changes_catalog)
    autocommit = statement.autocommit
    return replace(
        statement,
        write_wall=wall,
        is_read_only=False,
        autocommit=Autocommit.BY_US if autocommit is not Autocommit.BY_US else autocommit,
    )


def _may_concern_product(statement: Statement, written: Written) -> bool:
    named = (*written.rows, *written.objects)
    return statement.changes_catalog or any(path[-1] in PRODUCT_NAMES for path in named)


@contextmanager
def within_wall(connection: Connection, wall: WriteWall | None) -> Iterator[None]:
    """Refuse what the block may not change; it runs in a transaction, and nothing of it is kept then.

    Raises:
        StatementRefusedError: the statement in the block names what is not granted, or changed it.
    """
    if wall is None:
        yield
        return
    try:
        _check_names(connection, wall)
        before = _catalog(connection, wall)
    except duckdb.Error as error:
        raise translate(error) from error
    yield
    changed = before ^ _catalog(connection, wall)
    for kind, schema, name, _ in sorted(changed):
        if _is_product(schema, name):
            _refuse_product(name)
        if not wall.allows(schema, name):
            _refuse_outside(f"the statement also changes {schema}.{name} ({kind})")


def _check_names(connection: Connection, wall: WriteWall) -> None:
    database, found = connection.execute(_PLACE).fetchall()[0]
    schemas = frozenset(map(folded, found))

    def resolved(path: Path) -> tuple[str, str] | None:
        return _resolved(path, folded(database), schemas)

    written = wall.written
    for path in (*written.rows, *written.objects):
        # Where a schema is called like the database, a name may lead to main or elsewhere: as if to main.
        schema, name = resolved(path) or (PRODUCT_SCHEMA, path[-1])
        if _is_product(schema, name):
            _refuse_product(name)
    for path in written.schemas:
        if path[-1] in (*_NAMES_OF_DATABASES, folded(database)):
            refuse(
                "write-scope",
                f"a database is called {path[-1]}: a schema of that name would be taken for it",
                "Choose another name.",
            )
    if wall.grants is None:
        return
    for path, is_row in (
        *((path, True) for path in written.rows),
        *((path, False) for path in (*written.objects, *written.sequences)),
    ):
        place = resolved(path)
        if place is None or not wall.allows(*place, rows=is_row):
            _refuse_outside(_described(path, is_row=is_row))
    for path in written.schemas:
        is_taken = path[0] in (PRODUCT_SCHEMA, folded(database))
        if len(path) != 1 or is_taken or not wall.allows(path[0], ""):
            _refuse_outside(f"the schema {'.'.join(path)} is not among what it writes")


def _resolved(path: Path, database: str, schemas: frozenset[str]) -> tuple[str, str] | None:
    """Return schema and name of what DuckDB finds by a name; None: it is in another database, or nowhere.

    A schema that is made later in the same statement does not matter: names are looked up before.
    """
    if len(path) == 1:
        return PRODUCT_SCHEMA, path[0]
    if len(path) == 2:
        if path[0] in schemas:
            return path[0], path[1]
        return (PRODUCT_SCHEMA, path[1]) if path[0] == database else None
    if len(path) == 3 and path[0] == database and database not in schemas:
        return path[1], path[2]
    return None


def _catalog(connection: Connection, wall: WriteWall) -> set[tuple[Any, ...]]:
    """Return what the statement must not change, by what DuckDB lists: 5 ms, more in a large catalog."""
    if not wall.watches_catalog:
        return set()
    try:
        rows = connection.execute(_CATALOG).fetchall()
    except duckdb.Error as error:
        raise translate(error) from error
    items = ((kind, folded(schema), folded(name), facts) for kind, schema, name, facts in rows)
    return {item for item in items if _is_product(*item[1:3]) or not wall.allows(item[1], item[2])}


def check_load(principal: Principal, schema: str, name: str, *, only_adds: bool) -> None:
    """Refuse a load into a table that the principal may not write.

    Raises:
        StatementRefusedError: it is not granted, or is the product's and would lose rows.
    """
    if principal.role is not Role.WRITER:
        return
    schema, name = folded(schema), folded(name)
    if _is_product(schema, name) and not only_adds:
        refuse(
            "product-tables",
            f"{name} belongs to the product: a writer adds rows to it, and replaces none",
            "Load without mode, or ask an admin.",
        )
    if not WriteWall(Written(), principal.writes, False).allows(schema, name, rows=True):
        _refuse_outside(f"the table {schema}.{name} is not among what it writes")


def may_make(principal: Principal, schema: str, name: str) -> bool:
    """Whether a load of plain rows may make the table, when there is none."""
    is_writer = principal.role is Role.WRITER
    return not (is_writer and _is_product(folded(schema), folded(name)))


def _is_product(schema: str, name: str) -> bool:
    return schema == PRODUCT_SCHEMA and name in PRODUCT_NAMES


def _described(path: Path, *, is_row: bool) -> str:
    what = "the table" if is_row else "the definition of"
    return f"{what} {'.'.join(path)} is not among what it writes"


def _refuse_product(name: str) -> NoReturn:
    refuse("product-tables", f"{name} belongs to the product: only admins change it by SQL")


def _refuse_outside(reason: str) -> NoReturn:
    refuse("write-scope", f"this key writes a part of the database, and {reason}")
