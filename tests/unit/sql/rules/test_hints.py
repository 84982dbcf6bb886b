"""Hints of refusals: what they tell to send is run, for the role that was refused."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import duckdb
import pytest

from chronoduck.engine.live_definitions import LiveDefinitions
from chronoduck.errors import StatementRefusedError
from chronoduck.principals import Role
from chronoduck.sql import rules
from chronoduck.sql.guard import Guard
from chronoduck.sql.rules.functions import (
    DENIED_FUNCTIONS,
    DENIED_IN_FROM,
    DENIED_VIEWS,
)
from chronoduck.sql.rules.instead import INSTEAD, KINDS_INSTEAD
from chronoduck.sql.rules.known_settings import ALLOWED_PRAGMAS, ALLOWED_SETTINGS, DENIED_PRAGMAS
from chronoduck.sql.rules.refusals import RULES
from chronoduck.sql.statements import StatementParser

SENDERS = (Role.ANALYST, Role.WRITER, Role.ADMIN)
# DuckDB 1.5 knows no pragma without a value that is named as a setting.
ONLY_IN_VERSION_2 = (
    [("PRAGMA threads", "current_setting('threads')")] if duckdb.__version__ >= "2" else []
)
SETUP = "CREATE TABLE t (id INTEGER, a INTEGER, b VARCHAR); INSERT INTO t VALUES (1, 2, 'x')"
# Each is refused; the hint tells what works.
REFUSED = [
    *(f"PRAGMA {name}" for name in sorted(ALLOWED_PRAGMAS | ALLOWED_SETTINGS | DENIED_PRAGMAS)),
    "PRAGMA table_info('t')",
    "PRAGMA show('t')",
    "CALL pragma_version()",
    "CALL duckdb_tables()",
    "CALL range(3)",
    "ANALYZE",
    "ANALYZE t",
    "SET VARIABLE v = 1",
    "SET threads = 1",
    "RESET threads",
    "SHOW t",
    "CREATE SECRET s (TYPE s3)",
    "CREATE TABLE p AS PIVOT t ON b USING sum(a)",
    "SELECT setseed(0.5)",
    "SELECT nextval('numbers')",
    "SELECT checkpoint()",
    "FORCE CHECKPOINT",
    "FROM histogram(t, a)",
    "FROM query_table('t')",
    "FROM getenv('HOME')",
    "SELECT getenv('HOME')",
    "SELECT current_setting('temp_directory')",
    "FROM 'x.csv'",
    "WITH d AS (DELETE FROM t RETURNING *) FROM d",
    "SELECT lpad(b, ?, ' ') FROM t",
    "SELECT lpad(b, a, ' ') FROM t",
    "SELECT repeat(b, $n) FROM t",
    "SELECT range(?)",
    "SELECT generate_series(DATE '2024-01-01', DATE '2024-02-01', ?)",
    "SELECT repeat('x', 100 * 1000)",
    "SELECT lpad('x', '9999'::BLOB::BIT::INT, ' ')",
    "SELECT approx_top_k(a, ?) FROM t",
    "SELECT levenshtein(repeat(b, 90000), repeat('x', 90000)) FROM t",
    "SELECT levenshtein(b, b) FROM t",
    "SELECT b::BIGNUM FROM t",
    "SELECT b GLOB repeat('*a', 20) FROM t",
    "SELECT b GLOB '*a*b*c*d*e*f*g*h*i*j*' FROM t",
    "SELECT format(b, 3) FROM t",
    "SELECT format('{:{}}', b, 3) FROM t",
    "SELECT printf('%*d', 3, a) FROM t",
    "SELECT printf('%12345d', a) FROM t",
    "SELECT histogram(a) OVER (ORDER BY a) FROM t",
    "ALTER TABLE t ADD COLUMN d DATE DEFAULT current_date",
    "ALTER TABLE t ALTER COLUMN b TYPE INTEGER[] USING list_transform([1], lambda x: x)",
    *(f"SELECT {name}('t')" for name in sorted(DENIED_FUNCTIONS)),
    *(f"FROM {name}('t')" for name in sorted(DENIED_FUNCTIONS.keys() | DENIED_IN_FROM)),
    *(f"FROM {name}" for name in sorted(DENIED_VIEWS)),
]
# What a hint tells in words, as SQL; for those who may write.
IN_WORDS = [
    # ADD COLUMN with a DEFAULT that is computed
    "ALTER TABLE t ADD COLUMN d DATE",
    "ALTER TABLE t ALTER COLUMN d SET DEFAULT current_date",
    "UPDATE t SET d = current_date",
    # stored-lambda
    "ALTER TABLE t ADD COLUMN e INTEGER[]",
    "UPDATE t SET e = list_transform([a], lambda x: x + 1)",
    "ALTER TABLE t DROP COLUMN a",
    # unreadable
    "CREATE TABLE p AS PIVOT t ON b IN ('x') USING sum(id)",
    # rename
    "CREATE TABLE u AS FROM t",
    # the size of a column
    "SELECT lpad(b, least(id::INTEGER, 1000), ' ') FROM t",
    # the length of a text
    "SELECT levenshtein(left(b, 1000), left(b, 1000)) FROM t",
    "SELECT left('12', 1000)::BIGNUM, 12::HUGEINT::BIGNUM",
    # dynamic-sql, variant, json-depth, too-many-terms, expansion
    "SELECT '{\"a\": [1]}'::JSON -> 'a', json_extract('{\"a\": 1}', '$.a')",
    "FROM json_each('[1, 2]')",
    "SELECT id IN (1, 2) FROM t",
    "WITH c AS MATERIALIZED (FROM t) FROM c, c AS d",
    "FROM information_schema.tables",
    "FROM range(?)",
]


@pytest.fixture(scope="module")
def database() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as opened:
        opened.execute(SETUP)
        yield opened


@pytest.fixture(scope="module")
def guard(database: duckdb.DuckDBPyConnection) -> Iterator[Guard]:
    parser = StatementParser()
    opened = Guard(parser, LiveDefinitions(database.cursor))
    yield opened
    opened.close()
    parser.close()


def statements_in(hint: str) -> list[str]:
    """Return the SQL of a hint: what stands between backticks."""
    return [each for each in hint.split("`")[1::2] if not each.startswith("chronoduck ")]


def hints_of_source() -> set[str]:
    """Return all texts of the rules' modules that show SQL, whoever they are for."""
    found: set[str] = set()
    for path in Path(rules.__file__).parent.glob("*.py"):
        tree = ast.parse(path.read_text())
        docs = {
            id(node.value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and id(node) not in docs and "`" in str(node.value):
                found.add(str(node.value))
    return found


def test_every_statement_that_a_hint_shows_runs_for_whoever_was_refused(
    guard: Guard, database: duckdb.DuckDBPyConnection
) -> None:
    shown: set[tuple[str, Role]] = set()
    hints: set[str] = set()
    for sql in REFUSED:
        roles = SENDERS if not sql.startswith(("ALTER", "CREATE")) else SENDERS[1:]
        for role in roles:
            try:
                guard.judge(sql, role)
            except StatementRefusedError as error:
                assert error.hint, sql
                hints.add(error.hint)
                shown |= {(each, role) for each in statements_in(error.hint)}
            except Exception as error:  # noqa: BLE001 - DuckDB itself does not take it
                assert sql.startswith(("PRAGMA", "SELECT", "FROM", "FORCE", "ANALYZE", "WITH")), (
                    sql,
                    error,
                )
    assert len({each for each, _ in shown}) > 15
    for text in hints_of_source():  # also those that this version of DuckDB has no statement for
        if text.count("`") % 2 == 0:  # it is whole
            shown |= {(each, Role.ANALYST) for each in statements_in(text)}
    for sql, role in sorted(shown):
        guard.judge(sql, role)
        database.cursor().execute(sql).fetchall()


def test_what_hints_tell_in_words_runs() -> None:
    with (
        duckdb.connect() as database,
        closing(StatementParser()) as parser,
        closing(Guard(parser, LiveDefinitions(database.cursor))) as guard,
    ):
        database.execute(SETUP)
        for sql in IN_WORDS:
            guard.judge(sql, Role.WRITER)
            database.execute(sql, [3] if "?" in sql else None)


def test_no_hint_sends_somebody_to_what_the_role_may_not_do(guard: Guard) -> None:
    for sql in ("SELECT checkpoint()", "SELECT nextval('n')", "FROM 'x.csv'"):
        with pytest.raises(StatementRefusedError) as refused:
            guard.judge(sql, Role.ANALYST)
        hint = refused.value.hint
        assert "admin" in hint or "keys that write" in hint or "key that writes" in hint, hint
    for sql, told in (
        ("CALL pragma_version()", "in FROM"),
        ("PRAGMA table_info('t')", "DESCRIBE t"),
        ("PRAGMA show_tables", "SHOW TABLES"),
        ("PRAGMA database_size", "GET tables"),
        ("FROM duckdb_databases()", "SHOW DATABASES"),
        ("SELECT setseed(0.5)", "hash(a, 7)"),
        ("FROM histogram(t, a)", "SELECT histogram(a)"),
        ("SELECT lpad(b, ?, ' ') FROM t", "into the statement"),
        *ONLY_IN_VERSION_2,
    ):
        for role in SENDERS:
            with pytest.raises(StatementRefusedError) as refused:
                guard.judge(sql, role)
            assert told in refused.value.hint, sql


def test_every_name_with_a_hint_of_its_own_is_refused() -> None:
    denied = DENIED_FUNCTIONS.keys() | DENIED_IN_FROM.keys() | DENIED_VIEWS.keys()
    assert set(INSTEAD) <= denied
    assert not KINDS_INSTEAD.keys() & RULES.keys()
