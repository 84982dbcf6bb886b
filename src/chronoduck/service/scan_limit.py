"""Refusing a statement whose plan expects to read more rows than its caller may."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from chronoduck.engine.database import Connection
from chronoduck.engine.execution import Params, SqlSession
from chronoduck.engine.scopes.registry import has_filters
from chronoduck.engine.tables_like_files import check_tables
from chronoduck.errors import DuckDBQueryError, LimitExceededError
from chronoduck.service.session import Session
from chronoduck.sql.judged_text import JudgedText, explained
from chronoduck.sql.scopes.plan import is_before_barrier
from chronoduck.sql.statements import Statement

__all__ = ["check_scan"]

_EXPLAIN = "EXPLAIN (FORMAT JSON) "
_HAVE_PLANS = frozenset(
    {"select", "insert", "update", "delete", "merge_into", "create", "copy", "explain"}
)
_RUNS = ("analyze", "analyse")
"""In the text of an EXPLAIN that runs what it explains; in a name, too, which does no harm."""
_READ_AGAIN = ("CTE_SCAN", "DELIM_SCAN")
"""Leaves that read what another part of the plan has read before."""


def check_scan(
    connection: Connection, statement: Statement, params: Params, session: Session
) -> None:
    """Plan the statement if its caller's scans are limited; for the worker thread that runs it.

    What counts is what DuckDB expects each leaf of the plan to give, after the filters that a scan
    takes over: an estimate, which is why this is a fence against accidents, not a price. Of a table
    with hidden rows nothing counts: the estimate knows how many those are.

    Raises:
        LimitExceededError: the plan expects more, or there is none before the statement has run.
        DuckDBQueryError: the statement is at fault.
    """
    limit = session.limits.max_scan_rows
    if limit is None or session.is_own_text or statement.kind not in _HAVE_PLANS:
        return
    if statement.kind == "explain" and not any(word in statement.text.lower() for word in _RUNS):
        return
    is_pivot = statement.leaves_state and "pivot" in statement.text.lower()
    if statement.kind == "explain" or (statement.kind == "select" and is_pivot):
        raise LimitExceededError(
            "how much this statement reads is not known before it has run",
            hint="Name the values of a PIVOT with IN (...); measure by POST explain with analyze.",
        )
    check_tables(connection, statement.tables_like_files)
    rows = _planned_rows(connection, statement.judged, params, session)
    if rows > limit:
        raise LimitExceededError(
            f"the plan expects to read {rows:,} rows; this principal may read {limit:,} at once",
            hint="Narrow the statement (POST explain shows its plan), or have max_scan_rows raised.",
        )


def _planned_rows(
    connection: Connection, judged: JudgedText, params: Params, session: Session
) -> int:
    try:
        plan = SqlSession(connection, session.token, session.commits).execute(
            explained(judged, "FORMAT JSON"), params
        )
    except DuckDBQueryError as error:
        if error.line == 1 and error.column is not None:
            error.column = max(1, error.column - len(_EXPLAIN))
        raise
    scope = session.running.caller.principal.scope
    hides_rows = scope is not None and has_filters(scope)
    return sum(
        int(leaf.get("extra_info", {}).get("Estimated Cardinality", 0))
        for _, text in plan
        for root in orjson.loads(text)
        for leaf in _leaves(root, hides_rows=hides_rows)
        if not any(name in str(leaf["name"]) for name in _READ_AGAIN)
    )


def _leaves(node: dict[str, Any], *, hides_rows: bool) -> Iterator[dict[str, Any]]:
    if hides_rows and is_before_barrier(node):
        return
    if not node.get("children"):
        yield node
    for child in node.get("children", ()):
        yield from _leaves(child, hides_rows=hides_rows)
