"""Around every request, where tracing is on: its span, below that of its client."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chronoduck.api.request_metrics import route_of
from chronoduck.monitoring.tracing import Tracing

__all__ = ["RequestTracesMiddleware"]

_HEADERS = {b"traceparent": "traceparent", b"tracestate": "tracestate"}


class RequestTracesMiddleware:
    """Honours W3C ``traceparent``; statements find the span by the task's context."""

    def __init__(self, app: ASGIApp, tracing: Tracing) -> None:
        self._app = app
        self._tracing = tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and its answer back."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {
            _HEADERS[name]: value.decode("latin-1")
            for name, value in scope["headers"]
            if name in _HEADERS
        }
        status = 499

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        with self._tracing.request(scope["method"], headers) as span:
            try:
                await self._app(scope, receive, watch)
            finally:
                self._tracing.end_request(span, route_of(scope) or "unknown", status)
