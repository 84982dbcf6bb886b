"""All open connections together: how many there may be, of whom, whose time is over, whose turn it is."""

from __future__ import annotations

import asyncio
import ipaddress
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Protocol

from chronoduck.api.proxies import TrustedProxies
from chronoduck.errors import DuckDBException
from chronoduck.logs import get_logger
from chronoduck.resilience.newcomers import Newcomers
from chronoduck.resilience.pace import Pace, Turn
from chronoduck.settings import TransportSettings

__all__ = [
    "ConnectionGuard",
    "GuardedConnection",
    "TooManyConnectionsError",
    "TooManyRequestsError",
    "client_network",
]

_log = get_logger("api")
_SWEEP_SECONDS = 1.0
_PACE_SECONDS = 0.01
_BUSY_SECONDS = 0.05
"""So long nobody looks again whether one of thousands has become idle."""
_PROVEN = 10_000
"""Credentials that are remembered as valid."""


class TooManyRequestsError(DuckDBException):
    """Too many requests without a valid credential come from one address."""

    code = "too_many_requests"
    title = "Too many requests"
    http_status = 429
    retryable = True


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
        rates = (limits.http_anonymous_rate_per_client, limits.http_anonymous_rate)
        self._requests = _LoopPace(Pace(*rates))
        self._handshakes = _LoopPace(Pace(*rates, most_waiting=limits.http_max_connections))
        self._proven: OrderedDict[int, None] = OrderedDict()
        self._requests_of: Counter[int] = Counter()
        """Requests that go on, by credential."""
        self._newcomers = Newcomers(
            limits.http_connection_rate_per_client, limits.http_connection_rate
        )
        self._longest_idle: deque[tuple[float, GuardedConnection]] = deque()
        """Those that were idle when it was last made, the longest idle one first."""
        self._all_busy_until = 0.0

    # --- turns --------------------------------------------------------------------------------

    def is_proven(self, credential: int | None) -> bool:
        """Whether the newest request with the credential was admitted; it need not wait."""
        return credential in self._proven

    def note_credential(self, credential: int, host: str, *, is_valid: bool) -> None:
        """Take in what came of a request with the credential."""
        if is_valid:
            self._newcomers.know(client_network(host))
        if not is_valid:
            self._proven.pop(credential, None)
            return
        self._proven[credential] = None
        self._proven.move_to_end(credential)
        if len(self._proven) > _PROVEN:
            self._proven.popitem(last=False)

    def begin_request(self, credential: int) -> DuckDBException | None:
        """Count a request that goes on until ``end_request``; return why it is one too many, or None.

        Who sends its bodies slowly, or takes its answers slowly, keeps a connection that cannot make
        room for others; nobody may keep the last ones, from however many addresses.
        """
        most = self.limits.http_max_connections // 2
        if self._requests_of[credential] >= most:
            error = TooManyRequestsError(
                f"{most} requests with this credential go on already, which is all that may",
                hint="Send the next one when one of them is answered.",
            )
            error.retry_after_seconds = 1.0
            return error
        self._requests_of[credential] += 1
        return None

    def end_request(self, credential: int) -> None:
        """Count the end of a request."""
        self._requests_of[credential] -= 1
        if not self._requests_of[credential]:
            del self._requests_of[credential]

    def client_of(self, host: str, forwarded: Iterable[str]) -> str:
        """Return what requests are counted by: the client's network, behind trusted proxies, too."""
        return client_network(self._proxies.client(host, forwarded))

    def take_turn(self, client: str, go: Callable[[], None]) -> DuckDBException | None:
        """Call ``go``, at once or when it is the client's turn; return why not, or None."""
        if self._requests.take_turn(client, go):
            return None
        error = TooManyRequestsError(
            "too many requests without a valid credential wait for an answer",
            hint="Send the next one when the last one is answered; "
            "DUCKDB_HTTP_ANONYMOUS_RATE_PER_CLIENT is the limit.",
        )
        error.retry_after_seconds = 1.0
        return error

    def give_up_turn(self, client: str, go: Callable[[], None]) -> None:
        """Forget a request that waits, because its connection is closed."""
        self._requests.give_up(client, go)

    async def wait_for_handshake(self, host: str) -> None:
        """Return when a connection of the address may begin its handshake: it costs 1 ms and more."""
        if host in self._proxies:
            return
        turn = asyncio.get_running_loop().create_future()

        def go() -> None:
            if not turn.done():
                turn.set_result(None)

        client = client_network(host)
        self._handshakes.take_turn(client, go)
        try:
            await turn
        finally:
            self._handshakes.give_up(client, go)

    # --- connections --------------------------------------------------------------------------

    def lets_in(self, host: str) -> bool:
        """Whether a new connection is looked at, or is one too many within a second."""
        if host in self._proxies:
            return True
        now = asyncio.get_running_loop().time()
        if self._newcomers.lets_in(client_network(host), now):
            return True
        self.note_refusal("too_many_new_connections")
        return False

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
        longest = self._next_idle()
        if longest is None:
            now = asyncio.get_running_loop().time()
            if now < self._all_busy_until:
                return False
            self._list_idle(newest)
            longest = self._next_idle()
            if longest is None:
                self._all_busy_until = now + _BUSY_SECONDS
                return False
        longest.abort()
        self.leave(longest)
        self.note_refusal("idle_closed")
        return True

    def _next_idle(self) -> GuardedConnection | None:
        """Return the one of the list that has been idle longest, and still is."""
        while self._longest_idle:
            since, connection = self._longest_idle.popleft()
            if connection in self._open and connection.idle_since == since:
                return connection
        return None

    def _list_idle(self, newest: GuardedConnection) -> None:
        """Look at all connections, once for as many newcomers as are idle: each of them may be one."""
        idle = [
            (since, number, connection)
            for number, connection in enumerate(self._open)
            if connection is not newest and (since := connection.idle_since) is not None
        ]
        self._longest_idle.extend((since, connection) for since, _, connection in sorted(idle))

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        for connection in list(self._open):
            connection.look(now)
        if self._refusals:
            _log.warning("connections_refused", **self._refusals)
            self._refusals.clear()
        self._longest_idle.clear()
        self._timer = loop.call_later(_SWEEP_SECONDS, self._sweep, loop) if self._open else None


class _LoopPace:
    """A pace on the event loop, which looks at it while anybody waits."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._timer: asyncio.TimerHandle | None = None

    def take_turn(self, client: str, go: Callable[[], None]) -> bool:
        loop = asyncio.get_running_loop()
        turn = self._pace.enter(client, go, loop.time())
        if turn is Turn.NOW:
            go()
        elif turn is Turn.LATER and self._timer is None:
            self._timer = loop.call_later(_PACE_SECONDS, self._serve, loop)
        return turn is not Turn.NEVER

    def give_up(self, client: str, go: Callable[[], None]) -> None:
        self._pace.leave(client, go)

    def _serve(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        for go in self._pace.serve(loop.time()):
            go()
        if self._pace.is_anybody_waiting and self._timer is None:
            self._timer = loop.call_later(_PACE_SECONDS, self._serve, loop)


@lru_cache(maxsize=4096)
def client_network(host: str) -> str:
    """Return what one client can be told by: an IPv4 address, or the first half of an IPv6 one."""
    if ":" not in host:
        return host
    address = ipaddress.IPv6Address(host.partition("%")[0])
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(address) >> 64 << 64, 64)))
