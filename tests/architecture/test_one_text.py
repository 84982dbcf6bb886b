"""The engine runs what was judged: no module makes a text to run but the two that may."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from chronoduck.engine.cancellation import CancelToken
from chronoduck.engine.execution import RunningResult, execute
from chronoduck.sql.judged_text import JudgedText, explained, inside, own_text
from chronoduck.sql.statements import StatementParser

SOURCE = Path(__file__).parents[2] / "src" / "chronoduck"


def calls() -> Iterator[tuple[str, str]]:
    """Yield the module and the called name of every call."""
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                name = getattr(node.func, "id", None) or getattr(node.func, "attr", "")
                yield str(path.relative_to(SOURCE)), name


def callers_of(name: str) -> set[str]:
    return {module for module, called in calls() if called == name}


def test_texts_to_run_are_made_in_two_modules() -> None:
    assert callers_of("JudgedText") == {"sql/judged_text.py", "sql/statements.py"}
    assert callers_of("own_text") == {"engine/execution.py"}


def test_statements_of_users_are_made_by_the_parser_alone() -> None:
    assert callers_of("Statement") == {
        "sql/statements.py",
        # Labels of work of the service: there is nothing to run in them.
        "assembly/own_transactions.py",
        "assembly/sync_run.py",
        "service/batch.py",
        "service/transactions.py",
    }


def test_what_runs_statements_of_users_has_no_way_to_run_other_texts() -> None:
    """``SqlSession`` runs the service's own words; there it runs plans of judged statements."""
    own = {
        module
        for module in callers_of("SqlSession")
        if module.startswith(("service/", "api/", "cli/"))
    }
    assert own == {"service/explain.py", "service/scan_limit.py"}
    for module in own:
        tree = ast.parse((SOURCE / module).read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "execute":
                first = node.args[0]
                is_plan = (
                    isinstance(first, ast.Call) and getattr(first.func, "id", "") == "explained"
                )
                is_constant = isinstance(first, ast.Name) and first.id.isupper()
                assert is_plan or is_constant, (module, node.lineno)


def test_the_engine_refuses_a_text_that_nobody_judged() -> None:
    with duckdb.connect() as connection:
        token = CancelToken(5)
        judged = own_text("SELECT 1")
        for text in ("SELECT 1", judged + " + 1", judged.replace("1", "2"), f"{judged}", judged[:]):
            with pytest.raises(TypeError, match="judged"):
                execute(connection, text, None, token)  # type: ignore[arg-type]
            with pytest.raises(TypeError, match="judged"):
                RunningResult(connection, text, None, token)  # type: ignore[arg-type]
        assert RunningResult(connection, judged, None, token).fetch("all")[0] == [(1,)]


def test_a_judged_text_is_the_statement_to_the_letter() -> None:
    parser = StatementParser()
    sql = " /* a */ SELECT 'x;' ; -- end;"
    judged = parser.parse(sql).judged
    assert judged == sql
    assert explained(judged, "FORMAT JSON") == f"EXPLAIN (FORMAT JSON) {sql}"
    with duckdb.connect() as connection:
        around = inside(parser.parse("SELECT 1 AS a -- ;").judged, "SELECT * FROM", "AS q LIMIT 0")
        assert connection.execute(around).fetchall() == []
    assert isinstance(around, JudgedText)
    parser.close()
