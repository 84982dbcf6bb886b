"""Nothing hidden leaves: by the Python API and over HTTP, in bodies, headers and errors."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import httpx2
import pytest

from chronoduck.api import create_app
from chronoduck.assembly import DuckDBService
from chronoduck.auth.key_file import KeyFile
from chronoduck.auth.keys import KeyWish
from chronoduck.principals import Limits, Role
from chronoduck.service.records import Caller
from tests.leak_attempts import ATTEMPTS, CHANCE
from tests.narrowed import (
    CALLER,
    CANARIES,
    SCOPE,
    narrowed_and_twin,
    outcome,
    service_of_part,
)


def found(text: str, attempt: str) -> list[str]:
    """Return the canaries in an answer that the attempt itself does not hold."""
    text, attempt = text.lower(), attempt.lower()
    return [each for each in CANARIES if each.lower() in text and each.lower() not in attempt]


@pytest.fixture
async def client(
    tmp_path: Path,
) -> AsyncIterator[httpx2.AsyncClient]:
    """A client whose every request comes from the narrowed principal."""

    wish = KeyWish("tenant-a", Role.ANALYST, tables=SCOPE.tables, schemas=SCOPE.schemas)
    async with service_of_part(tmp_path, is_whole=True) as service:
        app = create_app(service)
        async with app.router.lifespan_context(app):
            _, token = KeyFile(service.settings.keys_path).add(wish, time.time())
            transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
            async with httpx2.AsyncClient(
                transport=transport,
                base_url="http://test/api/v1/duckdb",
                headers={"Authorization": f"Bearer {token}"},
            ) as opened:
                yield opened


async def test_there_is_something_to_hide(tmp_path: Path) -> None:
    async with service_of_part(tmp_path, is_whole=True) as service:
        shown = await outcome(lambda: service.execute_query("SELECT * FROM pages"))
        assert found(shown, "") == ["CANARY"]
        listed = await outcome(lambda: service.execute_query("SHOW ALL TABLES"))
        assert "q7x" in listed
    assert len(set(ATTEMPTS)) > 150


async def test_every_attempt_ends_as_if_the_hidden_part_did_not_exist(tmp_path: Path) -> None:
    differences, leaks = [], []
    async with narrowed_and_twin(tmp_path) as (whole, twin):
        for attempt in ATTEMPTS:
            seen = await outcome(lambda: whole.execute_query(attempt, caller=CALLER))  # noqa: B023
            told = await outcome(lambda: twin.execute_query(attempt, caller=CALLER))  # noqa: B023
            if seen != told:
                differences.append((attempt, seen[:300], told[:300]))
            if found(seen, attempt):
                leaks.append((attempt, seen[:300]))
        for attempt in CHANCE:
            seen = await outcome(lambda: whole.execute_query(attempt, caller=CALLER))  # noqa: B023
            assert not found(seen, attempt)
    assert leaks == []
    assert differences == []


async def test_batches_streams_transactions_and_plans_are_as_narrow(tmp_path: Path) -> None:
    async with service_of_part(tmp_path, is_whole=True) as service:
        for attempt in ATTEMPTS:
            told = await outcome(lambda: _batch(service, attempt))  # noqa: B023
            told += await outcome(lambda: _stream(service, attempt))  # noqa: B023
            told += await outcome(lambda: _transaction(service, attempt))  # noqa: B023
            assert not found(told, attempt), attempt


class _Rows:
    def __init__(self, data: object) -> None:
        self.columns, self.types, self.data = [], [], [data]


async def _batch(service: DuckDBService, sql: str) -> _Rows:
    return _Rows(await service.execute_batch(["SELECT 1", sql], caller=CALLER))


async def _stream(service: DuckDBService, sql: str) -> _Rows:
    return _Rows([batch.to_pylist() async for batch in service.stream(sql, caller=CALLER)])


async def _transaction(service: DuckDBService, sql: str) -> _Rows:
    async with service.transaction(caller=CALLER) as opened:
        return _Rows(await opened.execute(sql))


@pytest.mark.parametrize(
    "accept", ["application/json", pytest.param("text/csv", marks=pytest.mark.slow)]
)
async def test_no_answer_over_http_holds_anything_hidden(
    client: httpx2.AsyncClient, accept: str
) -> None:
    for attempt in ATTEMPTS + CHANCE:
        answer = await client.post("/query", json={"query": attempt}, headers={"Accept": accept})
        assert answer.status_code in (200, 400, 403), (attempt, answer.text)
        assert not found(answer.text + str(answer.headers), attempt), attempt


async def test_plans_batches_and_row_free_statements_over_http_hold_nothing_hidden(
    client: httpx2.AsyncClient,
) -> None:
    for attempt in ATTEMPTS:
        plan = await client.post("/explain", json={"query": attempt})
        assert plan.status_code != 200, attempt
        batch = await client.post("/batch", json={"queries": ["SELECT 1", attempt]})
        none = await client.post("/query", json={"query": attempt, "fetch_mode": "none"})
        for answer in (plan, batch, none):
            assert not found(answer.text + str(answer.headers), attempt), attempt


async def test_the_lists_of_tables_are_those_of_the_scope(client: httpx2.AsyncClient) -> None:
    listed = await client.get("/tables")
    names = {(table["schema"], table["name"]) for table in listed.json()}
    assert names == {
        ("main", "pages"),
        ("main", "visits"),
        ("main", "owners"),
        ("main", "busy"),
        ("main", "reports"),
        ("sales", "orders"),
    }
    estimates = {table["name"]: table["row_estimate"] for table in listed.json()}
    assert estimates["pages"] is None
    assert estimates["owners"] == 50
    for name in [*estimates, "sales.orders", "vault_q7x", "hr_q7x.pages", "nothing", "test.pages"]:
        details = await client.get(f"/tables/{name}")
        assert not found(details.text + str(details.headers), name), name
        if name in ("pages", "owners", "sales.orders"):
            assert details.json()["sample"]["data"], name


async def test_an_ungranted_table_and_one_that_is_not_there_cannot_be_told_apart(
    client: httpx2.AsyncClient,
) -> None:
    for there, not_there in (("vault_q7x", "vault_q7y"), ("leaky", "leakz")):
        answers = []
        for name in (there, not_there):
            answer = await client.post("/query", json={"query": f"SELECT * FROM {name}"})
            body = answer.json()
            body.pop("request_id")
            body.pop("instance", None)
            answers.append((answer.status_code, str(body).replace(name, "?")))
        assert answers[0] == answers[1]


async def test_templates_run_inside_the_scope(client: httpx2.AsyncClient) -> None:
    answer = await client.get("/templates/top-domains")
    assert answer.status_code == 400
    assert not found(answer.text, "")


async def test_the_limit_of_scans_does_not_tell_how_many_rows_are_hidden(tmp_path: Path) -> None:
    limits = Limits(max_scan_rows=1_000)
    caller = Caller("a", principal=replace(CALLER.principal, limits=limits))
    asked = [f"SELECT count(*) FROM pages, visits, range({rows})" for rows in range(0, 1_200, 100)]
    async with narrowed_and_twin(tmp_path) as (whole, twin):
        told = [
            [await outcome(lambda: each.execute_query(sql, caller=caller)) for sql in asked]  # noqa: B023
            for each in (whole, twin)
        ]
    assert told[0] == told[1]
    assert "LimitExceededError" in told[0][-1]
    assert "LimitExceededError" not in told[0][0]


async def test_a_key_is_only_issued_for_what_can_be_kept(tmp_path: Path) -> None:
    async with service_of_part(tmp_path, is_whole=True) as service:
        app = create_app(service)
        async with app.router.lifespan_context(app):
            transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
            token = service.settings.token_path.read_text().strip()
            async with httpx2.AsyncClient(
                transport=transport,
                base_url="http://test/api/v1/duckdb",
                headers={"Authorization": f"Bearer {token}"},
            ) as admin:
                for tables, reason in (
                    ([{"name": "nothing"}], "main.nothing"),
                    ([{"name": "pages", "filter": "tenant = (SELECT 1)"}], "a subquery"),
                    ([{"name": "leaky"}], "vault_q7x, which is not granted"),
                ):
                    asked = {"name": "k", "role": "analyst", "tables": tables}
                    answer = await admin.post("/keys", json=asked)
                    assert answer.status_code == 422, answer.text
                    assert reason in answer.json()["detail"]
                granted = [{"name": "pages", "filter": "tenant = 'a'"}]
                asked = {"name": "k", "role": "viewer", "tables": granted}
                assert (await admin.post("/keys", json=asked)).status_code == 201
