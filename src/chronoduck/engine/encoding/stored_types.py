"""What has to be done with the columns of a Parquet result to have the types that they had.

Parquet has no form for some of DuckDB's types: ``PortableColumns`` writes them as texts or plainer types.
"""

from __future__ import annotations

from collections.abc import Sequence

import duckdb
from duckdb.sqltypes import DuckDBPyType

from chronoduck.engine.encoding.contract import member_types, unique_names
from chronoduck.engine.type_names import readable_type

__all__ = ["select_list"]

_CHANGED = frozenset(
    ["hugeint", "uhugeint", "bignum", "bit", "uuid", "interval", "timestamp_s", "timestamp_ms"]
) | {"time with time zone"}
_NESTED = frozenset({"list", "array", "struct", "tuple", "map", "union"})


def select_list(columns: Sequence[str], types: Sequence[str]) -> str:
    """Return what to select from the file of a result with these columns and types of DuckDB's.

    An ENUM stays a text; a UNION, and a struct without fields, is the JSON of every other format.
    """
    names = [_quoted(name) for name in unique_names(columns)]
    return ", ".join(
        f"{_restored(name, kind)} AS {name}" if (kind := _read(written)) else name
        for name, written in zip(names, types, strict=True)
    )


def _read(written: str) -> DuckDBPyType | None:
    """Return a type; None: DuckDB cannot read it, as 1.5 that of ``row(1, 'x')``; it stays the file's."""
    try:
        return DuckDBPyType(readable_type(written))
    except duckdb.Error:
        return None


def _restored(name: str, kind: DuckDBPyType) -> str:
    if str(kind) == "JSON" or _is_written_as_json(kind):
        # A file that somebody loaded may say JSON of what is none: such a text is a string.
        return (
            f"CASE WHEN {name} IS NULL OR json_valid({name}) THEN CAST({name} AS JSON) "
            f"ELSE to_json({name}) END"
        )
    return f"CAST({name} AS {_target(kind)})" if _is_changed(kind) else name


def _is_changed(kind: DuckDBPyType) -> bool:
    if kind.id in _CHANGED or kind.id in ("array", "tuple") or str(kind) == "JSON":
        return True
    return kind.id in _NESTED and any(_is_changed(child) for _, child in member_types(kind))


def _is_written_as_json(kind: DuckDBPyType) -> bool:
    """Whether it holds a UNION or a struct without fields, which Parquet lacks."""
    if kind.id not in _NESTED:
        return False
    members = member_types(kind)
    return (
        kind.id == "union" or not members or any(_is_written_as_json(each) for _, each in members)
    )


def _target(kind: DuckDBPyType) -> str:
    """Return the type as SQL; every name in it is quoted here."""
    if kind.id in ("enum", "variant"):
        return "VARCHAR"
    if kind.id not in _NESTED:
        return str(kind)
    members = [(name, _target(child)) for name, child in member_types(kind)]
    if kind.id == "list":
        return f"{members[0][1]}[]"
    if kind.id == "array":
        return f"{members[0][1]}[{dict(kind.children)['size']}]"
    if kind.id == "map":
        return f"MAP({members[0][1]}, {members[1][1]})"
    if kind.id == "tuple":
        return f"TUPLE({', '.join(target for _, target in members)})"
    named = [
        f"{_quoted(name or f'element{number}')} {target}"
        for number, (name, target) in enumerate(members, start=1)
    ]
    return f"STRUCT({', '.join(named)})"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
