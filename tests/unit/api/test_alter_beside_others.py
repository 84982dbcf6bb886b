"""An ALTER of one user beside the writes of another: neither waits for the other without bound."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import httpx2
import pytest

from chronoduck.assembly import DuckDBService
from chronoduck.principals import Role
from chronoduck.settings import DeadlineSettings, Settings

LogIn = Callable[..., httpx2.AsyncClient]
LONG = "INSERT INTO a SELECT i FROM range(100000) r(i), range(1000000) s(j) WHERE sqrt(i * j) < 0"
SLOW = f"ALTER TABLE a ALTER n TYPE VARCHAR USING ({'md5(' * 12}n::VARCHAR{')' * 12})"
"""DuckDB listens to an interrupt of it only at its end."""


@pytest.fixture
def settings(make_settings: Callable[..., Settings]) -> Settings:
    return make_settings(deadline=DeadlineSettings(alter=0.3))


@pytest.fixture
async def eve(admin: httpx2.AsyncClient, log_in: LogIn) -> AsyncIterator[httpx2.AsyncClient]:
    for table in ("a", "b"):
        await admin.post("/query", json={"query": f"CREATE TABLE {table} (n INTEGER)"})
    yield log_in("eve", Role.WRITER)
    for running in (await admin.get("/queries")).json():
        await admin.delete(f"/queries/{running['id']}")


async def _running(service: DuckDBService, text: str) -> str:
    parts = await service.parts()
    for _ in range(20_000):
        for each in parts.runner.list_running():
            if each.sql == text and each.state == "running":
                return each.id
        await asyncio.sleep(0.01)
    raise AssertionError("it does not run")


async def test_writes_go_on_beside_an_alter_that_waits(
    admin: httpx2.AsyncClient,
    app_service: DuckDBService,
    log_in: LogIn,
    eve: httpx2.AsyncClient,
) -> None:
    """Fails when the gate is shut as long as the ALTER waits behind its own user's statement."""
    bob = log_in("bob", Role.WRITER)
    asked = {"query": LONG, "timeout_seconds": 200}
    long = asyncio.create_task(eve.post("/query", json=asked, timeout=300))
    statement = await _running(app_service, LONG)
    alter = asyncio.create_task(
        eve.post("/query", json={"query": "ALTER TABLE a ADD COLUMN m INTEGER"}, timeout=300)
    )
    gate = (await app_service.parts()).access.gate
    while not gate._closers:
        await asyncio.sleep(0.001)
    for number in range(3):
        answer = await bob.post("/query", json={"query": f"INSERT INTO b VALUES ({number})"})
        assert answer.status_code == 200, answer.text
        assert not long.done()
    refused = await alter
    assert (refused.status_code, refused.json()["code"]) == (409, "writers_busy")
    assert not long.done()
    await admin.delete(f"/queries/{statement}")
    assert (await long).status_code == 409


async def test_an_alter_that_takes_long_is_ended_for_the_others(
    admin: httpx2.AsyncClient, app_service: DuckDBService, log_in: LogIn, eve: httpx2.AsyncClient
) -> None:
    """Fails when one user's slow ALTER keeps writers out until its own deadline."""
    await admin.post("/query", json={"query": "INSERT INTO a SELECT i FROM range(300000) r(i)"})
    bob = log_in("bob", Role.WRITER)
    asked = {"query": SLOW, "timeout_seconds": 200}
    alter = asyncio.create_task(eve.post("/query", json=asked, timeout=300))
    await _running(app_service, SLOW)
    answer = await bob.post("/query", json={"query": "INSERT INTO b VALUES (1)"}, timeout=300)
    assert answer.status_code == 200, answer.text
    ended = await alter
    assert (ended.status_code, ended.json()["code"]) == (504, "statement_timeout"), ended.text
    assert "DUCKDB_DEADLINE_ALTER" in ended.json()["hint"]
    types = (await bob.get("/tables/a")).json()["columns"]
    assert [each["type"] for each in types] == ["INTEGER"]
