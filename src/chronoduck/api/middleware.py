"""Around every request: its id, in and out, and the headers that every answer has."""

from __future__ import annotations

from random import getrandbits
from string import ascii_letters, digits

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chronoduck.api.addresses import see_docs
from chronoduck.api.problems import MethodNotAllowedError, problem_response
from chronoduck.api.secure_headers import secured
from chronoduck.api.start_report import run_lifespan
from chronoduck.errors import InvalidRequestError

__all__ = ["EnvelopeMiddleware"]

_ID_SIGNS = f"{ascii_letters}{digits}._:-".encode()
"""An id from outside goes into logs and headers: only harmless ones are taken over."""
_LONGEST_ID = 64
_MAX_QUERY_PARAMETERS = 200
_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))


def _is_harmless(request_id: bytes) -> bool:
    return 0 < len(request_id) <= _LONGEST_ID and not request_id.translate(None, _ID_SIGNS)


class EnvelopeMiddleware:
    """Takes ``X-Request-ID`` over or makes one; sends it back, with what browsers must know.

    ``late_headers`` in the request's state is a function whose headers are added as the response
    begins.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and its answer back."""
        if scope["type"] != "http":
            await run_lifespan(self._app, scope, receive, send)
            return
        request_id = b""
        for name, value in scope["headers"]:
            if name == b"x-request-id" and _is_harmless(value):
                request_id = value
        # Ids need to be unique, not unguessable: a system call each for better ones is not worth it.
        request_id = request_id or b"%032x" % getrandbits(128)
        scope.setdefault("state", {})["request_id"] = request_id.decode()

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = secured(list(message.get("headers", ())), scope["scheme"])
                headers.append((b"x-request-id", request_id))
                headers += scope["state"].get("late_headers", tuple)()
                message["headers"] = headers
            await send(message)

        if scope["method"] not in _METHODS:
            error = MethodNotAllowedError(
                f"the method {scope['method']} is not used here",
                hint=see_docs(scope, "what there is"),
            )
            response = problem_response(error, request_id.decode())
            response.headers["Allow"] = ", ".join(sorted(_METHODS))
            await response(scope, receive, send_with_headers)
            return
        if scope["query_string"].count(b"&") >= _MAX_QUERY_PARAMETERS:
            refusal = InvalidRequestError(
                f"the address has more than {_MAX_QUERY_PARAMETERS} query parameters"
            )
            response = problem_response(refusal, request_id.decode())
            await response(scope, receive, send_with_headers)
            return
        await self._app(scope, receive, send_with_headers)
