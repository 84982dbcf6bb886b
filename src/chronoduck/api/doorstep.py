"""Before a connection has a protocol: whether it is one too many of those that came within a second.

A connection that only opens and closes costs the service 50 us, half of that if it is turned away here
(`Newcomers`); and it takes no place among those that are counted and looked at.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from chronoduck.api.connection_guard import ConnectionGuard

__all__ = ["Doorstep"]


class Doorstep(asyncio.Protocol):
    """Takes one connection, and hands it to the protocol behind if it is not one too many."""

    __slots__ = ("_behind", "_guard")

    def __init__(self, guard: ConnectionGuard, behind: Callable[[], asyncio.Protocol]) -> None:
        self._guard = guard
        self._behind = behind

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Go on with the connection, or close it without a word."""
        peer = transport.get_extra_info("peername")
        if not self._guard.lets_in(str(peer[0]) if peer else ""):
            transport.abort()
            return
        protocol = self._behind()
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
