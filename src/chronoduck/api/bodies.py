"""Bodies of requests: read within bounds of size, time and of the memory of all together."""

from __future__ import annotations

import asyncio

from fastapi import Request

from chronoduck.errors import DuckDBException, InvalidRequestError
from chronoduck.settings import TransportSettings
from chronoduck.units import format_bytes

__all__ = [
    "BodyMemory",
    "BodyMemoryError",
    "BodyTooLargeError",
    "RequestTimeoutError",
    "UnsupportedEncodingError",
    "check_encoding",
    "read_json_bytes",
]

_MAX_BODY_BYTES = 16_000_000
_SMALL_BYTES = 65_536
"""Up to here a body needs no leave: a connection's buffer is as large."""
_COPIED_BYTES = 1_000_000
"""Up to here it is copied on the event loop; 16 MB take 5 ms."""


class BodyTooLargeError(DuckDBException):
    """The request's body is larger than this endpoint reads."""

    code = "body_too_large"
    title = "Body too large"
    http_status = 413


class UnsupportedEncodingError(DuckDBException):
    """The body has a ``Content-Encoding`` that is not undone here."""

    code = "unsupported_encoding"
    title = "Unsupported encoding"
    http_status = 415


class RequestTimeoutError(DuckDBException):
    """The client took too long to send its request."""

    code = "request_timeout"
    title = "Request timeout"
    http_status = 408
    retryable = True


class BodyMemoryError(DuckDBException):
    """Large bodies of other requests fill the memory there is for them."""

    code = "body_memory"
    title = "Too many large bodies"
    http_status = 503
    retryable = True


class BodyMemory:
    """Bytes that the large bodies being read may take together."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._taken_bytes = 0

    def take(self, count: int) -> None:
        """Take so many bytes more.

        Raises:
            BodyMemoryError: there are not so many.
        """
        if self._taken_bytes + count > self._limit_bytes:
            raise BodyMemoryError(
                f"the bodies of other requests fill the {format_bytes(self._limit_bytes)} there are",
                hint="Try again; DUCKDB_HTTP_BODY_MEMORY sets the limit.",
            )
        self._taken_bytes += count

    def give_back(self, count: int) -> None:
        """Give them back."""
        self._taken_bytes -= count


async def read_json_bytes(request: Request, limits: TransportSettings, memory: BodyMemory) -> bytes:
    """Return a body that is to be parsed as a whole; ``memory`` is all bodies' together.

    Raises:
        BodyTooLargeError: it has more than 16 MB; the rest is not read.
        UnsupportedEncodingError: it is compressed.
        RequestTimeoutError: it did not come to its end in time.
        BodyMemoryError: the bodies of others fill the memory.
        InvalidRequestError: it broke off.
    """
    for name, value in request.scope["headers"]:
        if name == b"content-length" and value.isdigit() and int(value) > _MAX_BODY_BYTES:
            raise _too_large()
        if name == b"content-encoding":
            check_encoding(value, ())
    message = await request.receive()
    # Nearly every body comes in one piece, in the packet of its headers.
    if message["type"] == "http.request" and not message.get("more_body", False):
        body: bytes = message.get("body", b"")
        if len(body) > _MAX_BODY_BYTES:
            raise _too_large()
        return body
    try:
        async with asyncio.timeout(limits.http_body_timeout):
            return await _read_pieces(request, message.get("body", b""), memory)
    except TimeoutError:
        raise RequestTimeoutError(
            f"the body did not come to its end within {limits.http_body_timeout:g} s",
            hint="Send the request again; DUCKDB_HTTP_BODY_TIMEOUT sets the limit.",
        ) from None


async def _read_pieces(request: Request, first: bytes, memory: BodyMemory) -> bytes:
    body = bytearray(first)
    taken = 0
    try:
        while True:
            message = await request.receive()
            if message["type"] == "http.disconnect":
                raise InvalidRequestError("the body broke off before its end")
            piece = message.get("body", b"")
            body += piece
            if len(body) > _MAX_BODY_BYTES:
                raise _too_large()
            if len(body) > _SMALL_BYTES:
                memory.take(len(piece))
                taken += len(piece)
            if not message.get("more_body", False):
                is_large = len(body) > _COPIED_BYTES
                return await asyncio.to_thread(bytes, body) if is_large else bytes(body)
    finally:
        memory.give_back(taken)


def _too_large() -> BodyTooLargeError:
    return BodyTooLargeError(
        f"the body has more than {_MAX_BODY_BYTES // 1_000_000} MB",
        hint="Load bulk data with `chronoduck load` or POST tables/{name}/rows.",
    )


def check_encoding(value: bytes, known: tuple[bytes, ...]) -> None:
    """Accept the value of a ``Content-Encoding`` header or refuse it.

    Raises:
        UnsupportedEncodingError: it is not ``identity`` or one of the known ones.
    """
    encoding = value.strip().lower()
    if encoding and encoding != b"identity" and encoding not in known:
        raise UnsupportedEncodingError(
            f"bodies with Content-Encoding {encoding[:40].decode('latin-1')} are not read here",
            hint="Send the body as it is; POST tables/{name}/rows takes gzip and zstd.",
        )
