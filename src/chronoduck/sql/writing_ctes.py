"""CTEs that write: from DuckDB 2.0 on, a statement of the type SELECT may change data or write files."""

from __future__ import annotations

from typing import Any

import duckdb
import orjson

__all__ = ["has_writing_cte"]

_WRITING_WORDS = ("insert", "update", "delete", "truncate", "merge", "copy")
"""Without WITH and one of these words there is no such CTE; with them the tree decides."""
_SERIALIZE = "SELECT json_serialize_sql($1::VARCHAR, skip_null := true, skip_empty := true)"
_READING = frozenset(
    {"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE", "VALUES_NODE"}
)


def has_writing_cte(connection: duckdb.DuckDBPyConnection, sql: str) -> bool:
    """Whether a statement that DuckDB calls a SELECT may write.

    A statement without a tree (a PIVOT, one that is nested too deeply) counts as one that writes.
    0.4 ms where the words occur, 1 µs elsewhere.
    """
    lowered = sql.lower()
    if "with" not in lowered or not any(word in lowered for word in _WRITING_WORDS):
        return False
    try:
        row = connection.execute(_SERIALIZE, [sql]).fetchone()
        document = orjson.loads(row[0]) if row and row[0] else {"error": True}
    except (duckdb.Error, RuntimeError, ValueError):
        return True
    return bool(document.get("error")) or _holds_writing_node(document)


def _holds_writing_node(document: dict[str, Any]) -> bool:
    stack: list[Any] = [document]
    while stack:
        part = stack.pop()
        if isinstance(part, list):
            stack.extend(part)
        elif isinstance(part, dict):
            kind = part.get("type")
            is_query = isinstance(kind, str) and kind.endswith("_NODE") and "class" not in part
            if is_query and kind not in _READING:
                return True
            stack.extend(value for value in part.values() if isinstance(value, dict | list))
    return False
