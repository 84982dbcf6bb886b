"""The service's problems, and broken connections, as the errors of ``chronoduck.errors``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import httpx2

from chronoduck import errors
from chronoduck.errors import (
    AuthenticationError,
    BatchError,
    DuckDBConnectionError,
    DuckDBException,
    DuckDBQueryError,
    DuckDBResourceError,
    InvalidRequestError,
    NotFoundError,
    PenaltyBoxError,
    PermissionDeniedError,
    QuotaExceededError,
    ServiceUnavailableError,
    StatementRefusedError,
)
from chronoduck.option_words import as_keywords

__all__ = [
    "ConnectionBrokenError",
    "NobodyThereError",
    "check",
    "connection_errors",
    "error_of",
    "is_answer",
    "worded_for_python",
]

_BY_STATUS: dict[int, type[DuckDBException]] = {
    400: DuckDBQueryError,
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    413: InvalidRequestError,
    415: InvalidRequestError,
    422: InvalidRequestError,
    429: QuotaExceededError,
    502: DuckDBConnectionError,
    503: DuckDBConnectionError,
    504: DuckDBConnectionError,
    507: DuckDBResourceError,
}


class ConnectionBrokenError(DuckDBConnectionError):
    """The connection broke before the answer's end: there is no result, and never half of one."""

    code = "connection_broken"
    title = "The answer broke off"
    exit_code = 69
    default_hint = "The result is not complete; the service's log tells why. Run it again."


class NobodyThereError(ServiceUnavailableError):
    """The address cannot be connected to: refused, unknown, or not with this certificate."""


def _classes_of(code: str, status: int) -> tuple[type[DuckDBException], int]:
    """Return the class of a code, and its exit code.

    The class is one of ``chronoduck.errors`` or, for codes of others, the one of the status: what has
    to be caught does not depend on what else this process has loaded. Its exit code may.
    """
    classes: list[type[DuckDBException]] = [DuckDBException]
    for each in classes:
        if each.code == code:
            is_shared = hasattr(errors, each.__name__)
            return each if is_shared else _of_status(status), each.exit_code
        classes += each.__subclasses__()
    return _of_status(status), _of_status(status).exit_code


def _of_status(status: int) -> type[DuckDBException]:
    return _BY_STATUS.get(status, DuckDBException)


def error_of(fields: Mapping[str, Any], statements: Sequence[str] = ()) -> DuckDBException:
    """Return the error that a problem tells of.

    ``statements``: those of the request, of which a batch's problem names one by its index. Codes
    that this process has no class for keep their code, in the class that fits the status.
    """
    code, told = str(fields.get("code", "error")), fields.get("status")
    kind, exit_code = _classes_of(code, told or 500)
    if "statement_index" in fields:  # its code may be that of what stopped it
        kind = BatchError
    status = int(told or kind.http_status)
    detail = str(fields.get("detail", "the service told no reason"))
    error = kind.__new__(kind)
    # The constructors take what the detail was made of; here it is made already.
    DuckDBException.__init__(error, detail, hint=fields.get("hint", ""))
    position = fields.get("position") or {}
    facts: dict[str, Any] = {
        "code": code,
        "http_status": status,
        "exit_code": exit_code,
        "title": fields.get("title", kind.title),
        "retryable": bool(fields.get("retryable", kind.retryable)),
        "request_id": fields.get("request_id"),
    }
    if isinstance(error, DuckDBQueryError):
        facts |= {
            "category": fields.get("category"),
            "line": position.get("line"),
            "column": position.get("column"),
        }
        if position:  # the command line shows this one
            where = f"(line {position['line']}, column {position['column']})"
            facts["operator_detail"] = f"{detail} {where}"
    if isinstance(error, StatementRefusedError):
        facts["rule"] = fields.get("rule")
    if isinstance(error, PenaltyBoxError):
        facts["reason"] = fields.get("reason", "")
    if isinstance(error, BatchError):
        index = int(fields.get("statement_index", 0))
        facts |= {
            "index": index,
            "sql": statements[index] if index < len(statements) else "",
            "rolled_back": bool(fields.get("rolled_back", True)),
            "cause": _cause(fields, status),
        }
    vars(error).update(facts)
    return error


def _cause(fields: Mapping[str, Any], status: int) -> DuckDBException:
    """Return what made a batch fail: by its code, or by its status, category and rule alone."""
    facts = {name: value for name, value in fields.items() if name != "statement_index"}
    if fields.get("code") != BatchError.code:
        return error_of(facts)
    kind = StatementRefusedError if "rule" in fields else _of_status(status)
    return error_of({**facts, "code": kind.code, "title": kind.title})


def is_answer(response: httpx2.Response) -> bool:
    """Whether it is one, as its head tells, and no problem or error of a proxy."""
    return response.status_code < 300 and not _is_problem(response)


def _is_problem(response: httpx2.Response) -> bool:
    return str(response.headers.get("content-type", "")).startswith("application/problem+json")


def check(response: httpx2.Response, statements: Sequence[str] = ()) -> None:
    """Return when the response, which has been read, is an answer.

    Raises:
        DuckDBException: it is a problem, or an error that is not the service's but a proxy's.
    """
    if is_answer(response):
        return
    if _is_problem(response):
        error = error_of(json.loads(response.content), statements)
    else:
        status = response.status_code
        error = error_of(
            {
                "code": f"http_{status}",
                "status": status,
                "title": response.reason_phrase,
                "detail": f"{response.request.url} answered {status}: {response.text[:200]}",
                "hint": "This is no answer of the service itself: is a proxy between?",
                "retryable": status in (429, 502, 503, 504),
                "request_id": response.headers.get("x-request-id"),
            }
        )
    error.retry_after_seconds = _retry_after(response)
    raise error


def _retry_after(response: httpx2.Response) -> float | None:
    text = response.headers.get("retry-after", "")
    return float(text) if text.isdigit() else None


@contextmanager
def connection_errors(url: str) -> Iterator[None]:
    """Translate the HTTP library's errors of a connection.

    Raises:
        ServiceUnavailableError: nothing was sent.
        ConnectionBrokenError: no answer came, or not all of it.
    """
    try:
        yield
    except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout) as error:
        is_refused = isinstance(error, httpx2.ConnectError)
        kind = NobodyThereError if is_refused else ServiceUnavailableError
        raise kind(
            f"no service answers at {url}: {error or 'it is silent'}",
            hint="Start it with `chronoduck serve`, or name another URL (--url).",
        ) from error
    except httpx2.TimeoutException as error:
        raise ConnectionBrokenError(
            f"the service at {url} fell silent before the end of its answer"
        ) from error
    except (httpx2.TransportError, httpx2.DecodingError) as error:
        raise ConnectionBrokenError(
            f"the service at {url} broke the answer off before its end: {error}"
        ) from error


@contextmanager
def worded_for_python() -> Iterator[None]:
    """Have errors of what is inside name options as Python does."""
    try:
        yield
    except DuckDBException as error:
        error.operator_detail = as_keywords(error.operator_detail)
        error.detail = as_keywords(error.detail)
        error.args = tuple(
            as_keywords(each) if isinstance(each, str) else each for each in error.args
        )
        error.hint = as_keywords(error.hint)
        raise
