"""Who the client is when proxies stand before us: ``X-Forwarded-*``, believed only from them."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from functools import lru_cache

from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["ForwardedMiddleware", "TrustedProxies"]

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class TrustedProxies:
    """The addresses and networks that may say for whom they ask; ``host in proxies``."""

    def __init__(self, networks: Iterable[str]) -> None:
        self._networks = [ipaddress.ip_network(network) for network in networks]
        self._contains = lru_cache(maxsize=4096)(self._is_trusted)

    def __contains__(self, host: str) -> bool:
        return bool(self._networks) and self._contains(host)

    def _is_trusted(self, host: str) -> bool:
        address = _address(host)
        return address is not None and any(address in network for network in self._networks)

    def client(self, peer: str, forwarded: Iterable[str]) -> str:
        """Return the client's address: the last one in the chain that is none of ours.

        Every proxy appends whom it got the request from, so the chain is read from its end, and only
        as far as trusted proxies wrote it: what a client puts in front of it changes nothing. When it
        becomes unreadable the last address that was readable counts.
        """
        client = peer
        for item in reversed([part for value in forwarded for part in value.split(",")]):
            if client not in self:
                break
            address = _address(_without_port(item.strip()))
            if address is None:
                break
            client = str(address)
        return client


def _address(text: str) -> _Address | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _without_port(text: str) -> str:
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0] if text.count(":") == 1 else text


class ForwardedMiddleware:
    """Puts the client's own address and scheme into the scope when a trusted proxy tells them."""

    def __init__(self, app: ASGIApp, *, proxies: TrustedProxies) -> None:
        self._app = app
        self._proxies = proxies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Change the scope, and pass the request on."""
        if scope["type"] == "http" and scope["client"] and scope["client"][0] in self._proxies:
            peer = scope["client"][0]
            chain, schemes = [], []
            for name, value in scope["headers"]:
                if name == b"x-forwarded-for":
                    chain.append(value.decode("latin-1"))
                elif name == b"x-forwarded-proto":
                    schemes.append(value)
            client = self._proxies.client(peer, chain)
            if client != peer:
                scope["client"] = (client, 0)
            # The nearest proxy speaks last; of several schemes none but its own is known to be true.
            scheme = schemes[-1].rpartition(b",")[2].strip().lower() if schemes else b""
            if scheme in (b"http", b"https"):
                scope["scheme"] = scheme.decode()
        await self._app(scope, receive, send)
