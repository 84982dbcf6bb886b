"""Small bodies run as who sent them: in its share, on its account, with its deadline; so do captures."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import pytest

from chronoduck.assembly import DuckDBService
from chronoduck.principals import LOCAL, Role
from chronoduck.service.records import StatementRecord
from chronoduck.transfer import group_commit
from tests.patience import PATIENCE_SECONDS
from tests.unit.api.test_load_modes import post, rows

LogIn = Callable[..., httpx2.AsyncClient]
ENDLESS = "SELECT sum(a.range * b.range) FROM range(10000000) a, range(10000000) b"
CDX = b""" CDX N b a m s k r M S V g
org,iana)/ 20140126200624 http://www.iana.org/ text/html 200 OSSA - - 2258 334 iana.warc.gz
org,iana)/about 20140126200626 http://www.iana.org/about text/html 200 OSSB - - 553 1 iana.warc.gz
"""


@pytest.fixture
def may_end(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Transactions into tables called ``slow...`` do not end, or listen, before this is set."""
    event = threading.Event()
    look = group_commit._columns

    def look_slowly(session: Any, quoted: str) -> Any:
        if "slow" in quoted:
            event.wait(PATIENCE_SECONDS)
        return look(session, quoted)

    monkeypatch.setattr(group_commit, "_columns", look_slowly)
    yield event
    event.set()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():
            await asyncio.sleep(0.01)


async def create(service: DuckDBService, count: int) -> None:
    for number in range(count):
        await service.execute_query(f"CREATE TABLE slow{number} (a INTEGER)")


def places(service: DuckDBService, party: str) -> int:
    parts = service._parts
    assert parts is not None
    found = parts.access.admission._parties.get(party)
    return 0 if found is None else found.places


async def test_small_bodies_hold_no_more_workers_than_their_sender_may(
    admin: httpx2.AsyncClient, app_service: DuckDBService, log_in: LogIn, may_end: threading.Event
) -> None:
    await create(app_service, 4)
    await app_service.execute_query("CREATE TABLE t (a INTEGER)")
    eve, bob = log_in("eve", Role.WRITER), log_in("bob", Role.WRITER)
    party = eve.headers["X-Key-Id"]
    sent = [
        asyncio.create_task(post(eve, b'{"a":1}', table=f"slow{number}")) for number in range(4)
    ]
    await until(lambda: places(app_service, party) + places(app_service, LOCAL.id) > 0)
    assert places(app_service, LOCAL.id) == 0, "it runs as the service itself"
    assert places(app_service, party) == 1  # of two workers
    assert (await bob.post("/query", json={"query": "SELECT 42"})).status_code == 200
    assert (await post(bob, b'{"a":1}'))[0].status_code == 200
    seen = (await eve.get("/queries")).json()
    assert {each["kind"] for each in seen} == {"load"}
    assert {each["timeout_seconds"] for each in seen} == {app_service.settings.statement_timeout}
    account = app_service.quotas._accounts[party]
    await until(lambda: account.open_statements == 4)  # one for each request, none for its group
    usage = (await eve.get("/me")).json()["usage"]
    assert usage["engine_seconds"]["used"] > 0  # while it goes on
    may_end.set()
    assert [response.status_code for response, _ in await asyncio.gather(*sent)] == [200] * 4
    assert places(app_service, party) == 0


async def test_bodies_of_two_principals_never_share_a_transaction(
    admin: httpx2.AsyncClient, app_service: DuckDBService, log_in: LogIn, may_end: threading.Event
) -> None:
    await create(app_service, 1)
    eve, bob = log_in("eve", Role.WRITER, statement_timeout=2), log_in("bob", Role.WRITER)
    late = asyncio.create_task(post(eve, b'{"a":1}', table="slow0"))
    await until(lambda: places(app_service, eve.headers["X-Key-Id"]) == 1)
    sent = asyncio.create_task(post(bob, b'{"a":2}', table="slow0"))
    await until(lambda: places(app_service, bob.headers["X-Key-Id"]) == 1)
    response, _ = await late
    assert response.status_code == 504  # by its own deadline, though it does not listen
    may_end.set()
    assert (await sent)[0].status_code == 200
    assert await rows(app_service, "SELECT a FROM slow0") == [(2,)]
    await until(lambda: places(app_service, eve.headers["X-Key-Id"]) == 0)
    usage = {each["name"]: each["since_start"] for each in app_service.quotas.usage()}
    assert usage["eve"]["engine_seconds"] > 0  # though it failed
    assert usage["bob"]["engine_seconds"] > 0


async def test_what_its_senders_left_is_interrupted_and_charged(
    admin: httpx2.AsyncClient, app_service: DuckDBService, log_in: LogIn, may_end: threading.Event
) -> None:
    await create(app_service, 1)
    eve = log_in("eve", Role.WRITER, concurrent_statements=2)
    sent = [asyncio.create_task(post(eve, b'{"a":1}', table="slow0")) for _ in range(2)]
    await until(lambda: places(app_service, eve.headers["X-Key-Id"]) == 1)
    for task in sent:
        task.cancel()
    await asyncio.gather(*sent, return_exceptions=True)
    runner = (await app_service.parts()).runner
    await until(lambda: not runner.list_running())
    assert places(app_service, eve.headers["X-Key-Id"]) == 1  # what goes on is in its share
    may_end.set()
    await until(lambda: places(app_service, eve.headers["X-Key-Id"]) == 0)
    assert await rows(app_service, "FROM slow0") == []
    usage = {each["name"]: each["since_start"] for each in app_service.quotas.usage()}
    assert usage["eve"]["engine_seconds"] > 0


async def test_nothing_is_charged_twice_and_every_request_is_a_statement(
    admin: httpx2.AsyncClient, app_service: DuckDBService, log_in: LogIn
) -> None:
    await app_service.execute_query("CREATE TABLE t (a INTEGER CHECK (a < 100))")
    runner = (await app_service.parts()).runner
    records: list[StatementRecord] = []
    runner._observers = (*runner._observers, records.append)
    ann = log_in("ann", Role.WRITER)
    bodies = [b'{"a":1}'] * 20 + [b'{"a":100}']
    answers = await asyncio.gather(*(post(ann, body) for body in bodies))
    assert [response.status_code for response, _ in answers] == [200] * 20 + [422]
    party = ann.headers["X-Key-Id"]
    ran = [record for record in records if record.caller.principal.id == party]
    usage = (await ann.get("/me")).json()["since_start"]
    seconds = sum(record.engine_seconds for record in ran)
    assert usage["engine_seconds"] == pytest.approx(seconds, abs=0.001)
    assert usage["statements"] == 21 + 1  # the one that failed was read as a file, too
    assert len(await rows(app_service)) == 20


async def test_a_load_of_captures_waits_for_no_other_that_waits_for_a_worker(
    admin: httpx2.AsyncClient, app_service: DuckDBService, log_in: LogIn
) -> None:
    eve, bob = log_in("eve", Role.WRITER), log_in("bob", Role.WRITER)
    party = eve.headers["X-Key-Id"]
    admission = (await app_service.parts()).access.admission
    await post(admin, CDX, "application/x-cdx", "pages_analytics")  # then there is no DDL to prove
    long = {"query": ENDLESS, "timeout_seconds": 300}
    holder = asyncio.create_task(eve.post("/query", json=long, timeout=300))
    await until(lambda: places(app_service, party) == 1)  # all that it may have of two
    waits = asyncio.create_task(post(eve, CDX, "application/x-cdx", "pages_analytics"))
    await until(lambda: admission.waiting == 1)
    response, events = await asyncio.wait_for(
        post(bob, CDX, "application/x-cdx", "pages_analytics"), PATIENCE_SECONDS
    )
    assert (response.status_code, events[-1]["event"]) == (200, "done")
    assert not waits.done()
    for each in (await admin.get("/queries")).json():
        if each["kind"] != "load":
            await admin.delete(f"/queries/{each['id']}")
    await holder
    response, events = await waits
    assert (events[-1]["event"], events[-1]["duplicates"]) == ("done", 2)


async def test_the_same_captures_from_many_at_once_are_added_once(
    admin: httpx2.AsyncClient, app_service: DuckDBService, log_in: LogIn
) -> None:
    writers = [log_in(name, Role.WRITER) for name in ("ann", "bob", "cat")]
    answers = await asyncio.gather(
        *(post(each, CDX, "application/x-cdx", "pages_analytics") for each in writers * 3)
    )
    assert [events[-1]["event"] for _, events in answers] == ["done"] * 9
    assert sum(events[-1]["rows_added"] for _, events in answers) == 2
    assert len(await rows(app_service, "FROM pages_analytics")) == 2
