"""The door of a TLS port: counts who stands before it, and lets in who completes the handshake.

With ``ssl=`` the event loop does the handshake before any protocol hears of the connection: strangers
could hold as many half-open ones as there are file descriptors, each for a minute.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import Any

from uvicorn.server import ServerState

from chronoduck.api.connection_guard import ConnectionGuard

__all__ = ["TlsDoor"]


class TlsDoor(asyncio.Protocol):
    """Takes one connection, does the handshake, and hands it to the protocol behind."""

    def __init__(
        self,
        guard: ConnectionGuard,
        context: ssl.SSLContext,
        behind: Callable[[], asyncio.Protocol],
        server_state: ServerState,
    ) -> None:
        self._guard = guard
        self._context = context
        self._behind = behind
        self._connections: set[Any] = server_state.connections
        self._since = 0.0
        self._handshake: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin the handshake, or close when there are too many connections."""
        loop = asyncio.get_running_loop()
        self._since = loop.time()
        peer = transport.get_extra_info("peername")
        error = self._guard.admit(self, str(peer[0]) if peer else "")
        if error is not None:
            self._guard.note_refusal(error.code)
            self._guard.leave(self)
            transport.abort()
            return
        # A second descriptor of the connection, for a transport that begins with the handshake:
        # start_tls() on this one would lose what it reads before its turn comes (uvloop #707).
        connection = transport.get_extra_info("socket").dup()
        transport.abort()
        self._connections.add(self)
        host = str(peer[0]) if peer else ""
        self._handshake = loop.create_task(self._open(loop, connection, host))

    async def _open(
        self, loop: asyncio.AbstractEventLoop, connection: socket.socket, host: str
    ) -> None:
        try:
            await self._guard.wait_for_handshake(host)
            await loop.connect_accepted_socket(
                self._behind,
                connection,
                ssl=self._context,
                ssl_handshake_timeout=self._guard.limits.http_header_timeout,
            )
        except (OSError, asyncio.CancelledError):
            # What goes wrong is the stranger's: no TLS, an old one, too slow, gone.
            self._guard.note_refusal("no_handshake")
            connection.close()
        finally:
            self._leave()

    def _leave(self) -> None:
        self._connections.discard(self)
        self._guard.leave(self)

    @property
    def idle_since(self) -> float:
        """Who has not said anything yet makes room for others."""
        return self._since

    def look(self, now: float) -> None:
        """The handshake has a timeout of its own."""

    def abort(self) -> None:
        """Break the handshake off."""
        if self._handshake is not None:
            self._handshake.cancel()

    def shutdown(self) -> None:
        """Break it off because the server stops."""
        self.abort()
