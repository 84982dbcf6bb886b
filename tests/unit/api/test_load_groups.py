"""Small bodies of rows: many requests in one transaction, each with a fate of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx2
import orjson
import pytest

from chronoduck.assembly import DuckDBService
from chronoduck.principals import Role
from tests.unit.api.test_load_modes import load, post, refused, rows


async def create(service: DuckDBService, columns: str = "a INTEGER, b VARCHAR") -> None:
    await service.execute_query(f"CREATE TABLE t ({columns})")


def groups(service: DuckDBService) -> tuple[int, int]:
    parts = service._parts
    assert parts is not None
    return parts.loader.groups.groups, parts.loader.groups.requests


async def test_requests_that_come_together_are_committed_together(
    admin: httpx2.AsyncClient, app_service: DuckDBService
) -> None:
    await create(app_service)
    bodies = [orjson.dumps({"a": number, "b": "x"}) for number in range(100)]
    answers = await asyncio.gather(*(load(admin, body) for body in bodies))
    assert [done["rows_added"] for done in answers] == [1] * 100
    count, requests = groups(app_service)
    assert requests == 100
    assert count < 50
    assert await rows(app_service, "SELECT a FROM t ORDER BY a") == [(n,) for n in range(100)]


async def test_a_bad_row_fails_its_own_request_alone(
    admin: httpx2.AsyncClient, app_service: DuckDBService
) -> None:
    await create(app_service, "a INTEGER UNIQUE, b VARCHAR NOT NULL")
    bodies = [orjson.dumps({"a": number, "b": "x"}) for number in range(40)]
    bad = [
        b'{"a":"q","b":"x"}',
        b'{"a":1}',
        b'{"a":1,"b":"x","zz":1}',
        b"{broken",
        b'{"a":7,"b":"x"}',
    ]
    answers = await asyncio.gather(*(post(admin, body) for body in [*bodies, *bad]))
    statuses = [response.status_code for response, _ in answers]
    assert statuses.count(200) == 40
    assert statuses[40:44] == [422] * 4
    assert [events[0]["code"] for _, events in answers[40:44]] == ["load_failed"] * 4
    assert "column a" in answers[40][1][0]["detail"]
    assert await rows(app_service, "SELECT a FROM t ORDER BY a") == [(n,) for n in range(40)]


async def test_rows_of_a_body_may_lack_members_and_keep_every_digit(
    admin: httpx2.AsyncClient, app_service: DuckDBService
) -> None:
    await create(app_service, "a HUGEINT, b VARCHAR DEFAULT 'd', c JSON, d INTEGER DEFAULT 5")
    big = 123456789012345678901234567890
    body = b'[{"A":%d,"b":"\xc3\xa9"}, {"c":[1,{"x":2}]} ,{}]' % big
    done = await load(admin, body, "application/json")
    assert done["rows_added"] == 3
    assert groups(app_service)[1] == 1
    assert await rows(app_service, "FROM t ORDER BY a NULLS LAST, c") == [
        (big, "é", None, 5),
        (None, None, '[1,{"x":2}]', 5),
        (None, None, None, 5),
    ]


@pytest.mark.parametrize(
    "body",
    [b"{}", b"[{}]", b"[1]", b"7", b'"x"', b'{"a":1,"A":2}', b'[{"a":1},2]', b"[{},1]", b"null"],
)
async def test_odd_bodies_change_nothing(
    admin: httpx2.AsyncClient, app_service: DuckDBService, body: bytes
) -> None:
    await create(app_service)
    response, _ = await post(admin, body, "application/json")
    assert response.status_code == 422
    assert await rows(app_service) == []


async def test_nested_values_and_other_types_go_in(
    admin: httpx2.AsyncClient, app_service: DuckDBService
) -> None:
    await create(app_service, "l INT[], s STRUCT(x INT, y VARCHAR), t TIMESTAMP, e ENUM('p', 'q')")
    row = {"l": [1, None], "s": {"x": 1}, "t": "2024-01-02 03:04:05", "e": "q"}
    await load(admin, orjson.dumps(row), "application/json")
    assert await rows(app_service, "SELECT l, s.x, s.y, t::VARCHAR, e FROM t") == [
        ([1, None], 1, None, "2024-01-02 03:04:05", "q")
    ]


async def test_a_missing_table_is_made_unless_it_may_not(
    admin: httpx2.AsyncClient, app_service: DuckDBService
) -> None:
    done = await load(admin, b'{"a":1}')
    assert done["created"] is True
    assert await rows(app_service) == [(1,)]


async def test_a_table_that_changes_is_seen_at_once(
    admin: httpx2.AsyncClient, app_service: DuckDBService
) -> None:
    await create(app_service, "a INTEGER")
    await load(admin, b'{"a":1}')
    await app_service.execute_query("ALTER TABLE t ADD COLUMN b VARCHAR")
    await load(admin, b'{"a":2,"b":"x"}')
    await app_service.execute_query("ALTER TABLE t DROP COLUMN a")
    await refused(admin, b'{"a":2,"b":"x"}')
    assert await rows(app_service) == [("x",), (None,)]


async def test_an_analyst_may_not_load(
    admin: httpx2.AsyncClient,
    app_service: DuckDBService,
    log_in: Callable[..., httpx2.AsyncClient],
) -> None:
    await create(app_service)
    async with log_in("ann", Role.ANALYST) as ann:
        response, _ = await post(ann, b'{"a":1}')
    assert response.status_code == 403
    assert await rows(app_service) == []


async def test_each_principal_pays_and_is_limited(
    admin: httpx2.AsyncClient,
    app_service: DuckDBService,
    log_in: Callable[..., httpx2.AsyncClient],
) -> None:
    await create(app_service)
    async with log_in("ann", Role.WRITER, requests_per_minute=3) as ann:
        answers = [await post(ann, b'{"a":1}') for _ in range(5)]
        assert [response.status_code for response, _ in answers] == [200] * 3 + [429] * 2
        usage = {entry["name"]: entry for entry in app_service.quotas.usage()}
    assert usage["ann"]["since_start"]["engine_seconds"] > 0
    assert usage["ann"]["since_start"]["statements"] == 3
    async with log_in("bob", Role.WRITER, engine_seconds_per_hour=3_600) as bob:
        assert (await post(bob, b'{"a":1}'))[0].status_code == 200
        app_service.quotas._accounts[bob.headers["X-Key-Id"]].charge(3_600)
        assert (await post(bob, b'{"a":1}'))[0].status_code == 429
    assert len(await rows(app_service)) == 4


async def test_a_full_queue_refuses(
    admin: httpx2.AsyncClient, app_service: DuckDBService, monkeypatch: pytest.MonkeyPatch
) -> None:
    await create(app_service)
    parts = app_service._parts
    assert parts is not None
    monkeypatch.setattr(parts.loader.groups, "_limit", 5)
    answers = await asyncio.gather(*(post(admin, b'{"a":1}') for _ in range(40)))
    statuses = [response.status_code for response, _ in answers]
    assert set(statuses) == {200, 503}
    assert {events[0]["code"] for response, events in answers if response.status_code == 503} == {
        "queue_full"
    }
    assert len(await rows(app_service)) == statuses.count(200)


async def test_who_leaves_in_the_queue_takes_nobody_along(
    admin: httpx2.AsyncClient, app_service: DuckDBService
) -> None:
    await create(app_service)
    tasks: list[asyncio.Task[Any]] = [
        asyncio.create_task(post(admin, orjson.dumps({"a": n}))) for n in range(60)
    ]
    await asyncio.sleep(0.005)
    for task in tasks[::2]:
        task.cancel()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    kept = [n for n in range(60) if not isinstance(answers[n], BaseException)]
    assert len(kept) >= 30
    found = {row[0] for row in await rows(app_service, "SELECT a FROM t")}
    assert found >= set(kept)
    await load(admin, b'{"a":100}')


async def test_every_small_load_is_in_the_audit_trail(
    admin: httpx2.AsyncClient, app_service: DuckDBService
) -> None:
    await create(app_service)
    await load(admin, b'{"a":1}', headers={"X-Request-ID": "first"})
    await refused(admin, b'{"a":"x"}', headers={"X-Request-ID": "second"})
    await app_service.shutdown()
    lines = app_service.settings.audit_path.read_text().splitlines()
    loads = [event for line in lines if (event := orjson.loads(line))["event"] == "load"]
    assert [(event["request_id"], event["verdict"], event["rows"]) for event in loads] == [
        ("first", "ok", 1),
        ("second", "error", 0),
    ]
