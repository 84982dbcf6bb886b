"""JSON bodies: too large, too deep, compressed, and too many at a time."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Callable

import httpx2
import pytest

from chronoduck.api import create_app
from chronoduck.assembly import DuckDBService
from chronoduck.settings import Settings, TransportSettings
from tests.patience import PATIENCE_SECONDS

QUERY = "http://test/api/v1/duckdb/query"


@pytest.fixture
async def client(make_settings: Callable[..., Settings]) -> AsyncIterator[httpx2.AsyncClient]:
    limits = TransportSettings(http_body_memory=1_000_000, http_body_timeout=0.3)
    settings = make_settings(transport=limits)
    app = create_app(DuckDBService(settings))
    async with app.router.lifespan_context(app):
        token = settings.token_path.read_text().strip()
        async with httpx2.AsyncClient(
            transport=httpx2.ASGITransport(app),
            headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
        ) as made:
            yield made


@pytest.mark.parametrize("opening", ["[", '{"a":'])
async def test_json_that_is_10000_deep_is_422(client: httpx2.AsyncClient, opening: str) -> None:
    closing = {"[": "]"}.get(opening, "}")
    deep = opening * 10_000 + "1" + closing * 10_000
    for body in (deep, f'{{"query": "SELECT ?", "params": [{deep}]}}'):
        answer = await client.post(QUERY, content=body)
        assert answer.status_code == 422
        assert answer.json()["code"] == "invalid_request"


async def test_a_body_that_says_it_is_too_large_is_not_read(client: httpx2.AsyncClient) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"x"
        raise AssertionError("it was read on")

    answer = await client.post(QUERY, content=body(), headers={"Content-Length": "16000001"})
    assert answer.status_code == 413


@pytest.mark.parametrize("encoding", ["gzip", "zstd", "br", "gzip, identity"])
async def test_a_compressed_body_is_415(client: httpx2.AsyncClient, encoding: str) -> None:
    bomb = gzip.compress(b'{"query": "SELECT 1"}' + b" " * 10_000_000)
    answer = await client.post(QUERY, content=bomb, headers={"Content-Encoding": encoding})
    assert answer.status_code == 415
    assert answer.json()["code"] == "unsupported_encoding"


async def test_identity_is_no_compression(client: httpx2.AsyncClient) -> None:
    answer = await client.post(
        QUERY, content=b'{"query": "SELECT 1"}', headers={"Content-Encoding": "identity"}
    )
    assert answer.status_code == 200


async def test_large_bodies_share_their_memory_and_small_ones_need_none(
    client: httpx2.AsyncClient,
) -> None:
    holding, going_on = asyncio.Event(), asyncio.Event()

    async def large(pause: bool) -> AsyncIterator[bytes]:
        yield b'{"query": "SELECT 1"'
        yield b" " * 800_000
        if pause:
            holding.set()
            await going_on.wait()
        yield b"}"

    async with asyncio.timeout(PATIENCE_SECONDS):
        first = asyncio.create_task(client.post(QUERY, content=large(True)))
        await holding.wait()
        second = await client.post(QUERY, content=large(False))
        assert (second.status_code, second.json()["code"]) == (503, "body_memory")
        assert second.headers["retry-after"]
        assert (await client.post(QUERY, json={"query": "SELECT 1"})).status_code == 200
        going_on.set()
        assert (await first).status_code == 200
        assert (await client.post(QUERY, content=large(False))).status_code == 200


async def test_a_body_that_does_not_end_in_time_is_408(client: httpx2.AsyncClient) -> None:
    async def endless() -> AsyncIterator[bytes]:
        yield b'{"query": "SELECT 1"'
        await asyncio.Event().wait()

    answer = await client.post(QUERY, content=endless())
    assert (answer.status_code, answer.json()["code"]) == (408, "request_timeout")
