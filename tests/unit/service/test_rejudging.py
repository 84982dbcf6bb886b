"""A statement that waited runs with the definitions it was judged by, or is judged again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from chronoduck.assembly import DuckDBService
from chronoduck.errors import DuckDBException, StatementRefusedError
from chronoduck.principals import Role
from chronoduck.service.opened_result import open_result
from chronoduck.service.records import Caller
from chronoduck.settings import Settings
from tests.security.roles import caller_of

HARMLESS = "CREATE OR REPLACE VIEW seen AS SELECT 1 AS a"
HOSTILE = "CREATE OR REPLACE VIEW seen AS SELECT name AS a FROM duckdb_settings()"


@pytest.fixture
async def service(make_settings: Callable[..., Settings]) -> AsyncIterator[DuckDBService]:
    async with DuckDBService(make_settings()) as opened:
        await opened.execute_query(HARMLESS)
        yield opened


async def run_late(
    service: DuckDBService, caller: Caller, sql: str, meanwhile: str, *, commits: bool = True
) -> list[tuple[object, ...]]:
    """Judge a statement, have others change something, and run it then."""
    runner = (await service.parts()).runner
    statement = await runner.parse(sql, caller)
    if commits:
        await service.execute_query(meanwhile)
    else:
        other = (await service.parts()).instance.cursor()
        await asyncio.to_thread(other.execute, meanwhile)
        other.close()
    async with runner.session(statement, caller) as session:
        rows, _ = await session.run(
            lambda connection: open_result(
                connection, statement, None, session, as_rows=True
            ).fetch("all")
        )
    return list(rows)


@pytest.mark.parametrize("role", [Role.ANALYST, Role.ADMIN])
@pytest.mark.parametrize("sql", ["SELECT a FROM seen", "EXPLAIN ANALYZE SELECT a FROM seen"])
async def test_a_view_that_turned_hostile_is_seen(
    service: DuckDBService, role: Role, sql: str
) -> None:
    caller = caller_of(role)
    with pytest.raises(StatementRefusedError):
        await run_late(service, caller, sql, HOSTILE)
    # And so it is for whoever comes next.
    with pytest.raises(StatementRefusedError):
        await service.execute_query(sql, caller=caller)


async def test_a_view_that_is_another_one_is_judged_again_and_read(service: DuckDBService) -> None:
    rows = await run_late(
        service,
        caller_of(Role.ANALYST),
        "SELECT a FROM seen",
        "CREATE OR REPLACE VIEW seen AS SELECT 2 AS a",
    )
    assert rows == [(2,)]


async def test_a_table_costs_nobody_a_judgement(service: DuckDBService) -> None:
    parts = await service.parts()
    await service.execute_query("SELECT a FROM seen", caller=caller_of(Role.ANALYST))
    before = parts.runner.analysis.pool.total_questions
    rows = await run_late(
        service, caller_of(Role.ANALYST), "SELECT a FROM seen", "CREATE TABLE more (a INTEGER)"
    )
    assert rows == [(1,)]
    assert parts.runner.analysis.pool.total_questions == before


async def test_a_macro_changed_between_two_statements_of_a_transaction(
    service: DuckDBService,
) -> None:
    await service.execute_query("CREATE MACRO m(x) AS x + 1")
    caller = caller_of(Role.ANALYST)
    async with service.transaction(caller=caller) as transaction:
        assert (await transaction.execute("SELECT 1")).data == [(1,)]
        await service.execute_query(
            "CREATE OR REPLACE MACRO m(x) AS (SELECT content FROM read_text(x::VARCHAR))"
        )
        try:
            rows = (await transaction.execute("SELECT m(1)")).data
        except DuckDBException:
            rows = [(2,)]
    assert rows == [(2,)]  # its snapshot, or a refusal: never the new one unseen
