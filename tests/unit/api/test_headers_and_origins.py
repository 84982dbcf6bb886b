"""What answers tell browsers, whose pages may ask, and who the client is behind a proxy."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
from fastapi import Request

from chronoduck.api import create_app
from chronoduck.api.proxies import TrustedProxies
from chronoduck.assembly import DuckDBService
from chronoduck.errors import SettingsError
from chronoduck.settings import Settings, TransportSettings, load_settings

API = "/api/v1/duckdb"
EXPECTED = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
}


@asynccontextmanager
async def asking(
    settings: Settings, peer: str = "192.0.2.9", **options: Any
) -> AsyncIterator[httpx2.AsyncClient]:
    """Yield a client of an application whose ``/client`` tells who it takes the client for."""
    app = create_app(DuckDBService(settings))

    @app.get("/client")
    async def client(request: Request) -> list[str]:
        assert request.client is not None
        return [request.client.host, request.url.scheme]

    @app.get("/fault")
    async def fault() -> None:
        raise ZeroDivisionError

    transport = httpx2.ASGITransport(app, raise_app_exceptions=False, client=(peer, 1))
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=transport, base_url="http://test", **options) as client_of_app,
    ):
        token = settings.token_path.read_text().strip()
        client_of_app.headers["Authorization"] = f"Bearer {token}"
        yield client_of_app


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", f"{API}/health", 200),
        ("HEAD", f"{API}/health/live", 200),
        ("POST", f"{API}/query", 200),
        ("POST", f"{API}/query?stream", 200),
        ("POST", f"{API}/query?wrong", 422),
        ("GET", f"{API}/tables/none", 404),
        ("GET", "/elsewhere", 404),
        ("DELETE", f"{API}/query", 405),
        ("TRACE", f"{API}/query", 405),
        ("PROPFIND", "/", 405),
        ("GET", "/openapi.json", 200),
        ("GET", "/fault", 500),
    ],
)
async def test_every_answer_has_the_headers_for_browsers(
    settings: Settings, method: str, path: str, status: int
) -> None:
    bodies = {
        f"{API}/query": {"query": "SELECT 1"},
        f"{API}/query?stream": {"query": "FROM range(2000000)", "max_rows": 2_000_000},
    }
    async with asking(settings) as client:
        answer = await client.request(method, path, json=bodies.get(path, {}))
    assert answer.status_code == status, answer.text
    assert {name: answer.headers.get(name) for name in EXPECTED} == EXPECTED
    assert answer.headers["x-request-id"]
    assert "server" not in answer.headers
    assert "strict-transport-security" not in answer.headers
    assert not {name for name in answer.headers if name.startswith("access-control")}


async def test_the_page_of_the_docs_allows_its_own_script_alone(settings: Settings) -> None:
    async with asking(settings) as client:
        page = await client.get("/docs/api/duckdb")
        policy = page.headers["content-security-policy"]
        scripts = re.findall(r"<script>(.*?)</script>", page.text, re.DOTALL)
        assert len(scripts) == 1
        digest = base64.b64encode(hashlib.sha256(scripts[0].encode()).digest()).decode()
        assert f"script-src 'self' 'sha256-{digest}';" in policy
        assert "default-src 'none'" in policy
        for file in re.findall(r'(?:src|href)="(/static[^"]+)"', page.text):
            assert (await client.get(file)).status_code == 200


@pytest.mark.parametrize("path", [f"{API}/tables/", f"{API}/health/", "/docs/api/duckdb/"])
async def test_nothing_is_built_from_the_host_header(settings: Settings, path: str) -> None:
    async with asking(settings) as client:
        answer = await client.get(path, headers={"Host": "evil.example"})
    assert "evil.example" not in answer.text + str(answer.headers)
    assert answer.status_code == 404


async def test_origins_are_closed_until_they_are_listed(
    make_settings: Callable[..., Settings],
) -> None:
    listed = TransportSettings(cors_origins="https://pages.example.org,http://localhost:3000")
    preflight = {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    async with asking(make_settings(transport=listed)) as client:
        for origin in listed.cors_origins:
            headers = {"Origin": origin}
            asked = await client.options(f"{API}/query", headers=headers | preflight)
            assert asked.status_code == 200
            assert asked.headers["access-control-allow-origin"] == origin
            assert asked.headers["x-content-type-options"] == "nosniff"
            done = await client.post(f"{API}/query", json={"query": "SELECT 1"}, headers=headers)
            assert done.headers["access-control-allow-origin"] == origin
            assert "access-control-allow-credentials" not in done.headers
        for origin in ("https://evil.example", "https://pages.example.org.evil.example", "null"):
            headers = {"Origin": origin}
            asked = await client.options(f"{API}/query", headers=headers | preflight)
            assert "access-control-allow-origin" not in asked.headers
            done = await client.post(f"{API}/query", json={"query": "SELECT 1"}, headers=headers)
            assert "access-control-allow-origin" not in done.headers


@pytest.mark.parametrize("origin", ["*", "pages.example.org", "https://a.example/", "https://*.a"])
def test_what_is_no_origin_is_refused(monkeypatch: pytest.MonkeyPatch, origin: str) -> None:
    monkeypatch.setenv("DUCKDB_CORS_ORIGINS", origin)
    with pytest.raises(SettingsError, match="DUCKDB_CORS_ORIGINS"):
        load_settings()


@pytest.mark.parametrize(
    ("peer", "chain", "client"),
    [
        ("192.0.2.9", ["203.0.113.7"], "192.0.2.9"),  # not trusted: what it says is nothing
        ("10.0.0.5", [], "10.0.0.5"),
        ("10.0.0.5", ["203.0.113.7"], "203.0.113.7"),
        ("10.0.0.5", ["1.1.1.1, 203.0.113.7"], "203.0.113.7"),  # the first one is the client's word
        ("10.0.0.5", ["1.1.1.1", "203.0.113.7, 10.0.0.6"], "203.0.113.7"),
        ("10.0.0.5", ["203.0.113.7, rubbish, 10.0.0.6"], "10.0.0.6"),
        ("10.0.0.5", ["rubbish"], "10.0.0.5"),
        ("10.0.0.5", ["203.0.113.7:4711"], "203.0.113.7"),
        ("10.0.0.5", ["[2001:db8::1]:4711"], "2001:db8::1"),
        ("10.0.0.5", ["10.0.0.6, 10.0.0.7"], "10.0.0.6"),
        ("::ffff:10.0.0.5", ["203.0.113.7"], "203.0.113.7"),
        ("2001:db8:1::5", ["203.0.113.7"], "203.0.113.7"),
        ("unix", ["203.0.113.7"], "unix"),
    ],
)
def test_the_chain_of_proxies_is_believed_as_far_as_they_wrote_it(
    peer: str, chain: list[str], client: str
) -> None:
    assert TrustedProxies(["10.0.0.0/24", "2001:db8:1::/48"]).client(peer, chain) == client


@pytest.mark.parametrize(
    ("peer", "seen"),
    [("10.0.0.5", ["203.0.113.7", "https"]), ("192.0.2.9", ["192.0.2.9", "http"])],
)
async def test_only_a_trusted_proxy_says_who_asks_and_how(
    make_settings: Callable[..., Settings], peer: str, seen: list[str]
) -> None:
    transport = TransportSettings(trusted_proxies="10.0.0.0/24")
    forwarded = {"X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "http, https"}
    async with asking(make_settings(transport=transport), peer) as client:
        answer = await client.get("/client", headers=forwarded)
    assert answer.json() == seen
    assert ("strict-transport-security" in answer.headers) == (seen[1] == "https")


@pytest.mark.parametrize("value", ["proxy.example", "10.0.0.1/8", "10.0.0.300", "*"])
def test_what_is_no_network_is_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("DUCKDB_TRUSTED_PROXIES", value)
    with pytest.raises(SettingsError, match="DUCKDB_TRUSTED_PROXIES"):
        load_settings()


@pytest.mark.parametrize("peer", ["10.0.0.5", "192.0.2.9"])
async def test_guesses_are_counted_against_the_client_behind_a_trusted_proxy_alone(
    make_settings: Callable[..., Settings], peer: str
) -> None:
    """A proxy's other clients go on; one who only says that it is a proxy gets no fresh count."""
    transport = TransportSettings(trusted_proxies="10.0.0.5")
    async with asking(make_settings(transport=transport), peer) as client:
        wrong = {"Authorization": "Bearer wrong"}

        async def guess(number: int) -> int:
            said = {"X-Forwarded-For": f"1.1.1.1, 203.0.113.{number}"}
            return (await client.get(f"{API}/tables", headers=wrong | said)).status_code

        assert {await guess(7) for _ in range(9)} == {401}
        await guess(7)
        assert await guess(7) == 429
        assert await guess(8) == (401 if peer == "10.0.0.5" else 429)
