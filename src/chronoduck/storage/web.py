"""Files of the web: fetched whole or not at all, and from public addresses only, unless told otherwise.

A URL may come from anybody. What it must not do is make this process ask machines that only this
process reaches: the address that is connected to is the one that was checked, at every redirect.
"""

from __future__ import annotations

import ipaddress
import random
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO

import httpx2

from chronoduck.errors import DuckDBException
from chronoduck.resilience.backoff import Backoff
from chronoduck.units import format_bytes

__all__ = ["FetchError", "fetch", "shown_url"]

_TRIES = 5
_REDIRECTS = 10
_SECONDS = httpx2.Timeout(30.0)
"""Of each connect and of each pause between two pieces; the whole may take as long as it does."""
_AGAIN = {408, 425, 429, 500, 502, 503, 504}
_LONGEST_WAIT_SECONDS = 60.0
_TRANSLATED = tuple(map(ipaddress.IPv6Network, ("64:ff9b::/96", "::/96")))
"""Of NAT64, and of IPv4-compatible addresses: the last 32 bits are an IPv4 address."""
_NOT_PUBLIC = tuple(
    map(
        ipaddress.ip_network,
        (
            "168.63.129.16/32",  # Azure's machines ask their host there
            "192.0.0.0/24",  # of protocols; Oracle's machines ask their host there
            "192.88.99.0/24",  # relays of 6to4, no more in use
            "64:ff9b:1::/48",  # NAT64 of one network
            "fec0::/10",  # site-local, before fc00::/7
        ),
    )
)
"""What older Python's ``is_global`` takes for public, or what is, and yet answers this machine alone."""
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_LONGEST_NUMBER = 19
OnBytes = Callable[[int, int | None], None]
"""Is told how many bytes are there, and of how many if that is known."""


class FetchError(DuckDBException):
    """A file cannot be fetched."""

    code = "fetch_failed"
    title = "A file cannot be fetched"
    http_status = 422
    exit_code = 69


def shown_url(url: str) -> str:
    """Return a URL without what may be secret: user, password, query and fragment."""
    scheme, separator, rest = url.partition("://")
    rest, _, query = rest.partition("#")[0].partition("?")
    server, slash, path = rest.partition("/")
    return f"{scheme}{separator}{server.rpartition('@')[2]}{slash}{path}{'?…' if query else ''}"


def fetch(
    url: str,
    into: IO[bytes],
    *,
    largest_bytes: int,
    allow_private: bool = False,
    on_bytes: OnBytes = lambda done, total: None,
) -> None:
    """Write the file at an ``http`` or ``https`` URL, as it is sent, at the beginning of ``into``.

    A connection that breaks is made again, and goes on where it was if the server can do that and
    the file is still the same. Proxies of the environment are not used.

    Raises:
        FetchError: it cannot be had, is larger, is not complete, or is at a private address.
    """
    transport = _CheckedTransport(allow_private=allow_private)
    with httpx2.Client(
        transport=transport,
        timeout=_SECONDS,
        follow_redirects=True,
        max_redirects=_REDIRECTS,
        trust_env=False,
        headers={"Accept-Encoding": "identity", "User-Agent": "chronoduck"},
    ) as client:
        _Fetch(client, url, into, largest_bytes, on_bytes).run()


@dataclass
class _Fetch:
    client: httpx2.Client
    url: str
    into: IO[bytes]
    largest_bytes: int
    on_bytes: OnBytes
    done: int = 0
    total: int | None = None
    validator: str = ""
    """Of the file that the bytes are of; empty if the server cannot say that it is still the same."""

    def __post_init__(self) -> None:
        self.shown = shown_url(self.url)
        self._backoff = Backoff(0.5, 10.0, 0.2, random.random)

    def run(self) -> None:
        for attempt in range(_TRIES):
            try:
                wait = self._try_once()
            except httpx2.TransportError as error:
                wait, reason = 0.0, str(error) or type(error).__name__
            except (httpx2.TooManyRedirects, httpx2.InvalidURL, httpx2.DecodingError) as error:
                raise FetchError(f"{self.shown} cannot be fetched: {error}") from error
            else:
                if wait is None:
                    return
                reason = "the server is busy"
            if attempt + 1 < _TRIES:
                pause = max(wait, self._backoff.wait_seconds(attempt))
                time.sleep(min(pause, _LONGEST_WAIT_SECONDS))
        raise FetchError(
            f"{self.shown} cannot be fetched: {reason}, {_TRIES} times",
            hint="Nothing of it was loaded. Try again later, or fetch it yourself and load the file.",
        )

    def _try_once(self) -> float | None:
        """Return None when the file is there, else the seconds that the server wants."""
        headers = {}
        if self.done and self.validator:
            headers = {"Range": f"bytes={self.done}-", "If-Range": self.validator}
        with self.client.stream("GET", self.url, headers=headers) as answer:
            if answer.status_code in _AGAIN:
                after = answer.headers.get("retry-after", "")
                return float(_number(after) or 0)
            if answer.status_code not in (200, 206):
                raise FetchError(
                    f"{self.shown} cannot be fetched: the server says {answer.status_code} "
                    f"{answer.reason_phrase}".rstrip(),
                    hint="Check the address, and whether it needs a password or a token.",
                )
            self._take(answer)
        return None

    def _take(self, answer: httpx2.Response) -> None:
        if answer.status_code == 200:
            self.done = 0
            self.total = _number(answer.headers.get("content-length", ""))
        else:
            part = _part(answer.headers.get("content-range", ""))
            if part is None or part[0] != self.done:
                raise FetchError(
                    f"{self.shown} cannot be fetched: the server sent another part of it"
                )
            self.total = self.total if part[1] is None else part[1]
        self.into.seek(self.done)
        self.into.truncate()
        self._check_size(self.total or 0)
        etag = answer.headers.get("etag", "")
        self.validator = etag if etag.startswith('"') else answer.headers.get("last-modified", "")
        for piece in answer.iter_raw():
            self._check_size(self.done + len(piece))
            self.into.write(piece)
            self.done += len(piece)
            self.on_bytes(self.done, self.total)
        if self.total is not None and self.done != self.total:
            # A part may be shorter than what was asked for.
            raise httpx2.RemoteProtocolError(f"{self.done} of {self.total} bytes came")

    def _check_size(self, size: int) -> None:
        if size > self.largest_bytes:
            raise FetchError(
                f"{self.shown} has more than {format_bytes(self.largest_bytes)}",
                hint="Nothing of it was loaded. Raise DUCKDB_MAX_UPLOAD_SIZE if it may be so large.",
            )


def _number(text: str) -> int | None:
    """Return the number that a header writes; None: it writes none that a file could have."""
    is_number = text.isascii() and text.isdecimal() and len(text) <= _LONGEST_NUMBER
    return int(text) if is_number else None


def _part(text: str) -> tuple[int, int | None] | None:
    """Return the first byte and the whole's size (None: not known) of ``bytes 5-9/10``; None: of none."""
    unit, _, rest = text.partition(" ")
    first, _, rest = rest.partition("-")
    last, slash, whole = rest.partition("/")
    begin, end, total = _number(first), _number(last), _number(whole)
    if unit != "bytes" or begin is None or end is None or not slash:
        return None
    return (begin, total) if total is not None or whole == "*" else None


class _CheckedTransport(httpx2.HTTPTransport):
    """Connects to an address that was checked, whatever the name means a moment later."""

    def __init__(self, *, allow_private: bool) -> None:
        # A connection belongs to one name: two names of one address must not share it.
        super().__init__(limits=httpx2.Limits(max_keepalive_connections=0))
        self._allow_private = allow_private

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send it."""
        url = request.url
        if url.scheme not in ("http", "https") or not url.host:
            raise FetchError(
                f"{shown_url(str(url))} is not fetched", hint="URLs are http, https or s3."
            )
        port = url.port or (443 if url.scheme == "https" else 80)
        address = _address_of(url.host, port, allow_private=self._allow_private)
        return super().handle_request(
            httpx2.Request(
                request.method,
                url.copy_with(host=address),
                headers=request.headers,
                stream=request.stream,
                extensions={**request.extensions, "sni_hostname": url.host},
            )
        )


def _address_of(host: str, port: int, *, allow_private: bool) -> str:
    """Return one address of a host, after a look at all of them."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise FetchError(
            f"there is no address for {host}", hint="Check its spelling, and the name service."
        ) from error
    addresses = [str(each[4][0]).partition("%")[0] for each in found]
    if not allow_private and not all(_is_public(each) for each in addresses):
        raise FetchError(
            f"{host} is at a private address, and such are not asked",
            hint="If you trust the URL: --allow-private.",
        )
    return addresses[0]


def _is_public(text: str) -> bool:
    """Whether anybody could reach an address, and those that are written inside of it."""
    address = ipaddress.ip_address(text)
    return all(
        each.is_global and not each.is_multicast and not any(each in net for net in _NOT_PUBLIC)
        for each in (address, *_inner(address))
    )


def _inner(address: Address) -> list[Address]:
    """Return the IPv4 addresses to which others translate this one."""
    if isinstance(address, ipaddress.IPv4Address):
        return []
    inner: list[Address | None] = [address.ipv4_mapped, address.sixtofour]
    inner += address.teredo or ()
    if any(address in net for net in _TRANSLATED):
        inner.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return [each for each in inner if each is not None]
