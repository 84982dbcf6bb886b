"""Results on the wire: whole with a length, or streamed and cut when they break."""

from __future__ import annotations

import asyncio
import time
from types import TracebackType
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from chronoduck.api.addresses import api_root
from chronoduck.api.downloads import attachment
from chronoduck.errors import DuckDBException
from chronoduck.logs import get_logger
from chronoduck.monitoring.audit import AuditTrail
from chronoduck.service.encoded import EncodedResult
from chronoduck.service.jobs import Job
from chronoduck.service.records import Caller, RunningStatement

__all__ = ["ClientGone", "DisconnectGuard", "JsonResponse", "ResultResponse", "job_response"]

_log = get_logger("api")
_WATCH_AFTER_SECONDS = 0.1
"""A statement that ends sooner needs no watch: watching costs more than the statement."""


class JsonResponse(Response):
    """JSON by orjson; NaN becomes null."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Return the content as JSON."""
        return orjson.dumps(content, default=str, option=orjson.OPT_NON_STR_KEYS)


async def job_response(request: Request, job: Job, caller: Caller) -> Response:
    """Answer that a job has begun, and where to follow it; the audit trail knows who began it."""
    audit: AuditTrail = request.scope["state"]["chronoduck.access"].service.audit
    await audit.act_now(f"{job.kind}_started", caller, job=job.id)
    where = f"{api_root(request)}/jobs/{job.id}"
    return JsonResponse(job.as_dict(), status_code=202, headers={"Location": where})


class ClientGone(Response):
    """Nobody is there to read this; 499 is what proxies log for it."""

    def __init__(self) -> None:
        super().__init__(status_code=499)


class DisconnectGuard:
    """Cancels the task inside the block when the client closes its connection.

    ``with guard:`` around an await; ``guard.client_left`` tells afterwards whether the
    CancelledError that came out of it was the client's doing.
    """

    def __init__(self, receive: Receive, after_seconds: float = _WATCH_AFTER_SECONDS) -> None:
        self._receive = receive
        self._after_seconds = after_seconds
        self._task = asyncio.current_task()
        self._timer: asyncio.TimerHandle | None = None
        self._watcher: asyncio.Task[None] | None = None
        self.client_left = False

    def __enter__(self) -> DisconnectGuard:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._after_seconds, self._start)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._watcher is not None:
            self._watcher.cancel()
        if self.client_left and exc_type is asyncio.CancelledError and self._task is not None:
            self._task.uncancel()

    def _start(self) -> None:
        self._watcher = asyncio.get_running_loop().create_task(self._watch())

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.client_left = True
        if self._task is not None:
            self._task.cancel()


def _server_timing(running: RunningStatement) -> str:
    """Return the times until the first byte in ms, as browsers and curl users read them."""
    execute = running.engine_seconds - running.encode_seconds
    total = time.perf_counter() - running.started
    return (
        f"queue;dur={1e3 * running.queue_seconds:.2f}, execute;dur={1e3 * execute:.2f}, "
        f"encode;dur={1e3 * running.encode_seconds:.2f}, total;dur={1e3 * total:.2f}"
    )


class ResultResponse(Response):
    """A result in its format. A failure after the first byte cuts the connection before its end.

    Without the last chunk of the chunked encoding every HTTP/1.1 client reports an error: a broken
    result is never taken for a complete one.
    """

    def __init__(self, result: EncodedResult, name: str | None = None) -> None:
        """``name``: of the file that it is saved as."""
        truncated = {True: "true", False: "false", None: "pending"}[result.truncated]
        headers = {
            "X-Result-Truncated": truncated,
            "Vary": "Accept",
            "Cache-Control": "no-store",
            "Server-Timing": _server_timing(result.running),
        }
        if name is not None:
            headers["Content-Disposition"] = attachment(name)
        if result.length is not None:
            headers["Content-Length"] = str(result.length)
        self._result = result
        self.status_code = 200
        self.media_type = result.media_type
        self.background = None
        self.body = result.body
        self.init_headers(headers)
        if result.length is None:
            del self.headers["Content-Length"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the result; the client's leaving interrupts the statement."""
        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        rest = self._result.rest
        if rest is None:
            await send(start)
            await send({"type": "http.response.body", "body": self.body})
            return
        guard = DisconnectGuard(receive, after_seconds=0)
        try:
            with guard:
                await send(start)
                await send({"type": "http.response.body", "body": self.body, "more_body": True})
                async for piece in rest:
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
                await send({"type": "http.response.body", "body": b""})
        except asyncio.CancelledError:
            if not guard.client_left:
                raise
        except DuckDBException as error:
            # Returning without the last message makes the server close the connection.
            _log.error(
                "result_broken",
                reason=error.operator_detail,
                request_id=scope["state"]["request_id"],
            )
        finally:
            await rest.aclose()
