"""Which format a client wants: ``?format=`` first, then ``Accept`` with its weights."""

from __future__ import annotations

from chronoduck.engine.encoding import ResultFormat
from chronoduck.errors import DuckDBException, InvalidRequestError

__all__ = ["FORMAT_PARAMETER", "MEDIA_TYPES", "NotAcceptableError", "result_format"]

FORMAT_PARAMETER = {
    "name": "format",
    "in": "query",
    "required": False,
    "description": "The format of the result; wins over `Accept`.",
    "schema": {"type": "string", "enum": [offered.value for offered in ResultFormat]},
}
"""As OpenAPI describes ``?format=``."""

_BY_MEDIA_TYPE = {
    "application/json": ResultFormat.JSON,
    "application/x-ndjson": ResultFormat.NDJSON,
    "application/ndjson": ResultFormat.NDJSON,
    "text/csv": ResultFormat.CSV,
    "application/vnd.apache.arrow.stream": ResultFormat.ARROW,
    "application/vnd.apache.parquet": ResultFormat.PARQUET,
    "application/*": ResultFormat.JSON,
    "text/*": ResultFormat.CSV,
    "*/*": ResultFormat.JSON,
}
MEDIA_TYPES = {
    ResultFormat.JSON: "application/json",
    ResultFormat.NDJSON: "application/x-ndjson",
    ResultFormat.CSV: "text/csv; charset=utf-8; header=present",
    ResultFormat.ARROW: "application/vnd.apache.arrow.stream",
    ResultFormat.PARQUET: "application/vnd.apache.parquet",
}
"""What each format is sent as."""
_READ_CHARACTERS = 1_000
"""Of an ``Accept``; browsers send 200."""
_NAMES = ", ".join(sorted(_BY_MEDIA_TYPE.keys() - {"application/*", "text/*", "*/*"}))


class NotAcceptableError(DuckDBException):
    """No format that the client accepts is one we write."""

    code = "not_acceptable"
    title = "Not acceptable"
    http_status = 406


def result_format(asked: str | None, accept: str | None) -> ResultFormat:
    """Return the format to answer in.

    Raises:
        InvalidRequestError: ``?format=`` names no format.
        NotAcceptableError: nothing in ``Accept`` is on offer.
    """
    if asked is not None:
        try:
            return ResultFormat(asked.lower())
        except ValueError:
            names = ", ".join(offered.value for offered in ResultFormat)
            raise InvalidRequestError(f"format is {asked!r}; it must be one of {names}") from None
    if not accept or accept == "*/*" or accept == "application/json":
        return ResultFormat.JSON
    for media_type in _by_preference(accept[:_READ_CHARACTERS]):
        found = _BY_MEDIA_TYPE.get(media_type)
        if found is not None:
            return found
    raise NotAcceptableError(
        f"none of the formats in Accept ({accept[:200]}) is on offer", hint=f"There are: {_NAMES}."
    )


def _by_preference(accept: str) -> list[str]:
    """Return the media types with a weight above 0, most wanted first (RFC 9110, 12.5.1)."""
    weighted: list[tuple[float, int, str]] = []
    for index, part in enumerate(accept.split(",")):
        media_type, *parameters = (piece.strip().lower() for piece in part.split(";"))
        weight = 1.0
        for parameter in parameters:
            name, _, value = parameter.partition("=")
            if name.strip() == "q":
                try:
                    weight = float(value)
                except ValueError:
                    weight = 0.0
        if weight > 0:
            weighted.append((-weight, index, media_type))
    return [media_type for _, _, media_type in sorted(weighted)]
