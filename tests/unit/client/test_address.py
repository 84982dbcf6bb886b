"""A wrong address is said at once, by both clients."""

from __future__ import annotations

import pytest

from chronoduck.client import AsyncClient, Client, Retries
from chronoduck.client.problems import NobodyThereError
from chronoduck.errors import InvalidRequestError
from tests.server import free_port


@pytest.mark.parametrize(
    "url",
    ["127.0.0.1:8000", "localhost", "ftp://host", "http://", "http://host:port", "://x", "/x"],
)
def test_what_is_no_address_of_a_service(url: str) -> None:
    with pytest.raises(InvalidRequestError, match="is not the address of a service"):
        Client(url)
    with pytest.raises(InvalidRequestError):
        AsyncClient(url)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8000", "https://host/prefix/", "HTTP://[::1]:8000", "http://hôst"]
)
def test_what_is_one(url: str) -> None:
    Client(url).close()


async def test_nobody_is_asked_twice_where_nobody_is(monkeypatch: pytest.MonkeyPatch) -> None:
    retries = Retries(first_seconds=1_000_000, cap_seconds=1_000_000, total_seconds=1e9)
    url = f"http://127.0.0.1:{free_port()}"
    with Client(url, retries=retries) as client, pytest.raises(NobodyThereError):
        client.query("SELECT 1")
    with (
        Client(url, retries=retries) as client,
        pytest.raises(NobodyThereError),
        client.stream("SELECT 1"),
    ):
        pass
    async with AsyncClient(url, retries=retries) as client:
        with pytest.raises(NobodyThereError):
            await client.query("SELECT 1")
