"""A start that fails says so in one sentence, whatever server runs the application."""

from __future__ import annotations

import sys

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chronoduck.errors import DuckDBException

__all__ = ["run_lifespan", "start_failure"]


def start_failure(error: DuckDBException) -> str:
    """Return why the service does not start, and what to do."""
    return f"chronoduck does not start: {error.operator_detail}. {error.hint}".rstrip()


async def run_lifespan(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """Pass a lifespan on; instead of the traceback of a foreseen error the server gets its sentence."""
    shown: BaseException | None = None

    async def send_short(message: Message) -> None:
        nonlocal shown
        if message["type"] == "lifespan.startup.failed":
            error = sys.exc_info()[1]  # the framework handles it as it sends this
            if isinstance(error, DuckDBException):
                shown = error
                message = {**message, "message": start_failure(error)}
        await send(message)

    try:
        await app(scope, receive, send_short)
    except DuckDBException as error:
        if error is not shown:
            raise
