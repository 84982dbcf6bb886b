"""One statement's result in a wire format, from a service or from the file that no service owns."""

from __future__ import annotations

import asyncio
from typing import IO, Any
from urllib.parse import quote

import orjson

from chronoduck.cli.output import errors
from chronoduck.cli.remote import RemoteService
from chronoduck.cli.target import Target
from chronoduck.errors import ServiceUnavailableError

__all__ = ["ask", "print_truncation"]

_END_BYTES = 65_536
"""More than the last line of NDJSON has, which says whether the result is complete."""


def ask(
    target: Target, body: dict[str, Any], wire: str, sink: IO[bytes], template: str | None = None
) -> None:
    """Write the result in the wire format into the sink, wherever the statement is run.

    ``template``: the body's parameters are a template's, which a service runs by its name, so that
    a viewer may.

    Raises:
        DuckDBException: the statement failed, or its result broke off before its end.
    """
    if target.service is not None:
        _ask_service(target.service, body, wire, sink, template)
        return
    from chronoduck.cli.own_file import run_on_file  # noqa: PLC0415 - the engine, a second of CPU

    asyncio.run(run_on_file(target.own_settings, body, wire, sink))


def _ask_service(
    service: RemoteService, body: dict[str, Any], wire: str, sink: IO[bytes], template: str | None
) -> None:
    last = b""
    if template is None:
        call = service.stream("POST", "/query", params={"format": wire}, json=body)
    else:
        parameters = {**body["params"], "format": wire}
        call = service.stream("GET", f"/templates/{quote(template, safe='')}", params=parameters)
    with call as response:
        for piece in response.iter_bytes():
            sink.write(piece)
            last = (last + piece)[-_END_BYTES:]
        if response.headers.get("x-result-truncated") == "true":
            print_truncation(body)
    if wire == "ndjson":
        end = orjson.loads(last.rstrip(b"\n").rsplit(b"\n", 1)[-1])["_chronoduck"]
        if not end["complete"]:
            raise ServiceUnavailableError(f"the result broke off: {end['error']}")


def print_truncation(body: dict[str, Any]) -> None:
    """Say that a result has more rows than were asked for."""
    limit = body.get("max_rows")
    errors.print(
        f"[yellow]The result was cut after {limit or 'the default number of'} rows; "
        "raise --max-rows for more, or choose another format.[/]"
    )
