"""What was meant by a wrong name: said once, and never a view of DuckDB's own."""

from __future__ import annotations

import duckdb
import pytest

from chronoduck.errors import DuckDBQueryError
from chronoduck.sql.engine_errors import translate
from chronoduck.table_names import sql_name


@pytest.fixture
def database() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute("SET errors_as_json = true")
    connection.execute("CREATE TABLE pages (alpha INTEGER, beta INTEGER)")
    return connection


@pytest.mark.parametrize(
    ("sql", "detail", "hint"),
    [
        ("FROM pagse", "Table with name pagse does not exist!", "Did you mean: pages?"),
        (
            "FROM pg_view",
            "Table with name pg_view does not exist!",
            "SHOW TABLES lists the tables.",
        ),
        ("FROM xyz", "Table with name xyz does not exist!", "SHOW TABLES lists the tables."),
        (
            "SELECT alpa FROM pages",
            'Referenced column "alpa" not found in FROM clause!',
            "Did you mean: alpha, beta?",
        ),
        (
            "SELECT lengt('a')",
            "Scalar Function with name lengt does not exist!",
            "Did you mean: length?",
        ),
    ],
)
def test_a_wrong_name(
    database: duckdb.DuckDBPyConnection, sql: str, detail: str, hint: str
) -> None:
    with pytest.raises(duckdb.Error) as caught:
        database.execute(sql)
    told = translate(caught.value, sql)
    assert isinstance(told, DuckDBQueryError)
    assert (told.detail, told.hint) == (detail, hint)


NAMES = ("sales.2024", "a,b", 'x"y', "UpperTab", "select", "two words", "plain")


def of(database: duckdb.DuckDBPyConnection, sql: str) -> str:
    with pytest.raises(duckdb.Error) as caught:
        database.execute(sql)
    return translate(caught.value, sql).hint


@pytest.mark.parametrize("schema", ["main", "my schema", "s.t", "sales"])
@pytest.mark.parametrize("name", NAMES)
def test_a_suggested_table_can_be_pasted(
    database: duckdb.DuckDBPyConnection, schema: str, name: str
) -> None:
    quoted = '"' + name.replace('"', '""') + '"'
    database.execute(f'CREATE SCHEMA IF NOT EXISTS "{schema}"')
    database.execute(f'CREATE TABLE "{schema}".{quoted} (i INTEGER)')
    meant = of(database, f'FROM {quoted[:-1]}z"')
    assert meant.startswith("Did you mean: ")
    assert database.execute(f"FROM {meant[14:-1]}").fetchall() == []


@pytest.mark.parametrize("name", NAMES)
def test_a_suggested_column_can_be_pasted(database: duckdb.DuckDBPyConnection, name: str) -> None:
    if name == "a,b" and duckdb.__version__ < "2":
        name = "a-b"  # DuckDB 1.5 takes it for two names
    quoted = '"' + name.replace('"', '""') + '"'
    database.execute(f'CREATE TABLE "t 1" AS SELECT 1 AS {quoted}')
    database.execute(f"CREATE TABLE u AS SELECT 1 AS {quoted}")
    for relation in ('"t 1"', '"t 1", u'):
        meant = of(database, f'SELECT {quoted[:-1]}z" FROM {relation}')[14:-1]
        first = meant.partition(", ")[0]
        assert database.execute(f"SELECT {first} FROM {relation}").fetchall() == [(1,)]


def test_words_that_are_no_bare_names_are_known(database: duckdb.DuckDBPyConnection) -> None:
    words = database.execute("SELECT DISTINCT keyword_name FROM duckdb_keywords()").fetchall()
    for (word,) in words:
        database.execute(f"CREATE OR REPLACE TABLE k AS SELECT 1 AS {sql_name(word)}")
        assert database.execute(f"SELECT {sql_name(word)} FROM k").fetchall() == [(1,)]


@pytest.mark.parametrize(
    "sql", ["SELECT MAP {1: 2, 1: 3}", "SELECT map([1, NULL], [1, 2])", "SELECT MAP {NULL: 1}"]
)
def test_what_to_do_about_keys_of_a_map(database: duckdb.DuckDBPyConnection, sql: str) -> None:
    assert "list of pairs" in of(database, sql)


def test_of_settings_only_the_near_ones_are_named(database: duckdb.DuckDBPyConnection) -> None:
    assert of(database, "SET memry_limit = '1GB'").startswith("Did you mean: memory_limit")


def test_a_users_own_words_are_left_as_they_are(database: duckdb.DuckDBPyConnection) -> None:
    words = 'x\nDid you mean "pages"?\nCandidate bindings: y'
    with pytest.raises(duckdb.Error) as caught:
        database.execute("SELECT error(?)", [words])
    assert translate(caught.value, None).detail == words
