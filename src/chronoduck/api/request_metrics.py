"""Around every request: how long it took, by route and status."""

from __future__ import annotations

import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chronoduck.monitoring.metrics import RequestMetrics

__all__ = ["RequestMetricsMiddleware", "route_of"]


def route_of(scope: Scope) -> str | None:
    """Return the path that the request was routed by, as it is declared; None: there is none."""
    path: str | None = getattr(scope.get("route"), "path_format", None) or scope.get(
        "chronoduck.route"
    )
    return path


class RequestMetricsMiddleware:
    """Tells the metrics of each answered request; a client that left first counts as 499."""

    def __init__(self, app: ASGIApp, metrics: RequestMetrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 499

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watch)
        finally:
            seconds = time.perf_counter() - started
            self._metrics.record(scope["method"], route_of(scope), status, seconds)
