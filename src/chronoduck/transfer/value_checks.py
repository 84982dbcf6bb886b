"""Which types and values of a file the engine's own reader may hand on.

DuckDB 1.5.5 takes times of day beyond 24 hours from Parquet as they are, and ends when it prints them; a
VARIANT of a file is its own inner form, with a depth that nobody has looked at.
"""

from __future__ import annotations

from collections.abc import Sequence

from chronoduck.errors import LoadError
from chronoduck.transfer.sql import SqlSession, quote_name, quote_text
from chronoduck.transfer.table_columns import TableColumn
from chronoduck.transfer.type_text import TypeTree, read_type

__all__ = ["MAX_FILE_COLUMNS", "check_file_values", "check_target", "check_width"]

MAX_FILE_COLUMNS = 5_000
"""DuckDB plans the load of 20,000 columns for ten seconds without listening."""

_TAKEN = frozenset(
    ["BOOLEAN", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT",
     "UINTEGER", "UBIGINT", "UHUGEINT", "FLOAT", "DOUBLE", "DECIMAL", "VARCHAR", "BLOB", "DATE", "TIME",
     "TIME_NS", "TIME WITH TIME ZONE", "TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS",
     "TIMESTAMPTZ_NS", "TIMESTAMP WITH TIME ZONE", "INTERVAL", "UUID", "JSON", "ENUM", "GEOMETRY",
     "STRUCT", '"NULL"']
)  # fmt: skip
_DAYS = {
    "TIME": ("TIME '00:00:00'", "TIME '24:00:00'"),
    "TIME_NS": ("'00:00:00'::TIME_NS", "'24:00:00'::TIME_NS"),
    "TIME WITH TIME ZONE": ("'00:00:00+00'::TIMETZ", "'24:00:00+00'::TIMETZ"),
}
"""Types to their first and last value; those of files are in UTC."""
_MAX_LEVELS = 50


def check_file_values(
    session: SqlSession, relation: str, columns: Sequence[TableColumn], name: str
) -> None:
    """Look at the types of a file's columns, and at those values that the reader may not have checked.

    Raises:
        LoadError: names the column.
    """
    check_width(len(columns), name)
    flaws = []
    for column in columns:
        tree = _tree_of(column, name)
        flaw = _flaw(tree, quote_name(column.name), 0)
        if flaw is not None:
            label = quote_text(f"column {column.name}: a time of day is not within a day")
            flaws.append(f"CASE WHEN {flaw} THEN {label} END")
    if not flaws:
        return
    row = session.execute(f"SELECT any_value(coalesce({', '.join(flaws)}, NULL)) FROM {relation}")
    if row and row[0][0] is not None:
        raise LoadError(f"{name} cannot be loaded: {row[0][0]}", hint="Nothing was loaded.")


def check_width(columns: int, name: str) -> None:
    """Refuse a file of too many columns.

    Raises:
        LoadError: it has.
    """
    if columns > MAX_FILE_COLUMNS:
        raise LoadError(
            f"{name} has {columns:,} columns, of at most {MAX_FILE_COLUMNS:,}",
            hint="Nothing was loaded.",
        )


def check_target(columns: Sequence[TableColumn], table: str) -> None:
    """Refuse to fill columns whose values are made of JSON by a cast that ends the process.

    Raises:
        LoadError: names the column.
    """
    for column in columns:
        if "VARIANT" in column.type.upper() and "VARIANT" in read_type(column.type).leaves:
            raise LoadError(
                f"the column {column.name} of {table} is of type {column.type[:60]}, which is not loaded",
                hint="Make it JSON; nothing was loaded.",
            )


def _tree_of(column: TableColumn, name: str) -> TypeTree:
    try:
        tree = read_type(column.type)
    except ValueError:
        tree = TypeTree(column.type[:60])
    unknown = sorted(tree.leaves - _TAKEN)
    if unknown:
        raise LoadError(
            f"the column {column.name[:100]} of {name} is of type {unknown[0][:60]}, which is not loaded",
            hint="Write it as text or JSON; nothing was loaded.",
        )
    return tree


def _flaw(tree: TypeTree, value: str, level: int) -> str | None:
    """Return SQL for whether a value has a flaw; None if none of its type has."""
    if level > _MAX_LEVELS:
        raise LoadError(
            f"a column is nested more than {_MAX_LEVELS} deep", hint="Nothing was loaded."
        )
    if not tree.leaves & _DAYS.keys():
        return None
    if tree.name in _DAYS:
        first, last = _DAYS[tree.name]
        return f"({value} < {first} OR {value} > {last})"
    if tree.name == "MAP":
        parts = [
            (f"map_keys({value})", tree.parts[0][1]),
            (f"map_values({value})", tree.parts[1][1]),
        ]
        found = [_flaw(TypeTree("LIST", [("", part)]), each, level) for each, part in parts]
    elif tree.name in ("LIST", "ARRAY"):
        element = f"e{level}"
        inner = _flaw(tree.parts[0][1], element, level + 1)
        listed = f"len(list_filter({value}, lambda {element}: {inner})) > 0"
        found = [None if inner is None else listed]
    else:
        found = [
            _flaw(part, f"struct_extract({value}, {quote_text(field)})", level + 1)
            for field, part in tree.parts
        ]
    return f"({' OR '.join(each for each in found if each is not None)})"
