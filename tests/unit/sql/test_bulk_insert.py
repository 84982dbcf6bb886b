"""Bulk inserts are told by their text, and nothing else is taken for one."""

from __future__ import annotations

import random

import pytest

from chronoduck.sql.bulk_insert import is_bulk_insert


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO t VALUES (1)",
        "insert or replace into a.b.c values (1, 'x'), (2, 'it''s') ;",
        "INSERT OR IGNORE INTO \"T\" (a, \"B\") VALUES\n('', -1.5e-3),\t( +1_000 , '''' )",
        "INSERT INTO t VALUES (NULL, true, FALSE, DEFAULT, ?, $1, $name)",
        "INSERT INTO t VALUES (DATE '2024-01-01', timestamp'2024-01-01', UUID 'x', '--', '/*', ')')",
        "INSERT INTO values_of (values_a) VALUES (1.), (2)",
        "INSERT INTO t VALUES ('\u00fc \u2014 \U0001f600')",
    ],
)
def test_rows_of_literals_are_one(sql: str) -> None:
    assert is_bulk_insert(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO t SELECT 1",
        "INSERT INTO t VALUES (now())",
        "INSERT INTO t VALUES ((SELECT 1))",
        "INSERT INTO t VALUES (1) RETURNING a",
        "INSERT INTO t VALUES (1), (2) ON CONFLICT DO NOTHING",
        "INSERT INTO t VALUES (E'\\'', 1)",
        "INSERT INTO t VALUES (E'\\', f(), ')",
        "INSERT INTO t VALUES (x'00')",
        "INSERT INTO t VALUES ($$ ' $$)",
        "INSERT INTO t VALUES ($x$, ' $x$, ')",
        "INSERT INTO t VALUES ('a' 'b')",
        "INSERT INTO t VALUES ('a'\n'b')",
        "INSERT INTO t VALUES ('a' -- '\n, f())",
        "INSERT INTO t VALUES (1 /* ' */, f() /* ' */)",
        'INSERT INTO t VALUES ("a\'", f(), "\'")',
        "INSERT INTO \"t'\" VALUES (1, '\" VALUES (f())')",
        "INSERT INTO t VALUES (1, )",
        "INSERT INTO t VALUES (a)",
        "INSERT INTO t VALUES (1)(2)",
        "INSERT INTO t VALUES (1), ",
        "INSERT INTO t VALUES (1) (2)",
        "INSERT INTO t VALUES (1, 'x)",
        "INSERT INTO t VALUES (1); DROP TABLE t",
        "INSERT INTO t (a) (b) VALUES (1)",
        "INSERT INTO read_csv('x') VALUES (1)",
        "INSERT INTO t BY NAME VALUES (1)",
        "INSERT INTO t VALUES (1e), (2)",
        "INSERT INTO t VALUES (--1)",
        "INSERT INTO t VALUES (1+1)",
        "INSERT INTO t VALUES ([1])",
        "INSERT INTO t VALUES ('a'::INTEGER)",
        "INSERT INTO t VALUES (INTERVAL '1')",
        "WITH x AS (SELECT 1) INSERT INTO t VALUES (1)",
        "INSERT INTO a.b.c.d VALUES (1)",
        "INSERT INTO t VALUES",
        "VALUES (1)",
        "",
    ],
)
def test_everything_else_is_not(sql: str) -> None:
    assert not is_bulk_insert(sql)


def test_a_bulk_insert_with_a_call_anywhere_is_none() -> None:
    dice = random.Random(1)
    for _ in range(500):
        items = [dice.choice(("1", "'a'", "'it''s'", "NULL", "-2.5", "'f()'")) for _ in range(9)]
        rows = [f"({', '.join(items[i : i + 3])})" for i in (0, 3, 6)]
        assert is_bulk_insert(f"INSERT INTO t VALUES {', '.join(rows)}")
        items[dice.randrange(9)] = dice.choice(("f()", "a", "'a' || b", "(1)", "E'\\''", "/**/1"))
        rows = [f"({', '.join(items[i : i + 3])})" for i in (0, 3, 6)]
        assert not is_bulk_insert(f"INSERT INTO t VALUES {', '.join(rows)}")
