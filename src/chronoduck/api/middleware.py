"""Around every request: its id, in and out."""

from __future__ import annotations

import re
from random import getrandbits

from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["RequestIdMiddleware"]

_ACCEPTED = re.compile(rb"^[A-Za-z0-9._:-]{1,64}$")
"""An id from outside goes into logs and headers: only harmless ones are taken over."""


class RequestIdMiddleware:
    """Takes ``X-Request-ID`` over or makes one, and sends it back with the response.

    ``late_headers`` in the request's state is a function whose headers are added as the response
    begins.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = b""
        for name, value in scope["headers"]:
            if name == b"x-request-id" and _ACCEPTED.match(value):
                request_id = value
        # Ids need to be unique, not unguessable: a system call each for better ones is not worth it.
        request_id = request_id or b"%032x" % getrandbits(128)
        scope.setdefault("state", {})["request_id"] = request_id.decode()

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                late = scope["state"].get("late_headers", tuple)
                message["headers"] = [
                    *message.get("headers", []),
                    (b"x-request-id", request_id),
                    *late(),
                ]
            await send(message)

        await self._app(scope, receive, send_with_id)
