"""HTTP/1.1 for strangers: uvicorn's protocol with limits on size, time and number.

uvicorn reads headers of any size for any time, keeps trailers, waits for ever for a body and for a
first request, and may answer a broken request inside the answer to the one before. What is added
here is counted while bytes come; time is looked at once a second for all connections together
(``ConnectionGuard.sweep``), so that a request pays for no timer.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from enum import Enum, auto
from functools import partial
from typing import Any

import httptools
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import (
    HttpToolsProtocol,
    RequestResponseCycle,
)
from uvicorn.server import ServerState

from chronoduck.api.access import ADMITTED
from chronoduck.api.bodies import RequestTimeoutError
from chronoduck.api.connection_guard import ConnectionGuard
from chronoduck.api.doorstep import Doorstep
from chronoduck.api.tls_door import TlsDoor
from chronoduck.api.wire_errors import BadRequestError, HeadersTooLargeError, as_bytes, reason_of
from chronoduck.errors import DuckDBException
from chronoduck.settings import TransportSettings

__all__ = ["GuardedProtocol", "guarded_protocol"]

_LINGER_SECONDS = 2.0
_LINGER_BYTES = 1_000_000
_SMALL_BODY_BYTES = 65_536
_PIPELINED_REQUESTS = 16
_OVERHEAD_PER_BYTE = 16
"""A chunk of one byte takes six on the wire; with more, framing is padding without end."""


class _Phase(Enum):
    IDLE = auto()
    HEADERS = auto()
    BODY = auto()
    DISCARDING = auto()


class GuardedProtocol(HttpToolsProtocol):
    """One connection, within the limits of its guard."""

    def __init__(
        self,
        guard: ConnectionGuard,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._guard = guard
        self._limits = guard.limits
        self._refusal: DuckDBException | None = None
        self._phase = _Phase.HEADERS  # the time for the first request begins with the connection
        self._since = self.loop.time()
        self._saw_bytes = False
        self._header_bytes = self._hosts = 0
        self._body_bytes = self._wire_bytes = self._progress_bytes = 0
        self._large_body = self._chunked = False
        self._is_parsing = False
        self._running: RequestResponseCycle | None = None
        self._held: int | None = None
        """The credential of the request that goes on, as the guard counts it."""
        self._waiting: Callable[[], None] | None = None
        """What begins the request that waits for its turn."""
        self._client_id = ""
        self._closing_since: float | None = None
        self._unsent_bytes = 0

    # What the event loop calls

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the connection, or answer 503 when there are too many."""
        super().connection_made(transport)
        error = self._guard.admit(self, self.client[0] if self.client else "")
        if error is not None:
            self._refuse(error)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the application and the guard."""
        self._guard.leave(self)
        self._let_go()
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what came; answer 4xx and close when it cannot be taken."""
        if self._phase is _Phase.DISCARDING:
            self._wire_bytes += len(data)
            if self._wire_bytes > _LINGER_BYTES:
                self.flow.pause_reading()
            return
        self._unset_keepalive_if_required()
        self._saw_bytes = True
        phase, body_bytes = self._phase, self._body_bytes
        try:
            self._is_parsing = True
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._phase = _Phase.DISCARDING  # there is no other protocol here; the request is whole
        except httptools.HttpParserError as error:
            self._refuse(
                self._refusal or BadRequestError(f"the request is not HTTP/1.1: {reason_of(error)}")
            )
            return
        finally:
            self._is_parsing = False
        if phase is self._phase is not _Phase.IDLE:
            self._count_framing(len(data), self._body_bytes - body_bytes)

    def _count_framing(self, received: int, content: int) -> None:
        """Limit what belongs to no content: the parser keeps a header or trailer until its end."""
        unused = self._wire_bytes + received - _OVERHEAD_PER_BYTE * content
        self._wire_bytes = max(0, unused)
        if self._wire_bytes > self._limits.http_header_size:
            if self._phase is _Phase.HEADERS:
                self._refuse(self._too_large())
            else:
                self._refuse(BadRequestError("the body has more framing than content"))

    # What the parser calls

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        self._phase = _Phase.HEADERS
        self._since = self.loop.time()
        self._header_bytes = self._hosts = self._wire_bytes = 0
        self._large_body = self._chunked = False

    def on_url(self, url: bytes) -> None:
        """Take a piece of the request's target."""
        self._count_header_bytes(len(url))
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; a trailer is only counted, for nobody here expects one."""
        name = name.lower()
        self._count_header_bytes(len(name) + len(value) + 4)
        if self._phase is _Phase.BODY:
            return
        if name == b"host":
            self._hosts += 1
        elif name == b"content-length":
            self._large_body = int(value) > _SMALL_BODY_BYTES
        elif name == b"transfer-encoding":
            self._chunked = self._large_body = True
            if value.strip().lower() != b"chunked":
                raise self._refused(BadRequestError("the only transfer encoding is chunked"))
        elif name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Start the application on the request, once its head is known to be sound."""
        if len(self.headers) > self._limits.http_header_count:
            raise self._refused(
                HeadersTooLargeError(
                    f"the request has {len(self.headers)} headers; "
                    f"{self._limits.http_header_count} are read"
                )
            )
        version = self.parser.get_http_version()
        if version not in ("1.0", "1.1"):
            raise self._refused(BadRequestError(f"HTTP/{version} is not spoken here"))
        if version == "1.1":
            if self._hosts != 1:
                raise self._refused(BadRequestError("a request needs one Host header"))
        elif self._chunked:
            raise self._refused(BadRequestError("HTTP/1.0 knows no transfer encoding"))
        if len(self.pipeline) >= _PIPELINED_REQUESTS:
            raise self._refused(BadRequestError("too many requests in one go"))
        self._phase = _Phase.BODY
        self._since = self.loop.time()
        self._body_bytes = self._wire_bytes = self._progress_bytes = 0
        super().on_headers_complete()
        if self.parser.should_upgrade():
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        """Hand a piece of the body to the application."""
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is whole."""
        self._phase = _Phase.IDLE
        self._since = self.loop.time()
        super().on_message_complete()

    def _count_header_bytes(self, count: int) -> None:
        self._header_bytes += count
        if self._header_bytes > self._limits.http_header_size:
            raise self._refused(self._too_large())

    def _too_large(self) -> HeadersTooLargeError:
        return HeadersTooLargeError(
            f"the request's line and headers are more than {self._limits.http_header_size} bytes"
        )

    def _refused(self, error: DuckDBException) -> DuckDBException:
        """Remember the reason: the parser raises an error of its own for one in a callback."""
        self._refusal = error
        return error

    # Answers

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGIApp) -> None:  # type: ignore[override]
        if self._large_body and cycle is self.cycle:
            app = partial(self._answer_before_the_end, cycle, app)
        self._running = cycle
        error = self._hold(cycle)
        if error is not None:
            if self._is_parsing:
                raise self._refused(error)
            self._refuse(error)
            return
        if self._guard.is_proven(_credential(cycle)):
            super()._start_asgi_task(cycle, app)  # type: ignore[arg-type]
        else:
            self._start_in_turn(cycle, app)

    def _hold(self, cycle: RequestResponseCycle) -> DuckDBException | None:
        """Count the request among those of its credential; return why there are too many, or None."""
        self._let_go()
        credential = _credential(cycle)
        error = None if credential is None else self._guard.begin_request(credential)
        self._held = credential if error is None else None
        return error

    def _let_go(self) -> None:
        if self._held is not None:
            self._guard.end_request(self._held)
            self._held = None

    def _start_in_turn(self, cycle: RequestResponseCycle, app: ASGIApp) -> None:
        """Begin a stranger's request when it is its turn; nothing more is read until then."""
        start = super()._start_asgi_task

        def go() -> None:
            self._waiting = None
            if not self.transport.is_closing():
                if not self.pipeline:
                    self.flow.resume_reading()
                start(cycle, app)  # type: ignore[arg-type]

        forwarded = [
            value.decode("latin-1")
            for name, value in cycle.scope["headers"]
            if name == b"x-forwarded-for"
        ]
        self._client_id = self._guard.client_of(self.client[0] if self.client else "", forwarded)
        self._waiting = go
        error = self._guard.take_turn(self._client_id, go)
        if error is not None:
            self._waiting = None
            if self._is_parsing:
                raise self._refused(error)
            self._refuse(error)
        elif self._waiting is not None:
            self.flow.pause_reading()

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._guard.give_up_turn(self._client_id, self._waiting)
            self._waiting = None

    async def _answer_before_the_end(
        self, cycle: RequestResponseCycle, app: ASGIApp, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Run the application; when it answers before the body's end, the rest is not waited for.

        The server would close the socket under the client's sending hand: that resets the connection,
        and the answer may be lost. So the client is told, and ``on_response_complete`` lingers.
        """

        async def send_and_tell(message: Message) -> None:
            if message["type"] == "http.response.start" and cycle.more_body:
                message["headers"] = [*message.get("headers", ()), (b"connection", b"close")]
                await send(message)
                cycle.keep_alive = True
            else:
                await send(message)

        await app(scope, receive, send_and_tell)

    def on_response_complete(self) -> None:
        """Go on with the next request, or get rid of what is left of this one."""
        self._let_go()
        self._note_credential()
        super().on_response_complete()
        if self._large_body and self._phase is _Phase.BODY and not self.transport.is_closing():
            self._linger()

    def _note_credential(self) -> None:
        cycle, self._running = self._running, None
        credential = None if cycle is None else _credential(cycle)
        if cycle is not None and credential is not None:
            is_valid = ADMITTED in cycle.scope.get("state", {})
            host = self.client[0] if self.client else ""
            self._guard.note_credential(credential, host, is_valid=is_valid)

    def _refuse(self, error: DuckDBException) -> None:
        """Answer the error and close; inside another answer there is only closing."""
        self._guard.note_refusal(error.code)
        cycle = self.cycle
        is_answering = cycle is not None and not cycle.response_complete
        if is_answering:
            cycle.disconnected = True
            cycle.message_event.set()
        if self.transport.is_closing():
            return
        if self.pipeline or (is_answering and cycle.response_started):
            self.transport.close()
            return
        if is_answering and self._phase is _Phase.HEADERS:
            self.transport.close()  # the answer to the request before has not begun
            return
        self.transport.write(as_bytes(error))
        self._linger()

    def _linger(self) -> None:
        """Close in a way that lets the client read the answer: what it still sends is thrown away."""
        self._unset_keepalive_if_required()
        self._phase = _Phase.DISCARDING
        self._wire_bytes = 0
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.loop.call_later(_LINGER_SECONDS, self.transport.close)

    # Time

    @property
    def idle_since(self) -> float | None:
        """When it last did anything, if it waits for a request or a turn now; for the guard."""
        if self._waiting is not None and not self.transport.is_closing():
            return self._since
        if self._phase is _Phase.BODY or self.transport.is_closing():
            return None
        if self.cycle is not None and not self.cycle.response_complete:
            return None
        return self._since

    def look(self, now: float) -> None:
        """Close or refuse the connection if its time is over; called about once a second."""
        if self.transport.is_closing():
            self._abort_when_stuck(now)
        elif self._phase is _Phase.HEADERS and now - self._since > self._limits.http_header_timeout:
            self._give_up("the request's headers did not come in time")
        elif self._phase is _Phase.BODY:
            self._look_at_body(now)
        elif (
            self._phase is _Phase.IDLE
            and self.timeout_keep_alive_task is None
            and self.idle_since is not None
            and now - self._since > self._limits.http_keep_alive
        ):
            self.transport.close()

    def abort(self) -> None:
        """Close at once; what is not sent is lost."""
        self.transport.abort()

    def _look_at_body(self, now: float) -> None:
        if self.flow.read_paused:  # it is we who do not read
            self._since = now
            self._progress_bytes = self._body_bytes
            return
        elapsed = now - self._since
        if elapsed < self._limits.http_header_timeout:
            return
        if self._body_bytes - self._progress_bytes < elapsed * self._limits.http_body_rate:
            self._give_up("the request's body comes too slowly")
        self._since = now
        self._progress_bytes = self._body_bytes

    def _give_up(self, reason: str) -> None:
        if self._saw_bytes:
            self._refuse(RequestTimeoutError(reason, hint="Send the request again, in one go."))
        else:
            self.transport.close()

    def _abort_when_stuck(self, now: float) -> None:
        """End a closed connection whose client does not take the rest of its answer."""
        unsent = self.transport.get_write_buffer_size()
        if self._closing_since is None or unsent < self._unsent_bytes:
            self._closing_since = now
            self._unsent_bytes = unsent
        elif now - self._closing_since > self._limits.http_header_timeout:
            self.transport.abort()


def _credential(cycle: RequestResponseCycle) -> int | None:
    """Return what a request's credential is known by here, without keeping it."""
    for name, value in cycle.scope["headers"]:
        if name == b"authorization":
            return hash(value.rpartition(b" ")[2])  # keyed by this process
    return None


def guarded_protocol(
    limits: TransportSettings, context: ssl.SSLContext | None = None
) -> Callable[..., asyncio.Protocol]:
    """Return what uvicorn takes as ``http=``: makes the protocol of each connection.

    With a ``context`` connections speak TLS, and the server must be told nothing of that.
    """
    guard = ConnectionGuard(limits)

    def make(config: Config, server_state: ServerState, **options: Any) -> asyncio.Protocol:
        behind = partial(GuardedProtocol, guard, config, server_state, **options)
        if context is None:
            return Doorstep(guard, behind)
        return Doorstep(guard, partial(TlsDoor, guard, context, behind, server_state))

    return make
