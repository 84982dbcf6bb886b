"""The service's own schema: no statement of a user reads or changes it, however it is spelled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chronoduck.assembly import DuckDBService
from chronoduck.engine.analyzers.analysis import Analysis, Verdict
from chronoduck.errors import DuckDBException
from chronoduck.own_schema import OWN_SCHEMA
from chronoduck.principals import Role
from chronoduck.settings import Settings
from chronoduck.sql.guard import Guard
from chronoduck.sql.statements import StatementParser
from tests.security.own_schema import statements
from tests.security.roles import caller_of

SECRET = "kept by the service"
SETUP = f"""
CREATE SCHEMA {OWN_SCHEMA};
CREATE TABLE {OWN_SCHEMA}.k (a INTEGER, b VARCHAR);
INSERT INTO {OWN_SCHEMA}.k VALUES (1, '{SECRET}');
CREATE INDEX own_i ON {OWN_SCHEMA}.k (a);
CREATE VIEW {OWN_SCHEMA}.v AS SELECT '{SECRET}' AS x;
CREATE TYPE {OWN_SCHEMA}.ty AS ENUM ('a');
CREATE SEQUENCE {OWN_SCHEMA}.sq;
CREATE TABLE t (a INTEGER, b VARCHAR);
CREATE TABLE s (a INTEGER, b VARCHAR);
INSERT INTO s VALUES (1, 'y');
"""
WHERE = f"WHERE lower(schema_name) = '{OWN_SCHEMA}'"
STATE = f"""
SELECT (SELECT list((schema_name, comment)) FROM duckdb_schemas() {WHERE}),
       (SELECT list((table_name, sql, comment)) FROM duckdb_tables() {WHERE}),
       (SELECT list((column_name, comment) ORDER BY column_name) FROM duckdb_columns() {WHERE}),
       (SELECT list((index_name, comment)) FROM duckdb_indexes() {WHERE}),
       (SELECT list((view_name, sql, comment)) FROM duckdb_views() {WHERE}),
       (SELECT list((type_name, comment)) FROM duckdb_types() {WHERE}),
       (SELECT list((sequence_name, last_value, comment)) FROM duckdb_sequences() {WHERE}),
       (SELECT list((a, b)) FROM {OWN_SCHEMA}.k),
       (SELECT list(b) FROM t)
"""


async def set_up(service: DuckDBService) -> Any:
    for statement in filter(str.strip, SETUP.split(";")):
        await service.execute_query(statement)
    return (await service.execute_query(STATE)).data


async def test_no_spelling_reaches_it(
    tmp_path: Path, make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("in.csv").write_text("5,z\n")
    async with DuckDBService(make_settings(database_path=tmp_path / "own.db")) as service:
        before = await set_up(service)
        guard = Guard(StatementParser())
        for role in (Role.ADMIN, Role.ANALYST):
            for sql in statements("own"):
                try:
                    guard.judge(sql, role)  # the same, without a process in between
                    result = await service.execute_query(sql, caller=caller_of(role))
                except DuckDBException:
                    continue
                assert SECRET not in str(result.data), sql
                assert OWN_SCHEMA not in str(result.data).lower() or "EXPLAIN" in sql, sql
            assert (await service.execute_query(STATE)).data == before


async def test_the_engine_itself_says_what_a_statement_changed(
    tmp_path: Path, make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Had the guard read a name wrongly, the change would be seen before it is committed."""
    monkeypatch.setattr(Analysis, "judge", _judged_blindly)
    async with DuckDBService(make_settings(database_path=tmp_path / "own.db")) as service:
        before = await set_up(service)
        for sql in (
            f"DROP SCHEMA {OWN_SCHEMA} CASCADE",
            f"DROP INDEX {OWN_SCHEMA}.own_i",
            f"CREATE TABLE {OWN_SCHEMA}.more (i INTEGER)",
            f"CREATE OR REPLACE TABLE {OWN_SCHEMA}.k AS FROM t",
            f"CREATE SEQUENCE {OWN_SCHEMA}.more",
            f"CREATE TYPE {OWN_SCHEMA}.more AS ENUM ('b')",
            f"CREATE VIEW {OWN_SCHEMA}.more AS FROM t",
            f"COMMENT ON TABLE {OWN_SCHEMA}.k IS 'x'",
            f"COMMENT ON COLUMN {OWN_SCHEMA}.k.a IS 'x'",
            f"ALTER VIEW {OWN_SCHEMA}.v RENAME TO w",
        ):
            with pytest.raises(DuckDBException) as caught:
                await service.execute_query(sql, caller=caller_of(Role.ADMIN))
            assert getattr(caught.value, "rule", None) == "own-tables", sql
            with pytest.raises(DuckDBException):
                await service.execute_batch(["SELECT 1", sql], caller=caller_of(Role.ADMIN))
        assert (await service.execute_query(STATE)).data == before
        made = await service.execute_query(
            "CREATE TABLE harmless (i INTEGER)", caller=caller_of(Role.ADMIN)
        )
        assert made.row_count == 0


async def _judged_blindly(analysis: Analysis, sql: str, *_: object) -> Verdict:
    statement = StatementParser().parse(sql)
    return Verdict(replace(statement, keeps_own_schema=statement.changes_catalog), None)
