"""The definitions of a database as plain values: what a copy of its catalog is made from."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import duckdb

__all__ = ["CatalogCopy", "CatalogObject", "quoted", "read_catalog", "words_of"]

_OWN = "database_name = current_database() AND NOT internal"
_SCHEMAS = f"SELECT schema_name FROM duckdb_schemas() WHERE {_OWN}"
_TYPES = f"SELECT schema_name, type_name FROM duckdb_types() WHERE {_OWN}"
_SEQUENCES = (
    "SELECT schema_name, sequence_name FROM duckdb_sequences() "
    "WHERE database_name = current_database() AND NOT temporary"
)
_TABLES = f"SELECT schema_name, table_name, sql FROM duckdb_tables() WHERE {_OWN} AND NOT temporary"
_VIEWS = f"SELECT schema_name, view_name, sql FROM duckdb_views() WHERE {_OWN} AND NOT temporary"
_INDEXES = (
    "SELECT table_name, index_name, sql FROM duckdb_indexes() "
    "WHERE database_name = current_database() AND sql IS NOT NULL ORDER BY index_oid"
)
_MACROS = (
    "SELECT schema_name, function_name, function_type = 'table_macro', parameters, parameter_types, "
    "macro_definition FROM duckdb_functions() "
    f"WHERE macro_definition IS NOT NULL AND {_OWN} ORDER BY 1, 2"
)
_MAX_OBJECTS = 20_000
"""A catalog beyond this is read in part: what is missing cannot be used where a copy is needed."""


@dataclass(frozen=True, slots=True)
class CatalogObject:
    """One schema, type, sequence, table, index, view or macro.

    ``name`` is in lower case. ``sql`` makes it. ``names`` are the words of its definition, among them
    the names of all objects that it needs.
    """

    kind: str
    name: str
    sql: str
    owner: str = ""
    """The table of an index, in lower case."""
    stub: str = ""
    """Makes something of the same name for nothing: a definition may be expensive to bind."""

    @property
    def names(self) -> frozenset[str]:
        """Every word of the definition that could be a name, in lower case."""
        return words_of(self.sql)


@dataclass(frozen=True)
class CatalogCopy:
    """The definitions of one moment; a value that can be sent to another process."""

    database: str = ""
    version: int = 0
    objects: tuple[CatalogObject, ...] = ()
    _by_name: dict[str, list[CatalogObject]] = field(
        default_factory=dict, compare=False, repr=False
    )

    def named(self, names: Iterable[str]) -> list[CatalogObject]:
        """Return the objects of these names, in any schema, and all that their definitions need."""
        if not self._by_name:
            for item in self.objects:
                self._by_name.setdefault(item.owner or item.name, []).append(item)
        found: dict[int, CatalogObject] = {}
        asked: set[str] = set()
        waiting = list(names)
        while waiting:
            name = waiting.pop()
            if name in asked:
                continue
            asked.add(name)
            for item in self._by_name.get(name, ()):
                found[id(item)] = item
                waiting += item.names
        return list(found.values())


@functools.lru_cache(maxsize=4096)
def words_of(sql: str) -> frozenset[str]:
    """Return every word of a text, and what stands between quotes, in lower case."""
    found: set[str] = set()
    for mark in ('"', "'"):
        found.update(part.lower() for part in sql.split(mark)[1::2])
        if mark * 2 in sql:  # a mark inside of a name, as it is written: the name is whole here
            whole = sql.replace(mark * 2, "\0").split(mark)[1::2]
            found.update(part.replace("\0", mark).lower() for part in whole)
    word = "".join(
        character if character.isalnum() or character in "_$" or character > "\x7f" else " "
        for character in sql
    )
    found.update(word.lower().split())
    return frozenset(found)


def quoted(name: str) -> str:
    """Return a name as an identifier of SQL."""
    return '"' + name.replace('"', '""') + '"'


def read_catalog(connection: duckdb.DuckDBPyConnection, version: int = 0) -> CatalogCopy:
    """Return the definitions that a connection sees: 2-50 ms.

    Raises:
        duckdb.Error: the instance does not answer.
    """

    def rows(sql: str) -> list[tuple[object, ...]]:
        return connection.execute(sql).fetchmany(_MAX_OBJECTS)

    database = str(rows("SELECT current_database()")[0][0])
    found = [
        CatalogObject("schema", str(name).lower(), f"CREATE SCHEMA {quoted(str(name))}")
        for (name,) in rows(_SCHEMAS)
        if name != "main"
    ]
    found += _types(connection, rows(_TYPES))
    for schema, name in rows(_SEQUENCES):
        path = f"{quoted(str(schema))}.{quoted(str(name))}"
        found.append(CatalogObject("sequence", str(name).lower(), f"CREATE SEQUENCE {path}"))
    for _, name, sql in rows(_TABLES):
        found.append(CatalogObject("table", str(name).lower(), str(sql)))
    for table, name, sql in rows(_INDEXES):
        owner = str(table).lower()
        found.append(CatalogObject("index", str(name).lower(), str(sql), owner))
    for schema, name, sql in rows(_VIEWS):
        stub = f"CREATE VIEW {quoted(str(schema))}.{quoted(str(name))} AS SELECT NULL"
        found.append(CatalogObject("view", str(name).lower(), str(sql), stub=stub))
    found += _macros(rows(_MACROS))
    return CatalogCopy(database, version, tuple(found))


def _types(
    connection: duckdb.DuckDBPyConnection, listed: list[tuple[object, ...]]
) -> Iterator[CatalogObject]:
    """Yield the types, each as what it stands for: the listing of 1.5 and 2.0 does not say that."""
    for schema, name in listed:
        path = f"{quoted(str(schema))}.{quoted(str(name))}"
        try:
            row = connection.execute(f"SELECT typeof(NULL::{path})").fetchone()
        except duckdb.Error:
            continue  # dropped meanwhile
        if row is not None:
            yield CatalogObject("type", str(name).lower(), f"CREATE TYPE {path} AS {row[0]}")


def _macros(listed: list[tuple[object, ...]]) -> Iterator[CatalogObject]:
    """Yield the macros with all their overloads."""
    made: dict[tuple[str, str, bool], list[tuple[list[str], str]]] = {}
    for schema, name, is_table, parameters, types, body in listed:
        kinds = list(types) if isinstance(types, list) else []
        declared = [
            f"{quoted(str(parameter))} {kinds[index] or ''}"
            if index < len(kinds)
            else str(parameter)
            for index, parameter in enumerate(parameters if isinstance(parameters, list) else [])
        ]
        key = (str(schema), str(name), bool(is_table))
        made.setdefault(key, []).append((declared, str(body)))
    for (schema, name, is_table), overloads in made.items():
        path = f"{quoted(schema)}.{quoted(name)}"
        of = "TABLE " if is_table else ""
        sizes = [len(declared) for declared, _ in overloads]
        parts = [
            f"({', '.join(_with_defaults(declared, sizes))}) AS {of}{body}"
            for declared, body in overloads
        ]
        head = f"CREATE MACRO {path} "
        stub = f"{head}() AS {'TABLE SELECT ' if is_table else ''}NULL"
        yield CatalogObject("macro", name.lower(), head + ", ".join(parts), stub=stub)


def _with_defaults(declared: list[str], sizes: list[int]) -> list[str]:
    """Return parameters that may be left out, as far as no other overload is meant then.

    DuckDB does not list which parameters have a default value.
    """
    if sizes.count(len(declared)) > 1:
        return declared
    needed = max((size + 1 for size in sizes if size < len(declared)), default=0)
    return [part if index < needed else f"{part} := NULL" for index, part in enumerate(declared)]
