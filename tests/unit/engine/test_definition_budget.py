"""What one user defines is read by everybody: the length of all definitions is bounded."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from chronoduck.assembly import DuckDBService
from chronoduck.engine.cancellation import CancelToken
from chronoduck.engine.commits import Commits
from chronoduck.engine.definition_budget import MAX_DEFINITIONS
from chronoduck.engine.execution import transaction
from chronoduck.errors import StatementRefusedError
from chronoduck.principals import Role
from chronoduck.settings import Settings
from tests.security.roles import caller_of

LONG_ENUM = "CREATE TYPE {} AS ENUM (SELECT repeat('x', 10000) || i FROM range({}) t(i))"
TOO_MANY = MAX_DEFINITIONS // 80_000 + 1


def change(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    commits = Commits()
    with transaction(connection, CancelToken(60), commits):
        commits.changes_catalog = True
        connection.execute(sql)


@pytest.mark.parametrize(
    "sql",
    [
        LONG_ENUM.format("many", TOO_MANY),
        "CREATE TABLE wide AS SELECT " + ", ".join(f"c AS c{i}" for i in range(1_000)) + " FROM t",
        "CREATE VIEW many AS SELECT '" + "x" * MAX_DEFINITIONS + "' AS a",
        "CREATE MACRO many() AS '" + "x" * MAX_DEFINITIONS + "'",
        "COMMENT ON COLUMN t.c IS '" + "x" * MAX_DEFINITIONS + "'",
        "ALTER TABLE t ALTER a SET DEFAULT '" + "x" * MAX_DEFINITIONS + "'",
    ],
    ids=lambda sql: str(sql)[:20],
)
def test_no_change_makes_the_catalog_too_long(sql: str) -> None:
    with duckdb.connect() as connection:
        connection.execute(LONG_ENUM.format("few", 1))
        connection.execute("CREATE TABLE t (a VARCHAR, c few)")
        with pytest.raises(StatementRefusedError) as caught:
            change(connection, sql)
        assert caught.value.rule == "definitions"
        change(connection, "CREATE TABLE another (a INTEGER)")


def test_a_catalog_that_is_too_long_already_may_only_become_shorter() -> None:
    with duckdb.connect() as connection:
        connection.execute(LONG_ENUM.format("many", TOO_MANY))
        connection.execute("CREATE TABLE t (a VARCHAR)")
        change(connection, "DROP TABLE t")
        with pytest.raises(StatementRefusedError):
            change(connection, "CREATE TABLE t (a VARCHAR)")
        change(connection, "DROP TYPE many")
        change(connection, "CREATE TABLE t (a VARCHAR)")


async def test_a_writer_is_told_the_rule_and_nothing_is_kept(
    tmp_path: Path, make_settings: Callable[..., Settings]
) -> None:
    async with DuckDBService(make_settings(database_path=tmp_path / "test.db")) as service:
        with pytest.raises(StatementRefusedError) as caught:
            await service.execute_query(
                LONG_ENUM.format("many", TOO_MANY), caller=caller_of(Role.WRITER)
            )
        assert caught.value.rule == "definitions"
        listed = "SELECT count(*) FROM duckdb_types() WHERE type_name = 'many'"
        assert (await service.execute_query(listed)).data == [(0,)]


async def test_an_upload_makes_no_table_that_is_too_wide(
    tmp_path: Path, make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chronoduck.engine.definition_budget.MAX_DEFINITIONS", 10_000)
    names = ",".join(f"column_{i}_{'x' * 90}" for i in range(200))
    file = io.BytesIO(f"{names}\n{','.join('1' * 200)}\n".encode())
    async with DuckDBService(make_settings(database_path=tmp_path / "test.db")) as service:
        loader = (await service.parts()).loader
        with pytest.raises(StatementRefusedError):
            [event async for event in loader.load(file, name="wide.csv", table="wide")]
        listed = "SELECT count(*) FROM duckdb_tables() WHERE table_name = 'wide'"
        assert (await service.execute_query(listed)).data == [(0,)]
