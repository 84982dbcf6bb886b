"""Every error as RFC 9457 problem+json, one shape for the whole API."""

from __future__ import annotations

import math
from collections.abc import Callable, Coroutine
from typing import Any

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match

from chronoduck.api.addresses import see_docs
from chronoduck.api.documentation import PROBLEM_MEDIA_TYPE, describe_body
from chronoduck.api.secure_headers import secured
from chronoduck.errors import (
    AuthenticationError,
    BatchError,
    DuckDBException,
    DuckDBQueryError,
    InvalidRequestError,
    PenaltyBoxError,
    PermissionDeniedError,
    QuotaExceededError,
    StatementRefusedError,
)
from chronoduck.logs import get_logger
from chronoduck.monitoring.audit import AuditTrail, verdict_of
from chronoduck.service.records import Caller
from chronoduck.sql.masking import mask_message

__all__ = [
    "MEDIA_TYPE",
    "MethodNotAllowedError",
    "ProblemRoute",
    "add_problem_handlers",
    "problem_fields",
    "problem_response",
    "refuse",
]

_log = get_logger("api")
MEDIA_TYPE = PROBLEM_MEDIA_TYPE
_TYPE_ROOT = "urn:chronoduck:problem:"
_DEFAULT_RETRY_SECONDS = 1.0
_HTTP_CODES = {404: "not_found", 405: "method_not_allowed", 413: "body_too_large"}


def problem_fields(error: DuckDBException, request_id: str | None) -> dict[str, Any]:
    """Return the problem's members; never a path, a process id or a stack trace."""
    fields: dict[str, Any] = {
        "type": _TYPE_ROOT + error.code,
        "title": error.title,
        "status": error.http_status,
        "detail": error.detail,
        "code": error.code,
        "hint": error.hint,
        "retryable": error.retryable,
        "request_id": request_id,
    }
    if isinstance(error, BatchError):
        fields["statement_index"] = error.index
        fields["rolled_back"] = error.rolled_back
        error_in_statement: DuckDBException = error.cause
    else:
        error_in_statement = error
    if isinstance(error_in_statement, StatementRefusedError) and error_in_statement.rule:
        fields["rule"] = error_in_statement.rule
    if isinstance(error_in_statement, PenaltyBoxError):
        fields["reason"] = error_in_statement.reason
    if isinstance(error_in_statement, DuckDBQueryError) and error_in_statement.category:
        fields["category"] = error_in_statement.category
        if error_in_statement.line is not None:
            fields["position"] = {
                "line": error_in_statement.line,
                "column": error_in_statement.column,
            }
    return fields


def problem_response(error: DuckDBException, request_id: str | None) -> Response:
    """Return the error as a response, with Retry-After where a retry can help."""
    headers = {"Cache-Control": "no-store"}
    if error.http_status in (429, 503):
        seconds = error.retry_after_seconds
        headers["Retry-After"] = str(
            math.ceil(_DEFAULT_RETRY_SECONDS if seconds is None else seconds)
        )
    if isinstance(error, AuthenticationError):
        headers["WWW-Authenticate"] = 'Bearer realm="chronoduck"'
    return Response(
        orjson.dumps(problem_fields(error, request_id)),
        status_code=error.http_status,
        media_type=MEDIA_TYPE,
        headers=headers,
    )


def refuse(error: DuckDBException, request: Request) -> Response:
    """Return the error as a response; what only the operator may know goes into the log."""
    request_id = _request_id(request)
    if (
        isinstance(error, PermissionDeniedError | PenaltyBoxError | QuotaExceededError)
        and not error.is_recorded
    ):
        _audit_refusal(error, request)
    if error.http_status >= 500 and error.operator_detail != error.detail:
        _log.error(
            "request_failed",
            code=error.code,
            reason=mask_message(error.operator_detail),
            request_id=request_id,
        )
    response = problem_response(error, request_id)
    if isinstance(error, AuthenticationError) and not _asks_by_browser(request):
        response.headers.append("WWW-Authenticate", 'Basic realm="chronoduck", charset="UTF-8"')
    return response


def _asks_by_browser(request: Request) -> bool:
    """Whether a person's browser asks: offered a password, it opens a window over any page of ours."""
    agent = request.headers.get("user-agent", "")
    return "sec-fetch-mode" in request.headers or agent.startswith("Mozilla/")


class MethodNotAllowedError(DuckDBException):
    """A method that this service knows nothing to do with."""

    code = "method_not_allowed"
    title = "Method Not Allowed"
    http_status = 405


def _audit_refusal(error: DuckDBException, request: Request) -> None:
    """Record a request that was refused before it became a statement."""
    state = request.scope.get("state", {})
    access = state.get("chronoduck.access")
    if access is None:  # refused before it had reached a route
        return
    caller: Caller | None = state.get("chronoduck.caller")
    audit: AuditTrail = access.service.audit
    audit.act(
        "request_refused",
        caller or Caller("unknown", _request_id(request)),
        verdict=verdict_of("refused", error.code),
        code=error.code,
        method=request.method,
        path=request.url.path,
    )


class _FrameworkProblem(DuckDBException):
    """An error of the web framework in our shape."""

    def __init__(self, status: int, code: str, title: str, detail: str, hint: str) -> None:
        super().__init__(detail, hint=hint)
        self.http_status = status  # type: ignore[misc] # one class for every HTTP status
        self.code = code  # type: ignore[misc]
        self.title = title  # type: ignore[misc]


def _request_id(request: Request) -> str | None:
    request_id: str | None = request.scope.get("state", {}).get("request_id")
    return request_id


def _methods(request: Request) -> list[str]:
    """Return all methods of the path; the framework names those of the first route alone."""
    methods: set[str] = set()
    for route in request.app.routes:
        if route.matches(request.scope)[0] is not Match.NONE:
            methods |= getattr(route, "methods", None) or set()
    return sorted(methods)


def _invalid(request: Request, error: RequestValidationError) -> Response:
    parts = [
        f"{'.'.join(str(part) for part in item['loc'])}: {item['msg']}" for item in error.errors()
    ]
    return problem_response(
        InvalidRequestError("; ".join(parts), hint=see_docs(request.scope, "the fields")),
        _request_id(request),
    )


class ProblemRoute(APIRoute):
    """A route that answers its own errors as problems, in whatever application it is included."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the route's handler with its errors as responses."""
        handle = super().get_route_handler()
        describe_body(self)

        async def answer(request: Request) -> Response:
            try:
                return await handle(request)
            except DuckDBException as error:
                return refuse(error, request)
            except RequestValidationError as error:
                return _invalid(request, error)

        return answer


def add_problem_handlers(app: FastAPI) -> None:
    """Register the handlers for our errors, the framework's and the unforeseen ones."""

    async def ours(request: Request, error: Exception) -> Response:
        assert isinstance(error, DuckDBException)  # noqa: S101 - registered for it
        return refuse(error, request)

    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for it
        return _invalid(request, error)

    async def framework(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101 - registered for it
        status = error.status_code
        code = _HTTP_CODES.get(status, f"http_{status}")
        detail = f"{request.method} {request.url.path}: {error.detail}"
        problem = _FrameworkProblem(
            *(status, code, str(error.detail), detail),
            see_docs(request.scope, "what there is"),
        )
        response = problem_response(problem, _request_id(request))
        for name, value in (error.headers or {}).items():
            response.headers[name] = value
        if status == 405:
            response.headers["Allow"] = ", ".join(_methods(request))
        return response

    async def unforeseen(request: Request, error: Exception) -> Response:
        _log.error("unforeseen_error", request_id=_request_id(request), exc_info=error)
        problem = _FrameworkProblem(
            500,
            "internal_error",
            "Internal error",
            "an unforeseen error ended this request",
            "The operator finds it in the log by the request id.",
        )
        response = problem_response(problem, _request_id(request))
        # The framework calls this outside of all middleware.
        response.raw_headers = secured(response.raw_headers, request.scope["scheme"])
        response.headers["X-Request-ID"] = _request_id(request) or ""
        return response

    app.add_exception_handler(DuckDBException, ours)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, framework)
    app.add_exception_handler(Exception, unforeseen)
