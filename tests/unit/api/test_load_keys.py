"""Idempotency keys: a request that is sent again is done once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx2
import pytest

from chronoduck.assembly import DuckDBService
from chronoduck.errors import DuckDBException
from chronoduck.principals import Role
from chronoduck.resilience.service_time import ServiceTime
from chronoduck.transfer.idempotency import IdempotencyKeys, RequestKey
from tests.unit.api.test_load_modes import load, post, refused, rows

SMALL = b'{"a":1}\n{"a":2}\n'
LARGE = b'{"a":1}\n' * 20_000
HOUR_US = 3_600_000_000
CDX = b"com,a)/ 20240101000000 http://a.com/ text/html 200 SHA 12\n"


@pytest.fixture(autouse=True)
async def table(admin: httpx2.AsyncClient, app_service: DuckDBService) -> None:
    await app_service.execute_query("CREATE TABLE t (a INTEGER)")


@pytest.mark.parametrize(
    ("content", "media_type", "table"),
    [
        (SMALL, "application/x-ndjson", "t"),
        (b'[{"a":1}]', "application/json", "t"),
        (LARGE, "application/x-ndjson", "t"),
        (b"a\n1\n", "text/csv", "t"),
        (CDX, "text/plain", "pages_analytics"),
        (b'{"a":1}', "application/json", "is_made"),
    ],
)
@pytest.mark.parametrize("key", ["bare-key", '"a \\"quoted\\" key"'])
async def test_a_request_that_is_sent_again_gets_its_answer_again(
    admin: httpx2.AsyncClient,
    app_service: DuckDBService,
    content: bytes,
    media_type: str,
    table: str,
    key: str,
) -> None:
    headers = {"Idempotency-Key": key}
    first, events = await post(admin, content, media_type, table, headers)
    assert "Idempotency-Replayed" not in first.headers
    again, events_again = await post(admin, content, media_type, table, headers)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert events_again[-1] == events[-1]
    assert events[-1]["rows_added"] >= 1
    assert await rows(app_service, f"SELECT count(*) FROM {table}") == [(events[-1]["rows_added"],)]


async def test_rejected_lines_are_told_again(admin: httpx2.AsyncClient) -> None:
    headers = {"Idempotency-Key": "k"}
    body = SMALL + b"bad\n"
    _, events = await post(admin, body, headers=headers, on_error="skip")
    _, again = await post(admin, body, headers=headers, on_error="skip")
    assert again == [event for event in events if event["event"] != "progress"]


@pytest.mark.parametrize(
    "other",
    [
        {"content": b'{"a":3}\n'},
        {"mode": "replace"},
        {"create": "false"},
        {"table": "other"},
        {"content": LARGE},
    ],
)
async def test_a_key_with_another_request_is_refused(
    admin: httpx2.AsyncClient, app_service: DuckDBService, other: dict[str, Any]
) -> None:
    headers = {"Idempotency-Key": "k"}
    await load(admin, SMALL, headers=headers)
    problem = await refused(admin, **{"content": SMALL, "headers": headers, **other})
    assert (problem["status"], problem["code"]) == (422, "idempotency_key_reused")
    assert await rows(app_service) == [(1,), (2,)]


async def test_two_principals_do_not_share_a_key(
    admin: httpx2.AsyncClient,
    app_service: DuckDBService,
    log_in: Callable[..., httpx2.AsyncClient],
) -> None:
    headers = {"Idempotency-Key": "k"}
    await load(admin, SMALL, headers=headers)
    async with log_in("ann", Role.WRITER) as ann:
        await load(ann, b'{"a":3}\n', headers=headers)
    assert await rows(app_service) == [(1,), (2,), (3,)]


async def test_a_request_that_failed_can_be_sent_again_with_its_key(
    admin: httpx2.AsyncClient, app_service: DuckDBService
) -> None:
    headers = {"Idempotency-Key": "k"}
    await refused(admin, b'{"a":"x"}\n', headers=headers)
    await load(admin, SMALL, headers=headers)
    assert await rows(app_service) == [(1,), (2,)]


async def test_a_dry_run_uses_up_no_key(
    admin: httpx2.AsyncClient, app_service: DuckDBService
) -> None:
    headers = {"Idempotency-Key": "k"}
    await load(admin, SMALL, headers=headers, dry_run="true")
    await load(admin, SMALL, headers=headers)
    assert await rows(app_service) == [(1,), (2,)]


async def test_a_request_with_its_key_under_way_is_refused_meanwhile(
    admin: httpx2.AsyncClient, app_service: DuckDBService
) -> None:
    """Of many at the same time one is done, and the others are told so or get its answer."""
    headers = {"Idempotency-Key": "k"}
    answers = await asyncio.gather(*(post(admin, SMALL, headers=headers) for _ in range(20)))
    codes = {response.status_code for response, _ in answers}
    assert codes <= {200, 409}
    assert 200 in codes
    for response, events in answers:
        if response.status_code == 409:
            assert events[0]["code"] == "idempotency_key_in_use"
            assert events[0]["retryable"] is True
    assert await rows(app_service) == [(1,), (2,)]


@pytest.mark.parametrize("key", ["", '""', "x" * 256, "two words", '"open', 'in"side'])
async def test_what_is_no_key_is_refused(admin: httpx2.AsyncClient, key: str) -> None:
    problem = await refused(admin, SMALL, headers={"Idempotency-Key": key})
    assert (problem["status"], problem["code"]) == (422, "invalid_request")


async def test_the_kept_keys_are_nobodys_business(
    admin: httpx2.AsyncClient,
    app_service: DuckDBService,
    log_in: Callable[..., httpx2.AsyncClient],
) -> None:
    await load(admin, SMALL, headers={"Idempotency-Key": "k"})
    assert [table["name"] for table in (await admin.get("/tables")).json()] == ["t"]
    assert (await admin.get("/tables/_chronoduck.idempotency")).status_code == 404
    async with log_in("ann", Role.WRITER) as ann:
        for sql in (
            "FROM _chronoduck.idempotency",
            'SELECT * FROM "_CHRONODUCK".idempotency',
            "DELETE FROM _chronoduck.idempotency",
            "DROP SCHEMA _chronoduck CASCADE",
            "CREATE TABLE _chronoduck.x (a INT)",
            "EXPLAIN ANALYZE DELETE FROM test._chronoduck.idempotency",
            "ALTER TABLE _chronoduck.idempotency ADD COLUMN x INT",
            "CREATE VIEW v AS FROM _chronoduck.idempotency",
            "INSERT INTO _chronoduck.idempotency VALUES " + ", ".join(["('x')"] * 20_000),
        ):
            problem = (await ann.post("/query", json={"query": sql})).json()
            assert problem.get("rule") == "own-tables", (sql, problem)
        for table in ("_chronoduck.idempotency", "_CHRONODUCK.x"):
            problem = await refused(ann, SMALL, table=table)
            assert problem["code"] == "load_failed"
            assert "service alone" in problem["detail"]
    assert await rows(app_service, "SELECT key FROM _chronoduck.idempotency") == [("k",)]


# --- the keys themselves ------------------------------------------------------------------------


@pytest.fixture
async def make_keys(app_service: DuckDBService) -> AsyncIterator[Callable[..., IdempotencyKeys]]:
    made: list[IdempotencyKeys] = []

    def make(limit: int = 100, service_time: ServiceTime | None = None) -> IdempotencyKeys:
        parts = app_service._parts
        assert parts is not None
        transact = parts.loader.keys._transact
        keys = IdempotencyKeys(transact, limit, service_time=service_time)
        made.append(keys)
        return keys

    yield make
    for keys in made:
        await keys.stop()


async def do(keys: IdempotencyKeys, key: str, fingerprint: str = "f") -> str | None:
    """Do a request; return the answer that it had already."""
    request = RequestKey("p", key, fingerprint)
    async with keys.claim(request) as claim:
        if claim.answer is None:
            await keys._transact(lambda session: keys.keep(session, [(request, f"of {key}")]))
        return claim.answer


async def test_keys_outlive_the_process(make_keys: Callable[..., IdempotencyKeys]) -> None:
    assert await do(make_keys(), "k") is None
    assert await do(make_keys(), "k") == "of k"


async def test_keys_are_forgotten_after_a_day_of_service(
    make_keys: Callable[..., IdempotencyKeys],
) -> None:
    passed = ServiceTime()
    keys = make_keys(service_time=passed)
    assert await do(keys, "old") is None
    passed.advance(23 * HOUR_US)
    assert await do(keys, "new") is None
    await keys.prune()
    assert await do(keys, "old") == "of old"
    passed.advance(2 * HOUR_US)
    await keys.prune()
    assert await do(keys, "new") == "of new"
    assert await do(keys, "old") is None


@pytest.mark.parametrize("days", [2, -2, 400])
async def test_a_clock_that_is_set_and_set_back_forgets_no_key(
    make_keys: Callable[..., IdempotencyKeys], monkeypatch: pytest.MonkeyPatch, days: int
) -> None:
    keys = make_keys()
    assert await do(keys, "before") is None
    right = time.time
    with monkeypatch.context() as clock:
        clock.setattr(time, "time", lambda: right() + days * 86_400)
        assert await do(keys, "meanwhile") is None
        await keys.prune()
        others = make_keys()  # a process that starts in that time
        assert await do(others, "by another process") is None
        await others.prune()
        await others.stop()
    await keys.prune()
    for key in ("before", "meanwhile"):
        assert await do(keys, key) == f"of {key}"
    another = make_keys()
    for key in ("before", "meanwhile", "by another process"):
        assert await do(another, key) == f"of {key}"


async def test_beyond_the_limit_the_oldest_keys_are_given_up(
    make_keys: Callable[..., IdempotencyKeys], app_service: DuckDBService
) -> None:
    keys = make_keys(limit=10)
    for number in range(15):
        assert await do(keys, str(number)) is None
    if keys._pruning is not None:
        await keys._pruning  # its transaction and ours would remove the same rows
    await keys.prune()
    kept = await rows(app_service, "SELECT count(*) FROM _chronoduck.idempotency")
    assert kept == [(10,)]
    assert await do(keys, "14") == "of 14"
    assert await do(keys, "0") is None


async def test_two_commits_of_one_key_are_impossible(
    make_keys: Callable[..., IdempotencyKeys],
) -> None:
    """The last resort: an earlier request whose client has left may still be on its way."""
    keys = make_keys()
    await do(keys, "k")
    request = RequestKey("p", "k", "f")
    with pytest.raises(DuckDBException):
        await keys._transact(lambda session: keys.keep(session, [(request, "twice")]))


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/query", {"query": "INSERT INTO t VALUES (1)"}),
        ("/batch", {"statements": [{"query": "INSERT INTO t VALUES (1)"}]}),
        ("/jobs", {"query": "INSERT INTO t VALUES (1)"}),
    ],
)
async def test_a_key_that_would_not_be_looked_at_is_refused(
    admin: httpx2.AsyncClient, app_service: DuckDBService, path: str, body: dict[str, Any]
) -> None:
    """Whoever sends one may send the request again."""
    answer = await admin.post(path, json=body, headers={"Idempotency-Key": "once"})
    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_unsupported")
    assert (await app_service.execute_query("SELECT count(*) FROM t")).data == [(0,)]
