"""JSON parameters by every route that takes some, and by the client."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pyarrow.parquet as pq
import pytest

from chronoduck.assembly import DuckDBService
from chronoduck.client.values import parameters
from chronoduck.settings import ExportSettings, Settings
from tests.patience import PATIENCE_SECONDS

VALUES: list[Any] = [
    [1, "x", True],
    {"key": ["a"], "value": [1]},
    [{"a": 1}, {"b": 2}],
    [1, [2]],
    {"a": [1, "b", {"c": None}]},
    [1, 2, 3],
    ["1", "x", None],
    [True, 1],
    [1, 2.5],
    [2**70, 0.5],
    {"a": 2**70, "b": [10**50]},
    {},
    [],
    [[]],
    [{}],
    {"": 1},
    {"a": 1, "A": 2},
    [{"a": 1, "b": 2}, {"b": 3, "a": 4}],
    {"a b": "é\"'\\\u2028"},
    ["a\0b"],
]
SQL = "SELECT " + ", ".join(f"$p{n}::JSON AS p{n}" for n in range(len(VALUES)))
PARAMS = {f"p{n}": value for n, value in enumerate(VALUES)}


@pytest.fixture
def settings(make_settings: Callable[..., Settings], tmp_path: Path) -> Settings:
    return make_settings(export=ExportSettings(url=str(tmp_path / "exports")))


def assert_same(found: list[Any]) -> None:
    assert list(map(json.dumps, found)) == list(map(json.dumps, _as_doubles(VALUES)))


def _as_doubles(values: list[Any]) -> list[Any]:
    """A list of whole numbers and fractions is one of doubles: 1 is 1.0."""
    return [[1.0, 2.5] if value == [1, 2.5] else value for value in values]


async def ended(client: httpx2.AsyncClient, answer: httpx2.Response) -> dict[str, Any]:
    assert answer.status_code == 202, answer.text
    async with asyncio.timeout(PATIENCE_SECONDS):
        path = f"/jobs/{answer.json()['id']}"
        while (job := (await client.get(path)).json())["state"] == "running":
            await asyncio.sleep(0.02)
    assert job["state"] == "succeeded", job
    return dict(job)


async def test_every_route(
    admin: httpx2.AsyncClient, app_service: DuckDBService, tmp_path: Path
) -> None:
    body = {"query": SQL, "params": PARAMS}
    assert_same((await admin.post("/query", json=body)).json()["data"][0])
    by_place = {"query": "SELECT " + ", ".join("?::JSON" for _ in VALUES), "params": VALUES}
    assert_same((await admin.post("/query", json=by_place)).json()["data"][0])
    lines = (await admin.post("/query?format=ndjson", json=body)).text.split("\n")
    assert_same(list(json.loads(lines[0]).values()))
    batch = (await admin.post("/batch", json={"queries": [body]})).json()
    assert_same(batch["results"][0]["data"][0])
    explained = await admin.post("/explain", json={**body, "analyze": True})
    assert explained.status_code == 200, explained.text

    job = await ended(admin, await admin.post("/jobs", json=body))
    result = (await admin.get(f"/jobs/{job['id']}/result?format=json")).json()
    assert_same(result["data"][0])
    await ended(admin, await admin.post("/exports", json={**body, "format": "parquet"}))
    (file,) = (tmp_path / "exports").rglob("*.parquet")
    assert_same([json.loads(text) for text in pq.read_table(file).to_pylist()[0].values()])

    made = await admin.post("/query", json={"query": "CREATE TABLE kept (j JSON)"})
    assert made.status_code == 200
    for value in VALUES:
        row = {"query": "INSERT INTO kept VALUES ($j)", "params": {"j": value}}
        assert (await admin.post("/query", json=row)).status_code == 200
    kept = (await admin.post("/query", json={"query": "FROM kept"})).json()["data"]
    assert_same([row[0] for row in kept])

    rows = await app_service.execute_query(SQL, PARAMS)
    assert_same([json.loads(text) for text in rows.data[0]])


def test_the_client_sends_them_as_they_are() -> None:
    assert parameters(PARAMS) == PARAMS
    assert parameters(VALUES) == VALUES


async def test_lists_are_still_lists(admin: httpx2.AsyncClient) -> None:
    for value in ([1, 2, 3], ["a", None], [1, 2.5], [{"a": 1}, {"a": 2}]):
        body = {"query": "SELECT unnest($p)", "params": {"p": value}}
        assert [row[0] for row in (await admin.post("/query", json=body)).json()["data"]] == value
    body = {"query": "SELECT 2 IN $p, $q.a", "params": {"p": [1, 2], "q": {"a": [1]}}}
    assert (await admin.post("/query", json=body)).json()["data"] == [[True, [1]]]
