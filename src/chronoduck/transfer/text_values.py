"""Values that are written as text or JSON, as SQL of the column's type.

Results write BLOB as base64 in CSV and JSON, and nested values as JSON in CSV: so they are read.
"""

from __future__ import annotations

from chronoduck.transfer.table_columns import TableColumn

__all__ = ["csv_type", "csv_value", "json_type", "json_value", "tried"]

_NOT_IN_JSON = frozenset({"BIT", "BIGNUM"})
"""Types that the engine's JSON reader does not make."""
_NESTED = ("STRUCT(", "MAP(", "UNION(", "TUPLE(")


def is_nested(type_: str) -> bool:
    """Whether values of the type have parts."""
    return type_.endswith("]") or type_.startswith(_NESTED)


def _has_array(type_: str) -> bool:
    """Whether the type, or a part of it, is an array of a fixed length: ``INTEGER[3]``."""
    return any(
        length.isdecimal() and closed
        for length, closed, _ in (piece.partition("]") for piece in type_.split("[")[1:])
    )


def json_type(column: TableColumn) -> str:
    """Return the type to read a column as from JSON."""
    return "VARCHAR" if column.type in _NOT_IN_JSON or column.type == "BLOB" else column.type


def json_value(column: TableColumn, value: str) -> str:
    """Return a column's value, given the SQL of one that was read as ``json_type``."""
    if column.type == "BLOB":
        return f"from_base64({value})"
    return f"CAST({value} AS {column.type})"


def csv_type(column: TableColumn) -> str:
    """Return the type to read a column as from CSV."""
    # DuckDB 1.5.5 writes what happens to be in memory into its message about a nested value.
    return "VARCHAR" if column.type == "BLOB" or is_nested(column.type) else column.type


def csv_value(column: TableColumn, value: str) -> str:
    """Return a column's value, given the SQL of one that was read as ``csv_type``."""
    if column.type == "BLOB":
        return f"from_base64({value})"
    cast = f"CAST({value} AS {column.type})"
    # The engine has no coalesce for arrays of a fixed length.
    if is_nested(column.type) and not _has_array(column.type):
        return f"coalesce(TRY(CAST(TRY_CAST({value} AS JSON) AS {column.type})), {cast})"
    return cast


def tried(column: TableColumn, value: str) -> str:
    """Return the SQL of a value, NULL where it fails."""
    # TRY_CAST makes NULL of those parts of a nested value that do not cast, and keeps the others.
    if value.startswith("CAST(") and not is_nested(column.type):
        return f"TRY_{value}"
    return f"TRY({value})"
