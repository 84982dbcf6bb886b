"""What is wrong with a request before it has reached the application, and how that is answered."""

from __future__ import annotations

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from chronoduck.api.problems import problem_response
from chronoduck.api.secure_headers import secured
from chronoduck.errors import DuckDBException

__all__ = ["BadRequestError", "HeadersTooLargeError", "as_bytes", "reason_of"]


class BadRequestError(DuckDBException):
    """What came is not HTTP/1.1, or could be understood in two ways."""

    code = "bad_request"
    title = "Bad request"
    http_status = 400


class HeadersTooLargeError(DuckDBException):
    """The request's line and headers are more than is read."""

    code = "headers_too_large"
    title = "Headers too large"
    http_status = 431


def reason_of(error: httptools.HttpParserError) -> str:
    """Return the parser's words; an error in a callback is about the target, the rest has its own."""
    if isinstance(error, httptools.HttpParserCallbackError):
        return "the target of the request is not understood"
    return f"the request is not HTTP/1.1: {error}"


def as_bytes(error: DuckDBException) -> bytes:
    """Return the error as a whole answer, after which the connection ends."""
    response = problem_response(error, None)
    headers = [*secured(response.raw_headers, "http"), (b"connection", b"close")]
    head = b"".join(b"%s: %s\r\n" % header for header in headers)
    return STATUS_LINE[response.status_code] + head + b"\r\n" + bytes(response.body)
