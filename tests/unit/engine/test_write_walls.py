"""A writer's statement changes what was granted and nothing else: judged and run, without a service."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import duckdb
import pytest

from chronoduck.engine.live_definitions import LiveDefinitions
from chronoduck.engine.write_walls import walled, within_wall
from chronoduck.errors import DuckDBQueryError, StatementRefusedError
from chronoduck.principals import Principal, Role, WriteGrants
from chronoduck.sql.guard import Guard
from chronoduck.sql.statements import StatementParser
from chronoduck.transfer.schema import SCHEMA_STATEMENTS
from tests.write_corpus import ALLOWED, OF_THE_PRODUCT, REFUSED, SETUP, STATE

GRANTS = WriteGrants(("anna",), (("main", "notes"),))


class Stage:
    """The database, and writers who send statements to it."""

    def __init__(self, database: duckdb.DuckDBPyConnection, guard: Guard) -> None:
        self.database = database
        self._guard = guard

    def send(self, sql: str, grants: WriteGrants | None = GRANTS) -> None:
        """Run the statement as a writer with these grants does, and undo it."""
        principal = Principal("anna", Role.WRITER, "key:anna", writes=grants)
        statement = walled(self._guard.judge(sql, Role.WRITER), principal)
        connection = self.database.cursor()
        connection.execute("BEGIN")
        try:
            with within_wall(cast(Any, connection), statement.write_wall):
                connection.execute(sql)
        finally:
            connection.execute("ROLLBACK")
            connection.close()

    def state(self) -> list[list[str]]:
        """Return all that is not granted."""
        return [sorted(map(repr, self.database.execute(sql).fetchall())) for sql in STATE]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with duckdb.connect(str(tmp_path_factory.mktemp("walls") / "test.db")) as database:
        for statement in (*SETUP.split(";\n"), *SCHEMA_STATEMENTS):
            database.execute(statement)
        parser = StatementParser()
        guard = Guard(parser, LiveDefinitions(database.cursor))
        yield Stage(database, guard)
        guard.close()
        parser.close()


def test_what_is_granted_is_written(stage: Stage) -> None:
    for sql in ALLOWED:
        stage.send(sql)


def test_nothing_else_is_written(stage: Stage) -> None:
    before = stage.state()
    unknown = []
    for sql in REFUSED:
        try:
            stage.send(sql)
        except StatementRefusedError:
            continue
        except (DuckDBQueryError, duckdb.Error):
            unknown.append(sql)  # this version of DuckDB has no such statement
        else:
            pytest.fail(f"{sql} was run")
    assert len(unknown) < 12, unknown
    assert stage.state() == before  # what no ROLLBACK undoes: sequences


@pytest.mark.parametrize("grants", [None, WriteGrants(("main", "anna"))], ids=["all", "main"])
def test_only_admins_change_the_products_tables(stage: Stage, grants: WriteGrants | None) -> None:
    for sql in OF_THE_PRODUCT:
        with pytest.raises((DuckDBQueryError, duckdb.Error)) as caught:
            stage.send(sql, grants)
        if isinstance(caught.value, StatementRefusedError):
            assert caught.value.rule in (
                "product-tables",
                "write-scope",
                "one-statement",
                "unreadable",
            )
    for sql in (
        "INSERT INTO mine SELECT count(*), max(url) FROM pages",
        "DROP TABLE mine",
        "CREATE TABLE anna.pages_analytics (a INTEGER)",
        "CREATE INDEX i ON mine (a)",
    ):
        stage.send(sql, grants)


def test_a_schema_that_is_called_like_the_database_is_no_way_to_main(stage: Stage) -> None:
    grants = WriteGrants(("test",))
    for sql in (
        "INSERT INTO test.secret VALUES (2, 'x')",
        "DROP TABLE test.secret",
        "DROP SCHEMA test",
        "CREATE SCHEMA test",
        "CREATE TABLE test.fresh (a INTEGER)",
    ):
        with pytest.raises((StatementRefusedError, duckdb.Error)):
            stage.send(sql, grants)


def test_the_products_tables_are_not_reached_through_a_schema_like_the_database(
    stage: Stage,
) -> None:
    writes = [
        "DELETE FROM test.main.user_metrics",
        "INSERT INTO test.main.pages_analytics (url) VALUES ('x')",
        "UPDATE test.main.pages_analytics SET url = 'x'",
        "TRUNCATE test.main.pages_analytics",
        "MERGE INTO test.main.pages_analytics USING mine ON true WHEN MATCHED THEN DELETE",
    ]
    if duckdb.__version__ >= "2":  # 1.5 has no CTE that writes
        writes.append(
            "WITH d AS (DELETE FROM test.main.pages_analytics RETURNING *) SELECT count(*) FROM d"
        )
    stage.database.execute("CREATE SCHEMA test")  # as any writer may
    try:
        for sql in writes:
            with pytest.raises(StatementRefusedError) as caught:
                stage.send(sql, None)
            assert caught.value.rule == "product-tables", sql
        stage.send("INSERT INTO test.main.mine SELECT * FROM test.main.mine", None)
    finally:
        stage.database.execute("DROP SCHEMA test")


@pytest.mark.skipif(
    duckdb.__version__.startswith("1."), reason="1.5 writes a type out, and no table goes with it"
)
def test_what_goes_with_an_object_counts(stage: Stage) -> None:
    for sql in ("DROP TYPE anna.mood CASCADE", "DROP SCHEMA anna CASCADE"):
        with pytest.raises(StatementRefusedError, match=r"also changes bob\.moods"):
            stage.send(sql)


def test_letters_that_only_python_folds_are_others(stage: Stage) -> None:
    grants = WriteGrants((), (("main", "k"),))
    stage.database.execute('CREATE TABLE IF NOT EXISTS "\u212a" (a INTEGER)')  # the sign of Kelvin
    with pytest.raises(StatementRefusedError):
        stage.send('INSERT INTO "\u212a" VALUES (1)', grants)


@pytest.mark.parametrize("name", ["test", "source", "subject", "TEMP", "memory", "system"])
@pytest.mark.parametrize("grants", [None, WriteGrants(("test", "source", "temp"), ())])
def test_no_writer_makes_a_schema_that_is_called_like_a_database(
    stage: Stage, name: str, grants: WriteGrants | None
) -> None:
    """Names of two parts would be ambiguous, for others' statements and for the compaction."""
    for sql in (f"CREATE SCHEMA {name}", f'CREATE SCHEMA IF NOT EXISTS test."{name}"'):
        with pytest.raises((StatementRefusedError, DuckDBQueryError)):
            stage.send(sql, grants)
