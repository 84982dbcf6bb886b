"""``chronoduck query``: one statement, its result as a table or in a file format."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from io import BytesIO
from pathlib import Path
from typing import IO, Annotated, Any
from urllib.parse import quote

import orjson
import typer

from chronoduck.cli.output import errors, print_table
from chronoduck.cli.remote import RemoteService
from chronoduck.cli.target import (
    DatabaseOption,
    JsonOption,
    TokenFileOption,
    UrlOption,
    find_target,
)
from chronoduck.engine.encoding import EncodingOptions, ResultFormat
from chronoduck.errors import InvalidRequestError, ServiceUnavailableError
from chronoduck.settings import Settings
from chronoduck.storage.durable_write import replace_finished

__all__ = ["OutputFormat", "ask", "parse_parameters", "print_result", "query", "write_result"]

_TABLE_ROWS = 1_000
_NUMERIC = ("INT", "DECIMAL", "DOUBLE", "FLOAT", "HUGEINT", "BIGNUM")


class OutputFormat(StrEnum):
    """How the result is printed."""

    TABLE = "table"
    JSON = "json"
    NDJSON = "ndjson"
    CSV = "csv"
    ARROW = "arrow"
    PARQUET = "parquet"


def query(
    sql: Annotated[str, typer.Argument(help="The statement; - reads it from standard input.")],
    param: Annotated[
        list[str] | None,
        typer.Option("--param", "-p", help="name=value for $name; the value is JSON or a text."),
    ] = None,
    output_format: Annotated[
        OutputFormat | None,
        typer.Option("--format", "-f", help="Default: table on a terminal, json in a pipe."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the result to this file.")
    ] = None,
    max_rows: Annotated[int | None, typer.Option(min=1, help="At most so many rows.")] = None,
    timeout: Annotated[float | None, typer.Option(help="Deadline in seconds.")] = None,
    database: DatabaseOption = None,
    url: UrlOption = None,
    token_file: TokenFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run one statement on the running service, or on the file when no service owns it."""
    target = find_target(
        database, url, token_file
    )  # may read the token's line before the statement
    text = sys.stdin.read() if sql == "-" else sql
    chosen = OutputFormat.JSON if as_json else output_format or _default_format(output)
    body: dict[str, Any] = {"query": text}
    if param:
        body["params"] = parse_parameters(param)
    if timeout is not None:
        body["timeout_seconds"] = timeout
    if max_rows is not None or chosen is OutputFormat.TABLE:
        body["max_rows"] = max_rows or _TABLE_ROWS
    write_result(target.service, target.own_settings, body, chosen, output)


def _default_format(output: Path | None) -> OutputFormat:
    if output is not None:
        suffix = output.suffix.lstrip(".").lower()
        return OutputFormat(suffix) if suffix in list(OutputFormat) else OutputFormat.JSON
    return OutputFormat.TABLE if sys.stdout.isatty() else OutputFormat.JSON


def parse_parameters(pairs: list[str]) -> dict[str, Any]:
    """Return ``name=value`` pairs as a dict; a value that is not JSON is taken as a text.

    Raises:
        InvalidRequestError: a pair has no ``=``.
    """
    parameters = {}
    for pair in pairs:
        name, separator, value = pair.partition("=")
        if not separator or not name:
            raise InvalidRequestError(f"--param {pair!r} is not of the form name=value")
        try:
            parameters[name.lstrip("$")] = json.loads(value)
        except json.JSONDecodeError:
            parameters[name.lstrip("$")] = value
    return parameters


def write_result(
    service: RemoteService | None,
    settings: Settings,
    body: dict[str, Any],
    chosen: OutputFormat,
    output: Path | None,
    *,
    template: str | None = None,
) -> None:
    """Run the statement and print its result, or write it to a file that is complete or not there.

    ``template``: the body's parameters are a template's, which a service runs by its name, so that
    a viewer may.
    """
    if chosen is OutputFormat.TABLE and output is None:
        sink = BytesIO()
        ask(service, settings, body, ResultFormat.JSON, sink, template)
        print_result(sink.getvalue())
        return
    wire = ResultFormat.JSON if chosen is OutputFormat.TABLE else ResultFormat(chosen.value)
    with _opened(output) as stream:
        ask(service, settings, body, wire, stream, template)
        if output is None and wire is ResultFormat.JSON:
            stream.write(b"\n")


@contextmanager
def _opened(output: Path | None) -> Iterator[IO[bytes]]:
    if output is None:
        try:
            yield sys.stdout.buffer
            sys.stdout.flush()
        except BrokenPipeError:
            # The reader has had enough (`| head`); nothing is wrong, and nothing is left to flush.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit from None
        return
    if output.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(output))
    part = output.with_name(output.name + ".part")
    try:
        with part.open("wb") as file:
            yield file
        replace_finished(part, output)
    finally:
        part.unlink(missing_ok=True)


def ask(
    service: RemoteService | None,
    settings: Settings,
    body: dict[str, Any],
    wire: ResultFormat,
    sink: IO[bytes],
    template: str | None = None,
) -> None:
    """Write the result in the wire format into the sink, wherever the statement is run.

    Raises:
        DuckDBException: the statement failed, or its result broke off before its end.
    """
    if service is None:
        asyncio.run(_ask_file(settings, body, wire, sink))
    else:
        _ask_service(service, body, wire, sink, template)


def _ask_service(
    service: RemoteService,
    body: dict[str, Any],
    wire: ResultFormat,
    sink: IO[bytes],
    template: str | None,
) -> None:
    last = b""
    if template is None:
        call = service.stream("POST", "/query", params={"format": wire.value}, json=body)
    else:
        parameters = {**body["params"], "format": wire.value}
        call = service.stream("GET", f"/templates/{quote(template, safe='')}", params=parameters)
    with call as response:
        for piece in response.iter_bytes():
            sink.write(piece)
            last = (last + piece)[-65_536:]
        _tell_truncation(response.headers.get("x-result-truncated") == "true", body, wire)
    if wire is ResultFormat.NDJSON:
        end = orjson.loads(last.rstrip(b"\n").rsplit(b"\n", 1)[-1])["_chronoduck"]
        if not end["complete"]:
            raise ServiceUnavailableError(f"the result broke off: {end['error']}")


async def _ask_file(
    settings: Settings, body: dict[str, Any], wire: ResultFormat, sink: IO[bytes]
) -> None:
    # Asking a service needs none of these, which take half of a command's start.
    from chronoduck.assembly import DuckDBService  # noqa: PLC0415
    from chronoduck.service.records import Caller  # noqa: PLC0415
    from chronoduck.service.result_encoding import ResultRequest  # noqa: PLC0415

    async with DuckDBService(settings) as service:
        request = ResultRequest(
            sql=body["query"],
            params=body.get("params"),
            format=wire,
            options=EncodingOptions(),
            max_rows=body.get("max_rows"),
            timeout=body.get("timeout_seconds") or settings.max_statement_timeout,
        )
        result = await (await service.parts()).encoded.run(request, Caller("cli"))
        sink.write(result.body)
        if result.rest is not None:
            try:
                async for piece in result.rest:
                    sink.write(piece)
            finally:
                await result.rest.aclose()
        _tell_truncation(result.truncated is True, body, wire)


def _tell_truncation(truncated: bool, body: dict[str, Any], wire: ResultFormat) -> None:
    if truncated:
        limit = body.get("max_rows")
        errors.print(
            f"[yellow]The result was cut after {limit or 'the default number of'} rows; "
            "raise --max-rows for more, or choose another format.[/]"
        )


def print_result(document: bytes) -> None:
    """Print a JSON result as a table."""
    # The standard parser keeps every digit of integers beyond 64 bits and of decimals.
    result = json.loads(document, parse_float=str)
    numeric = [kind.startswith(_NUMERIC) or "INT" in kind for kind in result["types"]]
    rows = [
        [json.dumps(cell) if isinstance(cell, list | dict | bool) else cell for cell in row]
        for row in result["data"]
    ]
    print_table(result["columns"], rows, numeric=numeric)
    count = result["row_count"]
    seconds = float(result["execution_time"])
    errors.print(f"[dim]{count} row{'' if count == 1 else 's'}, {seconds * 1000:.1f} ms[/]")
