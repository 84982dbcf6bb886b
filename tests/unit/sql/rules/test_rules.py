"""Each rule of the guard: what it refuses, what it lets pass, and that it is documented."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from chronoduck.engine.live_definitions import LiveDefinitions
from chronoduck.errors import StatementRefusedError
from chronoduck.principals import Role
from chronoduck.sql.guard import Guard, Pending
from chronoduck.sql.rules.refusals import RULES
from chronoduck.sql.statements import StatementParser

DOCUMENT = (Path(__file__).parents[4] / "docs" / "security.md").read_text()
READER, WRITER, ADMIN = Role.ANALYST, Role.WRITER, Role.ADMIN


@pytest.fixture(scope="module")
def database() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as opened:
        opened.execute("CREATE TABLE t (a INTEGER, b VARCHAR)")
        opened.execute("CREATE VIEW harmless AS FROM t")
        opened.execute("CREATE VIEW settings AS FROM duckdb_settings()")
        opened.execute("CREATE MACRO chain(x) AS x + 1")
        opened.execute("CREATE MACRO reads(x) AS (SELECT content FROM read_text(x))")
        opened.execute("CREATE MACRO copies(x) AS x + x + x")
        yield opened


@pytest.fixture(scope="module")
def guard(database: duckdb.DuckDBPyConnection) -> Iterator[Guard]:
    parser = StatementParser()
    opened = Guard(parser, LiveDefinitions(database.cursor))
    yield opened
    opened.close()
    parser.close()


def nested(form: str, depth: int) -> str:
    inner = "a"
    for _ in range(depth):
        inner = form.format(inner)
    return f"SELECT {inner} FROM t"


ALIASES = "SELECT a + a AS x0" + "".join(f", x{i - 1} + x{i - 1} AS x{i}" for i in range(1, 16))


@pytest.mark.parametrize(
    ("rule", "role", "sql"),
    [
        ("role", Role.VIEWER, "SELECT 1"),
        ("statement-kind", READER, "DELETE FROM t"),
        ("statement-kind", WRITER, "VACUUM"),
        ("statement-kind", WRITER, "CHECKPOINT"),
        ("copy", ADMIN, "COPY t TO 'x.csv'"),
        ("copy", ADMIN, "EXPORT DATABASE 'x'"),
        ("one-statement", ADMIN, "SELECT 1; SELECT 2"),
        ("transaction", ADMIN, "BEGIN"),
        ("attach", ADMIN, "ATTACH ':memory:' AS x"),
        ("extension", ADMIN, "LOAD httpfs"),
        ("settings", ADMIN, "SET threads = 1"),
        ("settings", ADMIN, "SELECT current_setting('temp_directory')"),
        ("settings", ADMIN, "SELECT current_setting(b) FROM t"),
        ("settings", READER, "FROM settings"),
        ("settings", WRITER, "CREATE VIEW v AS FROM settings"),
        ("prepared", ADMIN, "PREPARE x AS SELECT 1"),
        ("checkpoint", ADMIN, "SELECT * FROM checkpoint()"),
        ("secrets", ADMIN, "CREATE SECRET x (TYPE s3)"),
        ("secrets", ADMIN, "FROM duckdb_secrets()"),
        ("files", READER, "FROM read_csv('x')"),
        ("files", READER, "FROM 'x.csv'"),
        ("files", READER, "FROM data.csv"),
        ("files", READER, 'SELECT 1 FROM t JOIN "a/b" ON true'),
        ("files", WRITER, "INSERT INTO t FROM data.csv"),
        ("files", WRITER, "UPDATE t SET b = x.b FROM t y, data.parquet x"),
        ("files", WRITER, "CREATE MACRO m(x) AS TABLE FROM read_text(x)"),
        ("files", READER, "SELECT reads('x')"),
        ("files", WRITER, "UPDATE t SET b = reads('x')"),
        ("table-function", READER, "FROM no_such_function(1)"),
        ("metadata", READER, "FROM pragma_version()"),
        ("dynamic-sql", READER, "FROM query('SELECT 1')"),
        ("dynamic-sql", READER, "FROM histogram('t', a)"),
        ("engine-log", READER, "SELECT write_log('x')"),
        ("engine-internals", READER, "SELECT finalize(a) FROM t"),
        ("sleep", READER, "SELECT sleep_ms(1)"),
        ("session-state", ADMIN, "SELECT setseed(0.1)"),
        ("sequence", READER, "SELECT nextval('s')"),
        ("unreadable", READER, "TABLE ''"),
        ("own-tables", WRITER, 'DELETE FROM "_Chronoduck".idempotency'),
        ("builtin-name", WRITER, "CREATE MACRO lower(x) AS x"),
        ("builtin-name", WRITER, "CREATE TYPE json AS VARCHAR"),
        ("builtin-name", WRITER, 'CREATE OR REPLACE TYPE main."JSON" AS INTEGER'),
        ("builtin-name", WRITER, "CREATE OR REPLACE TEMP VIEW duckdb_tables AS FROM t"),
        ("builtin-name", WRITER, "CREATE TABLE IF NOT EXISTS main.pg_class AS FROM t"),
        ("builtin-name", WRITER, "ALTER VIEW harmless RENAME TO duckdb_columns"),
        ("too-long", READER, "SELECT '" + "x" * 100_001 + "'"),
        ("too-long", WRITER, "INSERT INTO t SELECT 1, '" + "x" * 100_001 + "'"),
        ("nesting", READER, nested("(SELECT {})", 11)),
        ("nesting", READER, "SELECT " + " || ".join(["b"] * 300) + " FROM t"),
        ("expansion", READER, nested("copies({})", 10)),
        ("expansion", READER, nested("({} NOT BETWEEN 1 AND 2)", 9)),
        ("expansion", READER, f"{ALIASES} FROM t"),
        ("expansion", READER, "FROM (" + "SELECT *, * FROM (" * 12 + "FROM t" + ")" * 13),
        ("too-many-terms", READER, "FROM t WHERE " + " OR ".join(["a = 1"] * 1_001)),
        ("too-many-terms", READER, "SELECT 1 FROM " + ", ".join(f"t t{i}" for i in range(101))),
        ("literal-size", READER, "SELECT repeat('x', 100001)"),
        ("literal-size", READER, "SELECT range(1000001)"),
        ("literal-size", READER, "SELECT repeat('x', ?)"),
    ],
)
def test_a_statement_is_refused_by_its_rule(guard: Guard, rule: str, role: Role, sql: str) -> None:
    with pytest.raises(StatementRefusedError) as caught:
        guard.judge(sql, role)
    assert caught.value.rule == rule
    assert caught.value.http_status == 403


@pytest.mark.parametrize(
    ("role", "sql"),
    [
        (READER, nested("(SELECT {})", 9)),
        (READER, nested("copies({})", 4)),
        (READER, nested("nullif({}, 1)", 8)),
        (READER, nested("({} BETWEEN 1 AND 2)", 5)),
        (READER, "SELECT j -> 'a' -> 'b' -> 'c' -> 'd' FROM (SELECT '{}'::JSON AS j)"),
        (READER, "SELECT 1 FROM t WHERE a IN (" + ", ".join(map(str, range(15_000))) + ")"),
        (READER, "SELECT " + ", ".join(f"a + {i} AS c{i}" for i in range(2_000)) + " FROM t"),
        (READER, "SELECT 1 FROM t WHERE " + " OR ".join(f"a = {i}" for i in range(900))),
        (READER, "SELECT repeat('x', 100000), lpad(b, least(a, 99), ' ') FROM t"),
        (READER, "FROM range(1000000000000)"),
        (READER, "FROM harmless"),
        (READER, "SELECT chain(chain(a)) FROM t"),
        (READER, "SELECT 'enable_logging' AS a, 'duckdb_logs, read_csv(1)' AS b"),
        (WRITER, "INSERT INTO t VALUES " + ", ".join(f"({i}, 'it''s')" for i in range(40_000))),
        (WRITER, "SELECT nextval('s')"),
        (ADMIN, "CHECKPOINT"),
    ],
)
def test_what_stays_within_the_bounds_passes(guard: Guard, role: Role, sql: str) -> None:
    assert guard.judge(sql, role).text == sql


@pytest.mark.parametrize("rule", sorted(RULES))
def test_every_rule_is_documented_and_has_a_hint(rule: str) -> None:
    assert f"| `{rule}` |" in DOCUMENT
    assert RULES[rule]


def test_readers_are_kept_from_writing_by_the_engine_too(guard: Guard) -> None:
    reader, writer = guard.judge("FROM t", READER), guard.judge("FROM t", WRITER)
    assert reader.in_read_only_transaction
    assert not writer.in_read_only_transaction
    assert reader.is_read_only
    assert writer.is_read_only


def test_explain_analyze_of_a_read_is_a_read(guard: Guard) -> None:
    assert guard.judge("EXPLAIN ANALYZE FROM t", WRITER).is_read_only
    assert not guard.judge("EXPLAIN ANALYZE DELETE FROM t", WRITER).is_read_only


def test_a_template_skips_the_role_rule_and_nothing_else(guard: Guard) -> None:
    assert guard.judge("SELECT 1", Role.VIEWER, "template").in_read_only_transaction
    for sql in ("DELETE FROM t", "FROM read_text('x')", "FROM settings", "SELECT sleep_ms(1)"):
        with pytest.raises(StatementRefusedError) as caught:
            guard.judge(sql, Role.ADMIN, "template")
        assert caught.value.rule != "role"


def test_a_definition_is_judged_anew_after_it_was_changed(
    database: duckdb.DuckDBPyConnection,
) -> None:
    parser = StatementParser()
    live = LiveDefinitions(database.cursor)
    guard = Guard(parser, live)
    database.execute("CREATE OR REPLACE MACRO changing(x) AS x + 1")
    assert guard.judge("SELECT changing(1)", READER)
    made = "CREATE OR REPLACE MACRO changing(x) AS (SELECT content FROM read_text(x))"
    database.execute(made)
    live.note_statement("create", made)
    with pytest.raises(StatementRefusedError, match="macro changing"):
        guard.judge("SELECT changing(1)", READER)
    database.execute("DROP MACRO changing")
    live.note_statement("drop", "DROP MACRO changing")
    assert guard.judge("SELECT changing(1)", READER)
    guard.close()
    parser.close()


def test_a_batch_is_judged_by_what_it_defines_itself(guard: Guard) -> None:
    pending = Pending()
    guard.judge("CREATE MACRO mine(x) AS x + x", WRITER, pending=pending)
    with pytest.raises(StatementRefusedError) as caught:
        for index in range(20):
            inner = f"mine{index - 1}" if index else "mine"
            made = f"CREATE MACRO mine{index}(x) AS {inner}(x) + {inner}(x)"
            guard.judge(made, WRITER, pending=pending)
    assert caught.value.rule in ("nesting", "expansion")


@pytest.mark.parametrize("name", ["\u0130v", "\u1e9ev", "\u212av"])
def test_views_and_macros_of_any_letters_are_known(tmp_path: Path, name: str) -> None:
    """DuckDB's lower() and Python's differ."""
    connection = duckdb.connect(str(tmp_path / "letters.db"))
    connection.execute(f'CREATE VIEW "{name}" AS SELECT * FROM duckdb_settings()')
    connection.execute(f'CREATE MACRO "{name}"(a) AS current_setting(a)')
    guard = Guard(StatementParser(), LiveDefinitions(connection.cursor))
    for sql in (f'FROM "{name}"', f"SELECT \"{name}\"('temp_directory')"):
        with pytest.raises(StatementRefusedError, match="not for statements of users"):
            guard.judge(sql, READER)
    guard.close()
    connection.close()


def test_an_object_may_have_the_name_of_a_kind_of_object(guard: Guard) -> None:
    for sql in (
        'CREATE TABLE "function" AS SELECT 1 AS macro WITH DATA',
        'CREATE TABLE "type" AS SELECT * FROM t data WITH NO DATA',
        'CREATE TABLE IF NOT EXISTS "if" AS FROM t data',
        "CREATE OR REPLACE TEMP VIEW macro AS FROM t",
        "CREATE RECURSIVE VIEW type (n) AS SELECT 1 UNION ALL SELECT n + 1 FROM type WHERE n < 3",
    ):
        assert guard.judge(sql, WRITER).kind == "create"


def test_a_refusal_is_remembered_without_what_led_to_it(guard: Guard) -> None:
    for _ in range(2):
        with pytest.raises(StatementRefusedError) as caught:
            guard.judge("FROM read_json('again')", READER)
        assert caught.value.rule == "files"
        assert caught.value.__cause__ is None
