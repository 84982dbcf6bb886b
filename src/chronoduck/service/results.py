"""The value that a caller of the Python API gets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["QueryResult"]


@dataclass(frozen=True)
class QueryResult:
    """A statement's result in Python values.

    ``data`` is a list of tuples; for ``fetch_mode="one"`` it holds one row at most, for ``"none"``
    none. ``types`` are DuckDB's, in the order of ``columns``.
    """

    data: list[tuple[Any, ...]]
    columns: list[str]
    row_count: int
    execution_time: float
    """Seconds in the engine, waiting not included."""
    memory_usage: float
    """Peak of the engine's buffers in MB while the statement ran."""
    query_hash: str
    types: list[str]
    truncated: bool = False
    """Whether the statement had more rows than were asked for."""
