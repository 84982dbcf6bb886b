"""What a key has begun ends when it is revoked, whoever revokes it; and who waits is told why."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import httpx2
import orjson
import pytest

from chronoduck.assembly import DuckDBService
from chronoduck.auth.key_file import KeyFile
from chronoduck.principals import Principal, Role
from chronoduck.resilience.penalty_records import FaultKind
from chronoduck.service.records import Caller
from chronoduck.settings import QuotaSettings, Settings
from tests.patience import PATIENCE_SECONDS

ENDLESS = "SELECT sum(a.range * b.range) FROM range(10000000) a, range(10000000) b"
LogIn = Callable[..., httpx2.AsyncClient]


async def until(condition: Callable[[], Any]) -> Any:
    end = time.monotonic() + PATIENCE_SECONDS
    while not (found := await condition()):
        assert time.monotonic() < end
        await asyncio.sleep(0.02)
    return found


async def test_jobs_and_statements_of_a_revoked_key_end_and_others_go_on(
    admin: httpx2.AsyncClient, log_in: LogIn, settings: Settings
) -> None:
    ann, bob = log_in("ann"), log_in("bob")
    jobs = [(await each.post("/jobs", json={"query": ENDLESS})).json()["id"] for each in (ann, bob)]
    statement = asyncio.create_task(ann.post("/query", json={"query": ENDLESS}))

    async def running() -> bool:
        return len((await admin.get("/queries")).json()) == 3

    await until(running)
    # By a command on this machine: no request tells the service of it.
    KeyFile(settings.keys_path).remove("ann")
    assert (await statement).json()["code"] == "statement_cancelled"

    async def ended() -> bool:
        return bool((await admin.get(f"/jobs/{jobs[0]}")).json()["state"] == "cancelled")

    await until(ended)
    assert (await admin.get(f"/jobs/{jobs[1]}")).json()["state"] == "running"
    await admin.delete(f"/jobs/{jobs[1]}")


async def test_who_waits_is_told_why_and_operations_answer(
    admin: httpx2.AsyncClient, log_in: LogIn, app_service: DuckDBService
) -> None:
    ann = log_in("ann", Role.WRITER)
    principal = Principal("ann", Role.WRITER, ann.headers["X-Key-Id"])
    caller = Caller("ann", principal=principal)
    app_service.penalties.note_fault(caller, "SELECT 1", FaultKind.FORCED_REPLACEMENT)
    for path, body in (
        ("/query", {"query": "SELECT 2"}),
        ("/batch", {"queries": [{"query": "SELECT 2"}]}),
        ("/explain", {"query": "SELECT 2"}),
        ("/jobs", {"query": "SELECT 2"}),
        ("/tables/t/rows", [{"a": 1}]),
    ):
        answer = await ann.post(path, json=body)
        assert answer.status_code == 429, path
        told = answer.json()
        assert (told["code"], told["reason"]) == ("penalty_box", "forced_replacement"), path
        assert 0 < int(answer.headers["retry-after"]) <= 15
    upload = await ann.post(
        "/tables/t/rows", content=b"a\n1\n", headers={"Content-Type": "text/csv"}
    )
    assert upload.json()["code"] == "penalty_box"
    for path in ("/me", "/queries", "/jobs"):
        assert (await ann.get(path)).status_code == 200, path
    assert (await admin.post("/query", json={"query": "SELECT 1"})).status_code == 200

    party = principal.id
    assert (await admin.delete(f"/penalties/{party}")).status_code == 200
    assert (await admin.delete(f"/penalties/{party}")).status_code == 404
    assert (await ann.post("/query", json={"query": "SELECT 1"})).status_code == 200


async def test_what_the_list_shows_can_be_released_and_two_of_one_name_are_told_apart(
    admin: httpx2.AsyncClient, app_service: DuckDBService
) -> None:
    def fault(key: str, name: str, sub_user: str | None = None) -> None:
        caller = Caller(name, principal=Principal(name, Role.ANALYST, key), sub_user=sub_user)
        app_service.penalties.note_fault(caller, "SELECT 1", FaultKind.FORCED_REPLACEMENT)

    async def release(name: str) -> httpx2.Response:
        return await admin.delete(f"/penalties/{quote(name, safe='')}")

    fault("key:1", "platform", "Eve / 50 %?#")
    fault("key:2", "ann")
    fault("key:3", "bob")
    fault("key:1", "platform", "bob")
    fault("key:4", "key:2", "..")
    listed = (await admin.get("/penalties")).json()["waiting"]
    names = {
        each["name"] for each in listed if each["party"] != "*"
    }  # a shape of many waits for all
    assert names == {"Eve / 50 %?#", "ann", "bob", ".."}

    two = await release("bob")
    assert two.status_code == 422
    assert "key:1/bob, key:3" in two.json()["hint"]
    assert (await release("key:1/bob")).status_code == 200
    # Nothing is held against the other one any more, but who is meant is still not clear.
    assert (await release("bob")).status_code == 422
    assert "key:3" in (await release("key:3")).json()["message"]
    assert "key:1/Eve" in (await release("Eve / 50 %?#")).json()["message"]
    for each in ("key:2", "key:4/.."):
        assert (await release(each)).status_code == 200
    assert (await release("ann")).status_code == 404
    assert not len(app_service.penalties.box)


async def test_a_release_that_cannot_be_written_is_an_error_until_it_is(
    admin: httpx2.AsyncClient, app_service: DuckDBService, settings: Settings
) -> None:
    caller = Caller("ann", principal=Principal("ann", Role.ANALYST, "key:ann"))
    app_service.penalties.note_fault(caller, "SELECT 1", FaultKind.FORCED_REPLACEMENT)
    await app_service._accountability._usage.save()
    path = settings.usage_path
    path.unlink()
    path.mkdir()  # nobody can put a file there
    for _ in range(2):
        answer = await admin.delete("/penalties/key:ann")
        assert (answer.status_code, answer.json()["code"]) == (503, "resource_exhausted")
        assert str(path.parent) not in answer.text
        app_service.penalties.check(caller, "SELECT 1")
    path.rmdir()
    assert (await admin.delete("/penalties/key:ann")).status_code == 200
    assert orjson.loads(path.read_bytes())["box"]["parties"] == {}
    assert (await admin.delete("/penalties/key:ann")).status_code == 404
    lines = map(orjson.loads, settings.audit_path.read_bytes().splitlines())
    verdicts = [each["verdict"] for each in lines if each["event"] == "penalty_released"]
    assert verdicts == ["ok", "failed", "ok", "failed", "ok"]


async def test_the_shape_of_a_statement_waits_and_others_of_its_author_run(
    admin: httpx2.AsyncClient, log_in: LogIn, app_service: DuckDBService
) -> None:
    ann, bob = log_in("ann"), log_in("bob")
    caller = Caller("ann", principal=Principal("ann", Role.ANALYST, ann.headers["X-Key-Id"]))
    app_service.penalties.note_fault(caller, "SELECT 1 + 1", FaultKind.INTERNAL_ERROR)
    refused = await ann.post("/query", json={"query": "select  2 + 3"})
    assert refused.json()["reason"] == "internal_error"
    assert (await ann.post("/query", json={"query": "SELECT 2 - 3"})).status_code == 200
    assert (await bob.post("/query", json={"query": "SELECT 2 + 3"})).status_code == 200


async def test_the_waits_are_those_of_the_settings(make_settings: Callable[..., Settings]) -> None:
    quota = QuotaSettings(penalty_wait=100, penalty_max_wait=150)
    async with DuckDBService(make_settings(quota=quota)) as service:
        caller = Caller("ann", principal=Principal("ann", Role.ANALYST, "key:ann"))
        for seconds in (100, 150):
            service.penalties.note_fault(caller, "SELECT 1", FaultKind.FORCED_REPLACEMENT)
            waits = service.penalties.describe()["waiting"]
            assert max(each["seconds"] for each in waits) == pytest.approx(seconds, abs=30)
