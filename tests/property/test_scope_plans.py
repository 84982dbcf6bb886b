"""Plans, errors and types of a scope are the same, whether hidden rows exist or how many.

A plan is not shown to a scoped key, but it decides which of two errors comes first, so it tells what
the optimizer knew. ``CHRONODUCK_SCOPE_PLANS`` is how many statements are planned.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pytest

from chronoduck.engine.database import Connection, DuckDBInstance
from chronoduck.engine.scopes.registry import Scopes
from chronoduck.settings import Settings
from tests.narrowed import SCOPE, scripts
from tests.property.test_scope_rows import GeneratedStatements

PLANS = int(os.environ.get("CHRONODUCK_SCOPE_PLANS", "60"))
HIDDEN_ROWS = (0, 40, 20_000)
"""Of each table, beside 60 or 200 rows that are seen: sizes on both sides of every threshold."""
_HIDES_MORE = """
INSERT INTO pages SELECT i, 'CANARY', 'CANARY', -1 - i, -1, TIMESTAMP '1999-01-01', NULL, NULL,
    NULL, NULL FROM range({rows}) t(i);
INSERT INTO visits SELECT i, NULL, 'CANARY', NULL, DATE '1999-01-01' FROM range({rows}) t(i);
"""
_FAILS_FIRST = """
SELECT count(a.e), count(b.e) FROM
    (SELECT id, CASE WHEN id IS NOT NULL THEN error('the table') END AS e FROM {table}) a
    JOIN (SELECT i, CASE WHEN i >= 0 THEN error('the numbers') END AS e FROM range({rows}) t(i)) b
    ON a.id = b.i
"""


@contextmanager
def _scoped(settings: Settings, directory: Path, hidden: int) -> Iterator[Connection]:
    """Yield a scope's connection to a database with so many hidden rows in each filtered table."""
    directory.mkdir()
    paths = {"database_path": directory / "test.db", "temp_directory": directory / "temp"}
    instance = DuckDBInstance(settings.model_copy(update=paths))
    instance.open()
    scopes = Scopes(instance)
    connection = instance.cursor()
    more = _HIDES_MORE.format(rows=hidden)
    for statement in scripts(is_whole=hidden > 0) + more.split(";\n"):
        if statement.strip():
            connection.execute(statement)
    scopes.enter(connection, SCOPE)
    try:
        yield connection
    finally:
        connection.close()
        scopes.close()
        instance.close()


@pytest.fixture
def connections(settings: Settings, tmp_path: Path) -> Iterator[list[Connection]]:
    with ExitStack() as stack:
        yield [
            stack.enter_context(_scoped(settings, tmp_path / str(rows), rows))
            for rows in HIDDEN_ROWS
        ]


def _plan(connection: Connection, sql: str) -> object:
    """Return the plan above the scope's barrier with all estimates, or the whole error."""
    try:
        text = connection.execute(f"EXPLAIN (FORMAT JSON) {sql}").fetchall()[0][1]
    except duckdb.Error as error:
        return str(error)
    return [_above(each)[0] for each in json.loads(text)]


def _above(node: dict[str, Any]) -> tuple[object, bool]:
    """Return a part of the plan, and whether it is a filter or projection on the barrier.

    Those have the estimates of all rows. The LIMIT over the union with nothing does not, and it is from
    there on that the optimizer decides.
    """
    facts = node.get("extra_info", {})
    if "SAMPLE" in node["name"].upper() and "100.0" in json.dumps(facts):
        return node["name"], True
    below = [_above(child) for child in node.get("children", [])]
    is_on_barrier = len(below) == 1 and below[0][1] and "LIMIT" not in node["name"]
    if node["name"] == "UNION":
        is_on_barrier = any(is_below for _, is_below in below)
    # Which unused columns a projection still carries differs for some statements; it decides nothing.
    left_out = ("Projections", "Estimated Cardinality") if is_on_barrier else ("Projections",)
    facts = {name: fact for name, fact in facts.items() if name not in left_out}
    return (node["name"], facts, [child for child, _ in below]), is_on_barrier


def _answer(connection: Connection, sql: str) -> str:
    try:
        return repr(connection.execute(sql).fetchall())
    except duckdb.Error as error:
        return str(error)


def test_no_plan_depends_on_hidden_rows(connections: list[Connection]) -> None:
    planned = 0
    statements = GeneratedStatements(seed=int(os.environ.get("CHRONODUCK_SCOPE_SEED", "7")))
    for _ in range(PLANS):
        sql = statements.statement()
        first, *others = [_plan(connection, sql) for connection in connections]
        planned += isinstance(first, list)
        for other in others:
            assert other == first, sql
    assert planned > PLANS // 2


@pytest.mark.parametrize("table", ["pages", "visits", "reports", "busy"])
def test_which_side_of_a_join_fails_first_does_not_tell_how_many_rows_are_hidden(
    connections: list[Connection], table: str
) -> None:
    for rows in (1, 50, 100, 500, 5_000, 15_000, 25_000, 1_000_000, 10**12, 10**13):
        sql = _FAILS_FIRST.format(table=table, rows=rows)
        assert len({_answer(connection, sql) for connection in connections}) == 1, (table, rows)


def test_types_are_the_same(connections: list[Connection]) -> None:
    for table in ("pages", "visits", "busy", "reports", "owners", "sales.orders"):
        for sql in (f"DESCRIBE {table}", f"SELECT typeof(COLUMNS(*)) FROM {table} LIMIT 1"):
            assert len({_answer(connection, sql) for connection in connections}) == 1, sql
