"""All open connections together: how many there may be, of whom, and whose time is over."""

from __future__ import annotations

import asyncio
import ipaddress
from collections import Counter
from typing import Protocol

from chronoduck.api.proxies import TrustedProxies
from chronoduck.errors import DuckDBException
from chronoduck.logs import get_logger
from chronoduck.settings import TransportSettings

__all__ = ["ConnectionGuard", "GuardedConnection", "TooManyConnectionsError", "client_network"]

_log = get_logger("api")
_SWEEP_SECONDS = 1.0


class TooManyConnectionsError(DuckDBException):
    """No further connection is taken now."""

    code = "too_many_connections"
    title = "Too many connections"
    http_status = 503
    retryable = True


class GuardedConnection(Protocol):
    """What the guard needs of a connection."""

    @property
    def idle_since(self) -> float | None:
        """Loop time since which it waits for a request; None when it has one."""

    def look(self, now: float) -> None:
        """Close if its time is over."""

    def abort(self) -> None:
        """Close at once."""


class ConnectionGuard:
    """Counts connections and looks at them once a second while there are any."""

    def __init__(self, limits: TransportSettings) -> None:
        self.limits = limits
        self._proxies = TrustedProxies(limits.trusted_proxies)
        self._open: dict[GuardedConnection, str] = {}
        self._by_client: Counter[str] = Counter()
        self._refusals: Counter[str] = Counter()
        self._timer: asyncio.TimerHandle | None = None

    def admit(self, connection: GuardedConnection, host: str) -> DuckDBException | None:
        """Count the connection; return why it is not taken, or None.

        At the total limit the connection that has been idle longest makes room: whoever only holds
        connections keeps nobody out.
        """
        client = client_network(host)
        self._open[connection] = client
        self._by_client[client] += 1
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(_SWEEP_SECONDS, self._sweep, loop)
        per_client = self.limits.http_max_connections_per_client
        if self._by_client[client] > per_client and host not in self._proxies:
            return TooManyConnectionsError(
                f"more than {per_client} connections from one address",
                hint="Use connections again; DUCKDB_HTTP_MAX_CONNECTIONS_PER_CLIENT is the limit.",
            )
        if len(self._open) > self.limits.http_max_connections and not self._make_room(connection):
            return TooManyConnectionsError(
                f"all {self.limits.http_max_connections} connections are busy",
                hint="Try again; DUCKDB_HTTP_MAX_CONNECTIONS is the limit.",
            )
        return None

    def leave(self, connection: GuardedConnection) -> None:
        """Forget a connection that is closed."""
        client = self._open.pop(connection, None)
        if client is not None:
            self._by_client[client] -= 1
            if not self._by_client[client]:
                del self._by_client[client]

    def note_refusal(self, code: str) -> None:
        """Count for the log: one line a second at most, whatever strangers send."""
        self._refusals[code] += 1

    def _make_room(self, newest: GuardedConnection) -> bool:
        idle = [
            (since, number, connection)
            for number, connection in enumerate(self._open)
            if connection is not newest and (since := connection.idle_since) is not None
        ]
        if not idle:
            return False
        longest = min(idle)[2]
        longest.abort()
        self.leave(longest)
        self.note_refusal("idle_closed")
        return True

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        for connection in list(self._open):
            connection.look(now)
        if self._refusals:
            _log.warning("connections_refused", **self._refusals)
            self._refusals.clear()
        self._timer = loop.call_later(_SWEEP_SECONDS, self._sweep, loop) if self._open else None


def client_network(host: str) -> str:
    """Return what one client can be told by: an IPv4 address, or the first half of an IPv6 one."""
    if ":" not in host:
        return host
    address = ipaddress.IPv6Address(host.partition("%")[0])
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(address) >> 64 << 64, 64)))
