"""Hostile statements as every role, through the service: none runs, nothing happens."""

from __future__ import annotations

import os
import random
from contextlib import suppress

import pytest

from chronoduck.assembly import DuckDBService
from chronoduck.errors import DuckDBQueryError, StatementRefusedError
from chronoduck.principals import Principal, Role, WriteGrants
from chronoduck.service.records import Caller
from tests.security.corpus import filled, hostile, mutated, writes
from tests.security.roles import caller_of
from tests.security.stage import Stage

SNAPSHOT = """
SELECT (SELECT list(u ORDER BY id)::VARCHAR FROM users u),
       (SELECT list(name || coalesce(value, '') ORDER BY name)::VARCHAR FROM duckdb_settings()),
       (SELECT list(database_name ORDER BY 1)::VARCHAR FROM duckdb_databases()),
       (SELECT count(*) FROM duckdb_secrets()),
       (SELECT list(table_name ORDER BY 1)::VARCHAR FROM duckdb_tables()),
       (SELECT list(view_name ORDER BY 1)::VARCHAR FROM duckdb_views() WHERE NOT internal),
       (SELECT list(function_name ORDER BY 1)::VARCHAR FROM duckdb_functions() WHERE NOT internal),
       (SELECT last_value FROM duckdb_sequences())
"""


async def send_all(
    service: DuckDBService, stage: Stage, role: Role, corpus: list[str]
) -> list[str]:
    """Send every statement and return those that ran."""
    ran = []
    for statement in corpus:
        sql = filled(statement, stage.places)
        try:
            await service.execute_query(sql, timeout=20, caller=caller_of(role))
        except DuckDBQueryError as error:
            assert stage.words not in f"{error} {error.hint}", sql
        else:
            ran.append(sql)
    return ran


async def check_untouched(service: DuckDBService, before: list[tuple[object, ...]]) -> None:
    assert (await service.execute_query(SNAPSHOT)).data == before
    assert (await service.health_check())["status"] == "healthy"


@pytest.mark.slow
@pytest.mark.parametrize("role", list(Role))
async def test_no_role_runs_a_hostile_statement(
    service: DuckDBService, stage: Stage, role: Role
) -> None:
    corpus = hostile()
    before = (await service.execute_query(SNAPSHOT)).data
    assert len(corpus) >= 1_200
    ran = await send_all(service, stage, role, corpus)
    assert ran == []
    await check_untouched(service, before)
    stage.check()


@pytest.mark.slow
@pytest.mark.parametrize("role", [Role.VIEWER, Role.ANALYST])
async def test_no_reader_changes_anything(service: DuckDBService, stage: Stage, role: Role) -> None:
    before = (await service.execute_query(SNAPSHOT)).data
    corpus = writes() + list(mutated(writes(), 3, seed=2))
    may_not = await send_all(service, stage, role, corpus)
    # Some mutations only look at a write: EXPLAIN of what nobody runs is refused as well.
    assert may_not == []
    await check_untouched(service, before)


async def test_no_narrowed_writer_changes_what_others_have(
    service: DuckDBService, stage: Stage
) -> None:
    before = (await service.execute_query(SNAPSHOT)).data
    corpus = writes() + list(mutated(writes(), 3, seed=5))
    share = float(os.environ.get("CHRONODUCK_HOSTILE_SHARE", "0.1"))
    some = random.Random(7).sample(corpus, round(len(corpus) * share))
    principal = Principal("narrowed", Role.WRITER, "key:narrowed", writes=WriteGrants(("anna",)))
    caller = Caller("narrowed", "request-1", principal)
    for statement in some:
        with suppress(DuckDBQueryError):
            await service.execute_query(filled(statement, stage.places), timeout=20, caller=caller)
    await check_untouched(service, before)


@pytest.mark.slow
@pytest.mark.parametrize("role", [Role.ANALYST, Role.WRITER, Role.ADMIN])
async def test_no_role_runs_a_hostile_statement_in_another_spelling(
    service: DuckDBService, stage: Stage, role: Role
) -> None:
    corpus = list(mutated(hostile(), 3, seed=1))
    before = (await service.execute_query(SNAPSHOT)).data
    assert len(corpus) >= 3_600
    ran = await send_all(service, stage, role, corpus)
    assert ran == []
    await check_untouched(service, before)
    stage.check()


async def test_a_refusal_names_its_rule_and_what_to_do(service: DuckDBService) -> None:
    with pytest.raises(StatementRefusedError) as caught:
        await service.execute_query("SELECT * FROM read_csv('x')", caller=caller_of(Role.ANALYST))
    assert caught.value.rule == "files"
    assert "chronoduck load" in caught.value.hint
