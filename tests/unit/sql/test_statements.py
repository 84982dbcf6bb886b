"""What a text is, by DuckDB's own parser."""

from collections.abc import Iterator

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chronoduck.errors import DuckDBException, DuckDBQueryError, StatementRefusedError
from chronoduck.sql.engine_errors import translate
from chronoduck.sql.statements import MAX_STATEMENT_BYTES, StatementParser, query_hash


@pytest.fixture(scope="module")
def parser() -> Iterator[StatementParser]:
    opened = StatementParser()
    yield opened
    opened.close()


@pytest.mark.parametrize(
    ("sql", "kind", "read_only", "leaves_state"),
    [
        ("SELECT 1", "select", True, False),
        ("FROM t", "select", True, False),
        ("WITH a AS (SELECT 1) SELECT * FROM a", "select", True, False),
        ("DESCRIBE t", "select", True, False),
        ("EXPLAIN SELECT 1", "explain", True, False),
        ("EXPLAIN ANALYZE DELETE FROM t", "explain", False, True),
        ("INSERT INTO t VALUES (1)", "insert", False, False),
        ("UPDATE t SET a = 1", "update", False, False),
        ("DELETE FROM t", "delete", False, False),
        ("CREATE TEMP TABLE t (a INT)", "create", False, True),
        ("SET VARIABLE a = 1", "set", False, True),
        ("SELECT setseed(0.5)", "select", True, True),
        ("PIVOT t ON a USING sum(b)", "select", True, True),
        ("PIVOT t ON a IN (1, 2) USING sum(b)", "select", True, False),
        ("SELECT 1;", "select", True, False),
        ("SELECT delete, copy AS insert FROM t", "select", True, False),
        ("WITH a AS (SELECT copy AS update FROM t) FROM a", "select", True, False),
        ("WITH a AS (SELECT 'delete') SELECT * FROM a -- insert", "select", True, False),
    ],
)
def test_kinds(
    parser: StatementParser, sql: str, kind: str, read_only: bool, leaves_state: bool
) -> None:
    statement = parser.parse(sql)
    assert statement.kind == kind
    assert statement.is_read_only is read_only
    assert statement.leaves_state is leaves_state


def test_parameters_are_listed(parser: StatementParser) -> None:
    assert parser.parse("SELECT $b, $a, $a").parameter_names == {"a", "b"}
    assert parser.parse("SELECT ?, ?").parameter_names == {"1", "2"}


def test_two_statements_are_refused(parser: StatementParser) -> None:
    with pytest.raises(StatementRefusedError, match="2 statements"):
        parser.parse("SELECT 1; DROP TABLE t")


@pytest.mark.parametrize("sql", ["", "   ", ";", "-- nothing", "/* nothing */"])
def test_no_statement_is_refused(parser: StatementParser, sql: str) -> None:
    with pytest.raises(DuckDBQueryError, match="no statement"):
        parser.parse(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "BEGIN",
        "COMMIT",
        "ROLLBACK",
        "ATTACH ':memory:' AS m",
        "DETACH m",
        "LOAD httpfs",
        "RESET custom_profiling_settings",
        "SET Enable_Profiling = 'json'",
        "PRAGMA disable_profiling",
        'SET "enable_progress_bar" = true',
    ],
)
def test_statements_that_reach_beyond_themselves_are_refused(
    parser: StatementParser, sql: str
) -> None:
    with pytest.raises(StatementRefusedError) as caught:
        parser.parse(sql)
    assert caught.value.hint


def test_a_syntax_error_has_line_and_column(parser: StatementParser) -> None:
    with pytest.raises(DuckDBQueryError) as caught:
        parser.parse("SELECT 1,\n  2 FROMM t WHERE é = 'ü' a b")
    assert caught.value.line == 2
    assert caught.value.category == "parser"


def test_columns_count_characters_not_bytes(parser: StatementParser) -> None:
    with pytest.raises(DuckDBQueryError) as caught:
        parser.parse("SELECT 'ééé' selec selec")
    assert caught.value.column == 20


def test_the_binders_positions_count_characters_too() -> None:
    with pytest.raises(duckdb.Error) as caught:
        duckdb.connect(config={"errors_as_json": "true"}).execute("SELECT 'ééé',\n  foo")
    error = translate(caught.value, "SELECT 'ééé',\n  foo")
    assert isinstance(error, DuckDBQueryError)
    assert (error.line, error.column) == (2, 3)


def test_importing_a_database_reads_no_file_while_it_is_parsed(parser: StatementParser) -> None:
    with pytest.raises(StatementRefusedError):
        parser.parse("IMPORT DATABASE '/etc'")


def test_a_huge_text_is_refused_before_it_is_parsed(parser: StatementParser) -> None:
    with pytest.raises(DuckDBQueryError, match="bytes"):
        parser.parse("SELECT '" + "x" * MAX_STATEMENT_BYTES + "'")


def test_the_hash_ignores_outer_space_and_semicolons() -> None:
    assert query_hash("SELECT 1") == query_hash("  SELECT 1 ;\n")
    assert query_hash("SELECT 1") != query_hash("SELECT 2")


@given(st.text(max_size=60) | st.text(alphabet="selct 1;'\"$?-/*(),\n\x00", max_size=60))
def test_any_text_is_a_statement_or_one_of_our_errors(text: str) -> None:
    parser = _shared_parser()
    try:
        parser.parse(text)
    except DuckDBException as error:
        assert error.http_status < 500


_PARSERS: list[StatementParser] = []


def _shared_parser() -> StatementParser:
    if not _PARSERS:
        _PARSERS.append(StatementParser())
    return _PARSERS[0]


@pytest.mark.parametrize("default", ["now()", "1 + 1"])
@pytest.mark.parametrize("name", ["c", '"a;b"'])
def test_a_column_with_a_computed_default_is_refused_with_the_way_around_it(
    parser: StatementParser, name: str, default: str
) -> None:
    """DuckDB makes a transaction of it, which 2.0 names like a PIVOT: it is no read."""
    with pytest.raises(StatementRefusedError) as caught:
        parser.parse(f"/* x */ -- y\nalter table t ADD COLUMN {name} DATE DEFAULT ({default})")
    assert caught.value.rule == "one-statement"
    assert "SET DEFAULT" in caught.value.hint
    assert parser.parse(f"ALTER TABLE t ADD COLUMN {name} INTEGER DEFAULT 7").is_alter


@pytest.mark.skipif(duckdb.__version__ < "2", reason="DuckDB 1.5 does not parse CTEs that write")
@pytest.mark.parametrize(
    "sql",
    [
        "WITH d AS (DELETE FROM t RETURNING *) SELECT * FROM d",
        "WITH d AS (DELETE/**/FROM t) SELECT 1",
        "WITH d AS (/* ' */ DELETE -- )\n FROM t) SELECT 1",
        "WITH d AS (TRUNCATE t) SELECT 1",
        "WITH d AS (INSERT OR REPLACE INTO t VALUES (1) RETURNING a) FROM d",
        "WITH d AS (UPDATE t SET a = 1) SELECT 1",
        "WITH d AS (WITH e AS (SELECT 1) DELETE FROM t RETURNING *) FROM d",
        "WITH d AS MATERIALIZED (DELETE FROM t RETURNING *) FROM d",
        "WITH a AS (SELECT 1), d AS (DELETE FROM t RETURNING *) FROM a, d",
        "WITH d AS (COPY t TO '/x.csv') SELECT 1",
        "WITH d AS (DELETE FROM t RETURNING *) PIVOT d ON a USING count(*)",
        "EXPLAIN ANALYZE WITH d AS (TRUNCATE t) SELECT 1",
    ],
)
def test_a_cte_that_writes_makes_its_statement_a_write(parser: StatementParser, sql: str) -> None:
    statement = parser.parse(sql)
    assert statement.kind in ("select", "explain")
    assert not statement.is_read_only
    assert statement.leaves_state


@pytest.mark.parametrize(
    "sql",
    [
        "PRAGMA add_parquet_key('a', 'MDEyMzQ1Njc4OTAxMjM0NQ==')",
        "PRAGMA enable_verification",
        "/* a */ PRAGMA -- b\n disable_optimizer",
        "PRAGMA memory_of_tomorrow",
        "PRAGMA max_execution_time = 1",
        "PRAGMA operator_memory_limit = '1MB'",
    ],
)
def test_pragmas_that_change_something_are_run_for_nobody(
    parser: StatementParser, sql: str
) -> None:
    with pytest.raises(DuckDBQueryError):
        parser.parse(sql)


@pytest.mark.parametrize("sql", ["PRAGMA table_info('t')", "PRAGMA version", "PRAGMA show_tables"])
def test_pragmas_that_read_are_there_for_code_in_this_process(
    parser: StatementParser, sql: str
) -> None:
    parser.parse(sql)
