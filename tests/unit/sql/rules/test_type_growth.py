"""Types that double with each statement: twenty of them were 60 MB of catalog."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pytest

from chronoduck.engine.live_definitions import LiveDefinitions
from chronoduck.errors import StatementRefusedError
from chronoduck.principals import Role
from chronoduck.sql.guard import Guard
from chronoduck.sql.statements import StatementParser

CHAINS = {
    "types": ("CREATE TYPE a0 AS STRUCT(x INTEGER)", "CREATE TYPE a{0} AS STRUCT(x a{1}, y a{1})"),
    "tables": (
        "CREATE TABLE a0 AS SELECT {'x': 1} AS v",
        "CREATE TABLE a{0} AS SELECT {{'x': v, 'y': v, 'z': v, 'w': v}} AS v FROM a{1}",
    ),
}


class Database:
    """A database whose statements are judged before they run."""

    def __init__(self) -> None:
        self._connection = duckdb.connect()
        self._live = LiveDefinitions(self._connection.cursor)
        self._parser = StatementParser()
        self._guard = Guard(self._parser, self._live)

    def run(self, sql: str) -> None:
        self._guard.judge(sql, Role.WRITER)
        self._connection.execute(sql)
        self._live.note_statement("create", sql)

    def close(self) -> None:
        self._guard.close()
        self._parser.close()
        self._connection.close()


@pytest.fixture
def database() -> Iterator[Database]:
    opened = Database()
    yield opened
    opened.close()


@pytest.mark.parametrize("kind", CHAINS)
def test_types_stop_growing(database: Database, kind: str) -> None:
    first, next_one = CHAINS[kind]
    database.run(first)
    with pytest.raises(StatementRefusedError) as caught:
        for step in range(1, 20):
            database.run(next_one.format(step, step - 1))
    assert caught.value.rule == "expansion"


def test_types_of_everyday_are_made(database: Database) -> None:
    fields = ", ".join(f"f{i} VARCHAR" for i in range(100))
    database.run(f"CREATE TYPE address AS STRUCT({fields})")
    database.run("CREATE TABLE people (id INTEGER, home address, work address, others address[])")
    database.run(
        "CREATE TABLE copied AS SELECT id, {'home': home, 'work': work} AS places FROM people"
    )
    database.run("CREATE VIEW homes AS SELECT home.f1 FROM people")
    database.run("CREATE TABLE wide (" + ", ".join(f"c{i} VARCHAR" for i in range(2_000)) + ")")
    database.run("CREATE TABLE wide_copy AS FROM wide")
