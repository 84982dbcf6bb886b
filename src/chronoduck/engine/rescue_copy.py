"""A living database written into a new file by SQL alone, when its own file and WAL cannot be trusted.

Used when a start would fail and CHECKPOINT does not help: what the running instance holds in memory is
then the only whole copy. COPY FROM DATABASE is not used: it orders the catalog by the code in
which CHECKPOINT loops forever after some bugs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import duckdb

from chronoduck.engine.inspection import TableFacts, inspect_database, read_table
from chronoduck.engine.storage_version import own_storage_version
from chronoduck.engine.tables import (
    fresh_catalog,
    parents_first,
    quoted,
    stored_columns,
    with_database,
)
from chronoduck.errors import DatabaseFailedError
from chronoduck.sql.error_facts import read_facts

__all__ = ["RescueCopy", "copy_living_database"]

_TABLES = (
    "SELECT schema_name, table_name, sql FROM duckdb_tables() "
    "WHERE NOT internal AND NOT temporary AND database_name = ? ORDER BY table_oid"
)
_SCHEMAS = (
    "SELECT schema_name FROM duckdb_schemas() WHERE NOT internal AND database_name = ? "
    "AND schema_name <> 'main'"
)
_TYPES = (
    "SELECT schema_name, type_name, labels FROM duckdb_types() "
    "WHERE NOT internal AND database_name = ?"
)
_SEQUENCES = (
    "SELECT schema_name, sequence_name, sql FROM duckdb_sequences() WHERE database_name = ?"
)
_MACROS = (
    "SELECT schema_name, function_name, function_type, parameters, macro_definition "
    "FROM duckdb_functions() WHERE NOT internal AND database_name = ? "
    "AND macro_definition IS NOT NULL"
)
_VIEWS = (
    "SELECT schema_name, view_name, sql FROM duckdb_views() "
    "WHERE NOT internal AND NOT temporary AND database_name = ?"
)
_INDEXES = "SELECT schema_name, index_name, sql FROM duckdb_indexes() WHERE database_name = ?"
_COMMENTS = (
    "SELECT count(*) FROM (SELECT comment FROM duckdb_tables() WHERE database_name = $1 UNION ALL "
    "SELECT comment FROM duckdb_columns() WHERE database_name = $1) WHERE comment IS NOT NULL"
)


@dataclass
class RescueCopy:
    """What is in the new file."""

    tables: list[TableFacts] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    """What is not in it; rows never are."""

    @property
    def rows(self) -> int:
        """Rows of all tables."""
        return sum(table.rows for table in self.tables)


def copy_living_database(
    connection: duckdb.DuckDBPyConnection, target: Path, *, memory_limit: str = "500MB"
) -> RescueCopy:
    """Copy the connection's database into a new file, and read both again to compare every row.

    ``target`` must lie where the instance may ATTACH. Nothing may write meanwhile.

    Raises:
        DatabaseFailedError: a table cannot be read, or the copy is not the same.
    """
    copy = _Copy(connection)
    try:
        copy.attach(target)
        try:
            copy.run()
        finally:
            copy.detach()
    except duckdb.Error as error:
        message = read_facts(error).message.splitlines()[0]
        raise DatabaseFailedError(
            f"the living database cannot be copied: {message}",
            hint="Do not restart. Export the tables one by one: GET export, or COPY ... TO.",
        ) from error
    found = {
        each.name: each
        for each in inspect_database(target, full=True, memory_limit=memory_limit).tables
    }
    for table in copy.result.tables:
        if found.get(table.name) != table:
            raise DatabaseFailedError(
                f"table {table.name} is not the same in the rescue copy",
                hint="Do not restart. Export the tables one by one: GET export, or COPY ... TO.",
            )
    return copy.result


class _Copy:
    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection
        self._source = ""
        # Nobody can guess the name, and so write into the copy.
        self._target = fresh_catalog("rescue")
        self.result = RescueCopy()

    def attach(self, target: Path) -> None:
        row = self._connection.execute("SELECT current_database()").fetchone()
        self._source = str(row[0]) if row else ""
        path = str(target).replace("'", "''")
        # The instance's configuration may name an older version, which cannot hold every type that
        # the source has. The file is new: it is made with this version, not raised to it.
        version = own_storage_version(self._connection)
        self._connection.execute(f"ATTACH '{path}' AS {self._target} (STORAGE_VERSION '{version}')")

    def detach(self) -> None:
        self._connection.execute(f"USE {quoted(self._source, 'main')}")
        self._connection.execute(f"DETACH {self._target}")

    def run(self) -> None:
        self._connection.execute(f"USE {self._target}.main")
        for (schema,) in self._ask(_SCHEMAS):
            self._make(f"schema {schema}", f"CREATE SCHEMA {quoted(self._target, schema)}")
        for schema, name, labels in self._ask(_TYPES):
            self._make_type(schema, name, labels)
        for schema, name, sql in self._ask(_SEQUENCES):
            # DuckDB's own statement does not name the schema.
            made = "CREATE SEQUENCE "
            place = f"{quoted(self._target, schema)}."
            self._make(f"sequence {schema}.{name}", made + place + sql.removeprefix(made))
        for schema, name, kind, parameters, definition in self._ask(_MACROS):
            word = "TABLE " if kind == "table_macro" else ""
            place = f"{quoted(self._target, schema, name)}({', '.join(parameters)})"
            self._make(f"macro {schema}.{name}", f"CREATE MACRO {place} AS {word}{definition}")
        for schema, name, sql in parents_first(self._connection, self._source, self._ask(_TABLES)):
            self._copy_table(schema, name, sql)
        for what, query in (("view", _VIEWS), ("index", _INDEXES)):
            for schema, name, sql in self._ask(query):
                self._make(f"{what} {schema}.{name}", sql)
        if comments := self._ask(_COMMENTS)[0][0]:
            self.result.left_out.append(f"{comments} comments")
        self._connection.execute(f"CHECKPOINT {self._target}")

    def _ask(self, query: str) -> list[tuple]:  # type: ignore[type-arg]
        return self._connection.execute(query, [self._source]).fetchall()

    def _make(self, what: str, *texts: str) -> bool:
        """Run the first of the statements that works; when none does, note what is left out."""
        for sql in texts:
            try:
                self._connection.execute(sql)
            except duckdb.Error:
                continue
            return True
        self.result.left_out.append(what)
        return False

    def _make_type(self, schema: str, name: str, labels: list[str] | None) -> None:
        if not labels:
            self.result.left_out.append(f"type {schema}.{name}")
            return
        listed = ", ".join("'" + label.replace("'", "''") + "'" for label in labels)
        place = quoted(self._target, schema, name)
        self._make(f"type {schema}.{name}", f"CREATE TYPE {place} AS ENUM ({listed})")

    def _copy_table(self, schema: str, table: str, sql: str) -> None:
        what = f"constraints and defaults of table {schema}.{table}"
        old, new = quoted(self._source, schema, table), quoted(self._target, schema, table)
        # Only where DuckDB's text is ambiguous is it changed: the change would break a foreign key.
        if self._make(what, sql, with_database(sql, schema, self._target)):
            try:
                self._copy_rows(schema, table, old, new)
            except duckdb.ConstraintException:
                # A key into the table itself: DuckDB 2.0 wants the row it names to be there before.
                self.result.left_out.append(what)
                self._connection.execute(f"DROP TABLE {new}")
                self._copy_without_constraints(schema, table, old, new)
        else:
            self._copy_without_constraints(schema, table, old, new)
        facts = read_table(self._connection, schema, table, full=True, database=self._source)
        self.result.tables.append(facts)

    def _copy_without_constraints(self, schema: str, table: str, old: str, new: str) -> None:
        self._connection.execute(f"CREATE TABLE {new} AS FROM {old} WITH NO DATA")
        self._copy_rows(schema, table, old, new)

    def _copy_rows(self, schema: str, table: str, old: str, new: str) -> None:
        columns = ", ".join(
            stored_columns(self._connection, schema, table, new, database=self._source)
        )
        self._connection.execute(f"INSERT INTO {new} ({columns}) SELECT {columns} FROM {old}")
