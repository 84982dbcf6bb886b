"""What was meant by a wrong name: said once, and never a view of DuckDB's own."""

from __future__ import annotations

import duckdb
import pytest

from chronoduck.errors import DuckDBQueryError
from chronoduck.sql.engine_errors import translate


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


def test_a_users_own_words_are_left_as_they_are(database: duckdb.DuckDBPyConnection) -> None:
    words = 'x\nDid you mean "pages"?\nCandidate bindings: y'
    with pytest.raises(duckdb.Error) as caught:
        database.execute("SELECT error(?)", [words])
    assert translate(caught.value, None).detail == words
