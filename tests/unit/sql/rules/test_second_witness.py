"""The guard with its second witness: what is cut out of a statement does not decide alone."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import duckdb
import pytest

from chronoduck.engine.live_definitions import LiveDefinitions
from chronoduck.errors import DuckDBQueryError, StatementRefusedError
from chronoduck.principals import Role
from chronoduck.sql.expansions import Expander
from chronoduck.sql.guard import Guard, Pending
from chronoduck.sql.rules.second_witness import SecondWitness, Subject
from chronoduck.sql.scratch import Scratch
from chronoduck.sql.statements import StatementParser
from chronoduck.sql.tokens import read_tokens
from chronoduck.sql.witness import Witness

TABLES = """
CREATE TABLE notes (id INTEGER PRIMARY KEY, text VARCHAR);
CREATE TABLE vault (id INTEGER, text VARCHAR);
CREATE MACRO evil(a) AS (SELECT content FROM read_text(a));
"""


@pytest.fixture
def database() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(":memory:") as connection:
        connection.execute(TABLES)
        yield connection


@pytest.fixture
def guard(database: duckdb.DuckDBPyConnection) -> Iterator[Guard]:
    guard = Guard(StatementParser(), LiveDefinitions(database.cursor))
    yield guard
    guard.close()


WRITES = ("insert", "update", "delete")
# What the guard reads, and what DuckDB reads: as if a space were none for one of them.
TWO_READINGS = [
    ("create", "CREATE TABLE made AS SELECT 1", "CREATE TABLE made AS SELECT * FROM vault"),
    ("create", "CREATE VIEW made AS SELECT 1", "CREATE VIEW made AS SELECT * FROM vault"),
    ("create", "CREATE MACRO m() AS 1", "CREATE MACRO m() AS (SELECT content FROM read_text('x'))"),
    ("create", "CREATE TABLE made (a INT)", "CREATE TABLE made (a INT DEFAULT (sleep_ms(9)))"),
    ("create", "CREATE TABLE made AS SELECT 1", "CREATE TABLE made AS FROM duckdb_settings()"),
    ("create", "CREATE TABLE made AS SELECT 1", "CREATE TABLE made AS FROM '/etc/passwd'"),
    ("create", "CREATE TABLE made AS SELECT 1", "CREATE TABLE made AS SELECT evil('/etc/passwd') a"),
    (
        "merge_into",
        "MERGE INTO notes USING (SELECT 1 AS id) s USING (id) WHEN MATCHED THEN DELETE",
        "MERGE INTO notes USING vault s USING (id) WHEN MATCHED THEN DELETE",
    ),
    (
        "merge_into",
        "MERGE INTO notes USING (SELECT 1 AS id) s USING (id) WHEN MATCHED THEN DELETE",
        "MERGE INTO notes USING (SELECT write_log('x') AS id) s USING (id) WHEN MATCHED THEN DELETE",
    ),
    ("insert", "INSERT INTO notes (id) SELECT 1", "INSERT INTO notes (id) SELECT id FROM vault"),
    ("insert", "INSERT INTO notes VALUES (1, 'x')", "INSERT INTO notes VALUES (1, write_log('x'))"),
    ("update", "UPDATE notes SET text = 'x'", "UPDATE notes SET text = write_log('x')"),
    ("delete", "DELETE FROM notes", "DELETE FROM notes WHERE text = write_log('x')"),
    ("alter", "ALTER TABLE notes ALTER text SET DEFAULT ('x')",
     "ALTER TABLE notes ALTER text SET DEFAULT (write_log('x'))"),
    ("select", "PIVOT notes ON text", "FROM (PIVOT notes ON text), duckdb_settings()"),
    ("select", "PIVOT notes ON text", "FROM (PIVOT notes ON text), vault"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "read", "run"), TWO_READINGS)
def test_two_readings_of_one_text_are_refused(
    database: duckdb.DuckDBPyConnection, kind: str, read: str, run: str
) -> None:
    live = LiveDefinitions(database.cursor)
    witness, scratch = SecondWitness(live), Scratch()
    names = Expander(scratch, live.current(), may_write=True)

    def judge(text: str) -> None:
        with_lists = text.replace("ON text", "ON text IN (NULL)") if "PIVOT" in text else None
        subject = Subject(kind, text, read_tokens(read), (), with_lists)
        witness.judge(subject, names, scratch, lambda _: None)

    judge(read)
    if kind in WRITES and "vault" in run and duckdb.__version__ >= "2":
        return  # the tree of the very text names the table
    with pytest.raises((StatementRefusedError, DuckDBQueryError)):
        judge(run)
    witness.close()


def test_a_batch_uses_what_it_makes(guard: Guard) -> None:
    pending = Pending()
    for sql in (
        "CREATE TABLE fresh AS SELECT 1 AS id, 'x' AS text",
        "ALTER TABLE fresh ADD COLUMN more VARCHAR DEFAULT 'y'",
        "CREATE UNIQUE INDEX of_fresh ON fresh (id)",
        "CREATE VIEW over AS SELECT upper(text) AS t FROM fresh",
        "MERGE INTO fresh USING over ON over.t = fresh.text WHEN MATCHED THEN UPDATE SET more = t",
        "INSERT INTO fresh (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET text = upper(excluded.text)",
        "CREATE TABLE copied AS SELECT t FROM over",
        "DROP TABLE copied",
        "CREATE TABLE copied (t VARCHAR)",
    ):
        guard.judge(sql, Role.WRITER, pending=pending)


@pytest.mark.parametrize("form", ["{}", "EXPLAIN ANALYZE {}"])
def test_what_was_judged_before_is_still_noted_in_a_batch(guard: Guard, form: str) -> None:
    """A verdict that is remembered must not hide that the statement defines something."""
    chain = [f"CREATE MACRO z{i}(a) AS z{i - 1}(a) + z{i - 1}(a)" for i in range(1, 20)]
    chain = [form.format(sql) for sql in ["CREATE MACRO z0(a) AS a + a + a", *chain]]
    for sql in chain:
        try:
            guard.judge(sql, Role.WRITER)
        except DuckDBQueryError:
            break
    pending = Pending()
    with pytest.raises(StatementRefusedError):
        for sql in (*chain, "SELECT z19(1)"):
            guard.judge(sql, Role.WRITER, pending=pending)


@pytest.mark.parametrize(
    "options", ["ANALYZE (SELECT 1)", "FORMAT upper('json')", "ANALYZE false, (FORMAT json)"]
)
def test_options_of_explain_are_words(guard: Guard, options: str) -> None:
    with pytest.raises(DuckDBQueryError):
        guard.judge(f"EXPLAIN ({options}) SELECT 1", Role.ANALYST)


def test_a_table_that_the_service_made_by_itself_is_seen(
    guard: Guard, database: duckdb.DuckDBPyConnection
) -> None:
    guard.judge("CREATE TABLE made AS FROM notes", Role.WRITER)
    database.execute("CREATE TABLE loaded (id INTEGER)")  # no statement was noted
    guard.judge("CREATE TABLE made AS FROM loaded", Role.WRITER)


def test_a_wrong_name_is_told_as_duckdb_tells_it(guard: Guard) -> None:
    with pytest.raises(DuckDBQueryError, match="vaults") as caught:
        guard.judge("CREATE TABLE made AS FROM vaults", Role.WRITER)
    assert not isinstance(caught.value, StatementRefusedError)


def test_columns_that_come_from_the_data_may_be_named(guard: Guard) -> None:
    guard.judge("SELECT Ada FROM (PIVOT notes ON text USING max(id))", Role.ANALYST)


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE VIEW made AS SELECT * outside",  # a forgotten FROM
        "CREATE TABLE made AS SELECT id AS outside FROM notes",
        "CREATE VIEW made AS SELECT reading, id FROM notes",
    ],
)
def test_what_no_statement_may_use_is_never_copied(
    database: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch, sql: str
) -> None:
    """To bind it can take seconds: a view of a large repeat() took 13 for one typo."""
    database.execute("CREATE OR REPLACE VIEW outside AS SELECT * FROM duckdb_settings()")
    database.execute("CREATE OR REPLACE MACRO reading(x) AS (SELECT content FROM read_text(x))")
    copied: list[str] = []
    bind = Witness._bind

    def watched(witness: Any, question: Any, catalog: Any, objects: Any) -> Any:
        copied.extend(item.sql for item in objects)
        return bind(witness, question, catalog, objects)

    monkeypatch.setattr(Witness, "_bind", watched)
    guard = Guard(StatementParser(), LiveDefinitions(database.cursor))
    with contextlib.suppress(DuckDBQueryError):
        guard.judge(sql, Role.WRITER)
    guard.close()
    assert copied
    assert not any("duckdb_settings" in text or "read_text" in text for text in copied)
