"""Files of the web: whole or not at all, and nothing of private addresses."""

from __future__ import annotations

import io
import random
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from chronoduck.storage import FetchError, fetch, shown_url, web
from tests.web_server import WebServer

DATA = random.Random(1).randbytes(3_000_000)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[WebServer]:
    monkeypatch.setattr(web.time, "sleep", lambda seconds: None)
    with WebServer({"/data": DATA}) as made:
        yield made


def fetched(url: str, **options: Any) -> bytes:
    into = io.BytesIO()
    fetch(url, into, **{"largest_bytes": 10_000_000, "allow_private": True, **options})
    return into.getvalue()


def test_a_file_comes_whole_and_its_progress_is_told(server: WebServer) -> None:
    told: list[tuple[int, int | None]] = []
    got = fetched(server.url("/data"), on_bytes=lambda done, total: told.append((done, total)))
    assert got == DATA
    assert told[-1] == (len(DATA), len(DATA))
    assert [done for done, _ in told] == sorted(done for done, _ in told)


def test_a_broken_connection_goes_on_where_it_was(server: WebServer) -> None:
    server.cuts = 3
    assert fetched(server.url("/data")) == DATA
    ranges = [headers.get("range") for _, headers in server.asked]
    assert ranges[0] is None
    assert None not in ranges[1:]
    assert len(ranges) == 4


@pytest.mark.parametrize("tells_total", [True, False])
def test_a_part_that_is_shorter_than_asked_for_is_not_the_whole(
    server: WebServer, tells_total: bool
) -> None:
    server.cuts, server.part_bytes, server.tells_total = 1, 300_000, tells_total
    with pytest.raises(FetchError, match="5 times"):  # 4 more parts of 300,000 are not enough
        fetched(server.url("/data"))
    server.cuts, server.part_bytes = 1, 700_000
    assert fetched(server.url("/data")) == DATA


def test_a_file_that_changed_meanwhile_or_has_no_version_is_taken_anew(server: WebServer) -> None:
    server.cuts, server.has_tags = 2, False
    assert fetched(server.url("/data")) == DATA
    other = DATA[::-1]

    def change(done: int, total: int | None) -> None:
        server.files["/data"] = other

    server.cuts, server.has_tags = 1, True
    assert fetched(server.url("/data"), on_bytes=change) == other


def test_a_file_that_never_comes_whole_is_an_error(server: WebServer) -> None:
    server.cuts = 99
    with pytest.raises(FetchError, match="5 times"):
        fetched(server.url("/data"))


def test_a_busy_server_is_asked_again(server: WebServer) -> None:
    server.busy = 3
    assert fetched(server.url("/data")) == DATA
    server.busy = 99
    with pytest.raises(FetchError, match="the server is busy, 5 times"):
        fetched(server.url("/data"))


@pytest.mark.parametrize("has_length", [True, False])
def test_no_more_than_may_be_is_taken(server: WebServer, has_length: bool) -> None:
    server.has_length = has_length
    assert fetched(server.url("/data"), largest_bytes=len(DATA)) == DATA
    into = io.BytesIO()
    with pytest.raises(FetchError, match="has more than"):
        fetch(server.url("/data"), into, largest_bytes=1_000_000, allow_private=True)
    assert len(into.getvalue()) <= 1_000_000


def test_what_is_not_there_is_told_without_what_may_be_secret(server: WebServer) -> None:
    url = server.url("/nothing?token=secret").replace("//", "//ann:secret@")
    with pytest.raises(FetchError, match="404") as caught:
        fetched(url)
    assert "secret" not in caught.value.detail
    for hidden in (
        "https://ann:secret@example.com/x?sig=secret#secret",
        "s3://KEY:secret@bucket/x?secret",
        "http://u:secret@[::1/x",
        "http://u:secret@/",
    ):
        assert "secret" not in shown_url(hidden)


def test_redirects_are_followed_and_their_circles_told(server: WebServer) -> None:
    server.redirects = {"/a": "/b", "/b": server.url("/data"), "/c": "/c"}
    assert fetched(server.url("/a")) == DATA
    with pytest.raises(FetchError, match="redirect"):
        fetched(server.url("/c"))


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/x", "gopher://x/"])
def test_a_redirect_leads_to_no_other_scheme(server: WebServer, target: str) -> None:
    server.redirects = {"/a": target}
    with pytest.raises(FetchError):
        fetched(server.url("/a"))


PRIVATE = [
    *("127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "0.0.0.0", "localhost"),
    *("10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "198.18.0.1"),
    *("192.0.0.1", "224.0.0.1", "255.255.255.255", "[::1]", "[::]", "[::ffff:127.0.0.1]"),
    *("[::ffff:7f00:1]", "[fe80::1]", "[fc00::1]", "[fd00:ec2::254]", "[ff02::1]"),
    *("[2002:7f00:1::]", "[64:ff9b::7f00:1]", "[64:ff9b::a9fe:a9fe]", "[2001:0:7f00:1::]"),
    *("192.0.0.192", "192.0.0.8", "168.63.129.16", "192.88.99.1", "[::169.254.169.254]"),
    *("[64:ff9b:1::a9fe:a9fe]", "[fec0::1]", "[64:ff9b::192.0.0.192]", "[::ffff:168.63.129.16]"),
]


@pytest.mark.parametrize("host", PRIVATE)
def test_private_addresses_are_not_asked_however_they_are_written(host: str) -> None:
    with pytest.raises(FetchError, match=r"private address|no address|Invalid IPv4 address"):
        fetched(f"http://{host}:1/x", allow_private=False)


@pytest.mark.parametrize("text", ["1.1.1.1", "93.184.216.34", "2606:2800:220:1::1"])
def test_public_addresses_are(text: str) -> None:
    assert web._is_public(text)


def test_a_redirect_from_a_public_to_a_private_address_is_not_followed(
    server: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web, "_is_public", lambda text: text == "127.0.0.2")
    assert fetched(server.url("/data", "127.0.0.2"), allow_private=False) == DATA
    server.redirects = {"/a": server.url("/data", "127.0.0.1")}
    before = len(server.asked)
    with pytest.raises(FetchError, match=r"127\.0\.0\.1 is at a private address"):
        fetched(server.url("/a", "127.0.0.2"), allow_private=False)
    assert len(server.asked) == before + 1


def test_the_address_that_was_checked_is_the_one_that_is_asked(
    server: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter(["127.0.0.2", "127.0.0.1"])
    real = socket.getaddrinfo

    def rebinding(host: Any, port: Any, *args: Any, **options: Any) -> Any:
        name = next(answers) if host == "rebinding.test" else host
        return real(name, port, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    monkeypatch.setattr(web, "_is_public", lambda text: text == "127.0.0.2")
    assert fetched(server.url("/data", "rebinding.test"), allow_private=False) == DATA
    assert server.asked[-1][1]["host"] == f"rebinding.test:{server.port}"
    with pytest.raises(FetchError, match="private"):
        fetched(server.url("/data", "rebinding.test"), allow_private=False)


def test_one_private_address_among_public_ones_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (a, 80)) for a in ("1.1.1.1", "10.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **options: found)
    with pytest.raises(FetchError, match="private"):
        fetched("http://mixed.test/x", allow_private=False)


def test_proxies_of_the_environment_are_not_asked(
    server: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    assert fetched(server.url("/data")) == DATA
