"""Captures over HTTP: rekeyed by an admin's job, and small bodies of rows compared with what is there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx2

from chronoduck.principals import Role

OLD = """
INSERT INTO pages_analytics (url, urlkey, domain, tld, captured_at, digest) VALUES
    ('http://www2.example.org/a/', 'org,example,www2)/a/', 'www2.example.org', 'org', TIMESTAMP '2020-01-02', 'sha1:D1')
"""  # noqa: E501
LINE = "org,example)/a 20200102 http://www2.example.org/a/ text/html 200 D1 1\n"


async def load(client: httpx2.AsyncClient, body: str, type_: str) -> dict[str, Any]:
    response = await client.post(
        "/tables/pages_analytics/rows", content=body.encode(), headers={"Content-Type": type_}
    )
    assert response.status_code == 200, response.text
    done: dict[str, Any] = httpx2.Response(200, text=response.text.splitlines()[-1]).json()
    assert done["event"] == "done", done
    return done


async def test_an_admin_rekeys_what_earlier_versions_loaded(
    admin: httpx2.AsyncClient, log_in: Callable[..., httpx2.AsyncClient]
) -> None:
    await load(admin, LINE, "application/x-cdx")
    response = await admin.post("/query", json={"query": OLD})
    assert response.status_code == 200, response.text
    assert (await log_in("ann", Role.WRITER).post("/captures/rekey")).status_code == 403
    job = (await admin.post("/captures/rekey")).json()
    while job["state"] == "running":
        await asyncio.sleep(0.05)
        job = (await admin.get(f"/jobs/{job['id']}")).json()
    assert job["result"] == {"rows": 2, "changed": 1, "merged": 1, "doubles_left": 0}
    assert (await load(admin, LINE, "application/x-cdx"))["duplicates"] == 1

    # Small bodies of rows, which else share a transaction with others, are compared, too.
    row = '{"url":"http://www2.example.org/a/","captured_at":"2020-01-02","digest":"sha1:D1"}'
    done = await load(admin, row, "application/x-ndjson")
    assert (done["rows_added"], done["duplicates"]) == (0, 1)


async def test_known_dirt_is_repaired_on_request(admin: httpx2.AsyncClient) -> None:
    text = " CDX N b a s\norg,example)/ 20210231000000 http://example.org/ 200\nbad line\n"
    url = "/tables/pages_analytics/rows?on_error=repair"
    lines = (await admin.post(url, content=text.encode())).text.splitlines()
    done = httpx2.Response(200, text=lines[-1]).json()
    assert (done["rows_added"], done["repaired"], done["rejected"]) == (1, 1, 1)
    refused = await admin.post("/tables/t/rows?on_error=repair&format=csv", content=b"a\n1\n")
    assert "captures alone" in refused.text
