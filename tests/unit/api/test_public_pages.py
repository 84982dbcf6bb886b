"""Pages for anybody are made once for all who ask together, and after a few once a second."""

from __future__ import annotations

import asyncio

import httpx2
import pytest
from fastapi import Response

from chronoduck.api.public_pages import PublicPages


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


async def test_a_flood_makes_a_page_once_a_second() -> None:
    clock, made = Clock(), 0

    async def make() -> Response:
        nonlocal made
        made += 1
        await asyncio.sleep(0)
        return Response(f"{made}", 503, {"X-Number": str(made)}, "text/plain")

    pages = PublicPages(clock)
    for second in range(30):
        for _ in range(20):
            answers = await asyncio.gather(*(pages.get("health", make) for _ in range(10)))
            assert len({bytes(answer.body) for answer in answers}) == 1
        assert made <= 11 + second
        clock.now += 1
    assert made >= 30
    answer = await pages.get("health", make)
    assert (answer.status_code, answer.headers["x-number"]) == (503, bytes(answer.body).decode())
    assert (await pages.get("other", make)) is not answer


async def test_a_failure_is_told_to_all_who_wait_and_is_not_kept() -> None:
    pages, fails = PublicPages(), True

    async def make() -> Response:
        await asyncio.sleep(0)
        if fails:
            raise OSError("the disk")
        return Response("well")

    found = await asyncio.gather(*(pages.get("x", make) for _ in range(3)), return_exceptions=True)
    assert [type(each) for each in found] == [OSError] * 3
    fails = False
    assert (await pages.get("x", make)).body == b"well"


async def test_one_that_leaves_does_not_take_the_page_from_the_others() -> None:
    pages, go = PublicPages(), asyncio.Event()

    async def make() -> Response:
        await go.wait()
        return Response("well")

    first = asyncio.create_task(pages.get("x", make))
    second = asyncio.create_task(pages.get("x", make))
    await asyncio.sleep(0)
    first.cancel()
    go.set()
    assert (await second).body == b"well"
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_names_without_number_are_not_kept() -> None:
    pages = PublicPages()

    async def make() -> Response:
        return Response("x")

    for number in range(1000):
        await pages.get(f"metrics {number}", make)
    assert len(pages._pages) <= 32


async def test_public_routes_answer_the_page_of_this_second(public: httpx2.AsyncClient) -> None:
    root = httpx2.AsyncClient(transport=public._transport, base_url="http://test")
    for client, path in (
        (root, "/metrics"),
        (root, "/openapi.json"),
        (public, "/health"),
        (public, "/health/ready"),
        (public, "/statistics"),
        (public, "/templates/performance-metrics"),
    ):
        answers = await asyncio.gather(*(client.get(path) for _ in range(30)))
        assert {answer.status_code for answer in answers} == {200}, path
        assert len({answer.content for answer in answers}) <= 11, path
        assert len({answer.headers["content-type"] for answer in answers}) == 1
    text = await root.get("/metrics")
    other = await root.get("/metrics", headers={"Accept": "application/openmetrics-text"})
    assert "openmetrics" not in text.headers["content-type"]
    assert "openmetrics" in other.headers["content-type"]
