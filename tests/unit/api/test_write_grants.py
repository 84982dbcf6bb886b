"""A writer with grants changes what was granted and nothing else, by whatever route."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import quote

import httpx2
import pytest

from chronoduck.assembly import DuckDBService
from chronoduck.settings import Settings
from tests.write_corpus import SETUP

Post = Callable[..., Awaitable[httpx2.Response]]


async def make_key(public: httpx2.AsyncClient, settings: Settings, **wish: object) -> Post:
    """Issue a writer's key and return what posts with it."""
    token = settings.token_path.read_text().strip()
    response = await public.post(
        "/keys",
        json={"name": f"writer-{time.monotonic_ns()}", "role": "writer", **wish},
        headers={"Authorization": f"Bearer {token}"},
    )
    assert response.status_code == 201, response.text
    headers = {"Authorization": f"Bearer {response.json()['key']}"}

    async def post(path: str, *, is_get: bool = False, **body: Any) -> httpx2.Response:
        sent = {**headers, **body.pop("headers", {})}
        return await public.request("GET" if is_get else "POST", path, headers=sent, **body)

    return post


@pytest.fixture
async def scoped(
    public: httpx2.AsyncClient, app_service: DuckDBService, settings: Settings
) -> Post:
    for statement in SETUP.split(";\n"):
        await app_service.execute_query(statement)
    return await make_key(public, settings, write=["anna", "main.notes"])


async def test_every_route_obeys(scoped: Post, app_service: DuckDBService) -> None:
    kept = "SELECT * FROM secret ORDER BY ALL"
    before = (await app_service.execute_query(kept)).data
    mine, other = "INSERT INTO anna.mine VALUES (3, 'x')", "INSERT INTO secret VALUES (3, 'x')"
    response = await scoped("/query", json={"query": mine})
    assert response.status_code == 200, response.text
    ddl = await scoped("/query", json={"query": "DROP TABLE secret"})
    answers = [
        ddl,
        await scoped("/query", json={"query": other}),
        await scoped("/query?format=csv", json={"query": other}),
        await scoped("/batch", json={"queries": ["SELECT 1", other]}),
        await scoped("/batch", json={"queries": ["SELECT 1", other], "use_transaction": False}),
    ]
    for response in answers:
        assert response.status_code in (400, 403), response.text  # 400: a statement of a batch
        assert response.json()["rule"] == "write-scope"
    assert (await app_service.execute_query(kept)).data == before
    assert (await scoped("/me", is_get=True)).json()["write"] == ["anna", "main.notes"]


async def test_loads_reach_what_is_granted(scoped: Post, app_service: DuckDBService) -> None:
    rows = b'{"a": 5, "b": "five"}\n'
    headers = {"Content-Type": "application/x-ndjson"}
    kept = "SELECT * FROM secret, bob.his, mine ORDER BY ALL"
    before = (await app_service.execute_query(kept)).data
    for table in ("secret", "main.secret", "bob.his", "mine", "anna", "bob.fresh", '"anna.mine"'):
        for query in ("", "?mode=replace"):
            path = f"/tables/{quote(table)}/rows{query}"
            response = await scoped(path, content=rows, headers=headers)
            assert response.status_code == 403, (table, query, response.text)
            assert response.json()["rule"] == "write-scope"
    assert (await app_service.execute_query(kept)).data == before
    for table in ("anna.mine", "anna.fresh", "notes", "main.notes"):
        response = await scoped(f"/tables/{table}/rows", content=rows, headers=headers)
        assert response.status_code == 200, (table, response.text)


async def test_captures_are_added_by_loads_alone(
    public: httpx2.AsyncClient, app_service: DuckDBService, settings: Settings
) -> None:
    post = await make_key(public, settings)
    capture = b"org,a)/ 20240101000000 https://a.org/ text/html 200 ABC 10\n"
    for table in ("pages", "user_metrics"):  # nobody takes their names before the product does
        body = b'{"a": 1}\n'
        response = await post(
            f"/tables/{table}/rows",
            content=body,
            headers={"Content-Type": "application/x-ndjson"},
        )
        assert "there is no table" in response.text, response.text
    headers = {"Content-Type": "application/x-cdx"}
    response = await post("/tables/pages_analytics/rows", content=capture, headers=headers)
    assert response.status_code == 200, response.text
    everything = "SELECT count(*), max(url) FROM pages_analytics"
    before = (await app_service.execute_query(everything)).data
    response = await post("/query", json={"query": "DROP TABLE pages_analytics"})
    assert (response.status_code, response.json()["rule"]) == (403, "product-tables")
    assert "chronoduck load" in response.json()["hint"]
    for query in ("?mode=replace", "?mode=upsert&key=url"):
        response = await post(
            f"/tables/pages_analytics/rows{query}",
            content=b'{"url": "x"}\n',
            headers={"Content-Type": "application/x-ndjson"},
        )
        assert response.json().get("rule") == "product-tables", response.text
    assert (await app_service.execute_query(everything)).data == before


@pytest.mark.parametrize(
    "wish",
    [
        {"role": "analyst", "write": ["anna"]},
        {"role": "admin", "write": ["anna"]},
        {"write": []},
        {"write": ["a.b.c"]},
        {"write": [""]},
        {"write": ["temp"]},
        {"write": ["_chronoduck.x"]},
        {"write": ["x\u0000"]},
        {"write": ["anna"], "schemas": ["anna"]},
        {"limits": {"max_rows": 2**63}},
    ],
    ids=str,
)
async def test_grants_that_cannot_be_kept(
    public: httpx2.AsyncClient, settings: Settings, wish: dict[str, object]
) -> None:
    with pytest.raises(AssertionError, match="invalid_request"):
        await make_key(public, settings, **wish)


@pytest.mark.parametrize("name", ["test", "TEST", "test.notes", '"test"', "test.main"])
async def test_the_database_is_no_schema_that_can_be_granted(
    admin: httpx2.AsyncClient, name: str
) -> None:
    wish = {"name": "w", "role": "writer", "write": ["anna", name]}
    answer = await admin.post("/keys", json=wish)
    assert answer.status_code == 422, answer.text
    assert "is the database itself" in answer.json()["detail"]
    assert "schema" in answer.json()["hint"]


async def test_who_asks_for_a_writer_of_some_tables_learns_of_write(
    admin: httpx2.AsyncClient,
) -> None:
    wish = {"name": "w", "role": "writer", "tables": [{"name": "notes"}]}
    answer = await admin.post("/keys", json=wish)
    assert answer.status_code == 422, answer.text
    assert "--write" in answer.json()["hint"]
