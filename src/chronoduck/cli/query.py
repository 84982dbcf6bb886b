"""``chronoduck query``: statements, their results as tables or in a file format."""

from __future__ import annotations

import json
import sys
from io import BytesIO
from pathlib import Path
from typing import Annotated, Any

import typer

from chronoduck.cli.asking import ask
from chronoduck.cli.output import errors, print_table
from chronoduck.cli.result_file import OutputFormat, chosen_format, opened
from chronoduck.cli.sql_texts import split_statements
from chronoduck.cli.target import (
    DatabaseOption,
    JsonOption,
    Target,
    TokenFileOption,
    UrlOption,
    find_target,
)
from chronoduck.errors import DuckDBException, InvalidRequestError

__all__ = ["parse_parameters", "print_result", "query", "write_result"]

_TABLE_ROWS = 1_000
_NUMERIC = ("INT", "DECIMAL", "DOUBLE", "FLOAT", "HUGEINT", "BIGNUM")


def query(
    sql: Annotated[
        str | None,
        typer.Argument(help="The statement, or several; - reads them from standard input."),
    ] = None,
    file: Annotated[
        str | None, typer.Option("--file", "-f", help="Read the statements from this file.")
    ] = None,
    param: Annotated[
        list[str] | None,
        typer.Option("--param", "-p", help="name=value for $name; the value is JSON or a text."),
    ] = None,
    output_format: Annotated[
        OutputFormat | None,
        typer.Option("--format", help="Default: table on a terminal, json in a pipe."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Write the result to this file; its ending says how."),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace a file that is there already.")
    ] = False,
    max_rows: Annotated[int | None, typer.Option(min=1, help="At most so many rows.")] = None,
    timeout: Annotated[float | None, typer.Option(help="Deadline in seconds.")] = None,
    database: DatabaseOption = None,
    url: UrlOption = None,
    token_file: TokenFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run statements on the running service, or on the file when no service owns it.

    Several are run one after the other, each on its own, until one fails. All results are printed; a
    file gets that of the last one.
    """
    target = find_target(
        database, url, token_file
    )  # may read the token's line before the statement
    text = _text(sql, file)
    statements = split_statements(text)
    if len(statements) < 2:  # as it is: an error then names the user's own lines
        statements = [text]
    chosen = chosen_format(OutputFormat.JSON if as_json else output_format, output)
    if len(statements) > 1 and param:
        raise InvalidRequestError(
            f"--param goes with one statement, and these are {len(statements)}",
            hint="Run the one that takes parameters by a command of its own.",
        )
    body: dict[str, Any] = {}
    if param:
        body["params"] = parse_parameters(param)
    if timeout is not None:
        body["timeout_seconds"] = timeout
    if max_rows is not None or chosen is OutputFormat.TABLE:
        body["max_rows"] = max_rows or _TABLE_ROWS
    for number, statement in enumerate(statements, 1):
        asked = {**body, "query": statement}
        try:
            if output is not None and number < len(statements):
                ask(target, asked, OutputFormat.JSON, BytesIO())
            else:
                write_result(target, asked, chosen, output, force=force)
        except DuckDBException as error:
            if len(statements) > 1:
                _number(error, number, len(statements))
            raise


def _text(sql: str | None, file: str | None) -> str:
    if (sql is None) == (file is None):
        raise InvalidRequestError(
            "one statement is needed: as the argument, or by --file",
            hint='chronoduck query "SELECT 42", or chronoduck query --file statements.sql',
        )
    if "-" in (sql, file):
        return sys.stdin.read()
    if file is None:
        return sql or ""
    try:
        return Path(file).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidRequestError(
            f"{file} is not UTF-8 text (byte {error.start})", hint="Save it as UTF-8."
        ) from None


def _number(error: DuckDBException, number: int, count: int) -> None:
    """Say which one failed, and what was done by then."""
    done = "those before it were run" if number > 1 else "nothing was run"
    error.hint = f"This is statement {number} of {count}; {done}. {error.hint or ''}".rstrip()


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
            parameters[name.lstrip("$")] = json.loads(value, parse_constant=_no_constant)
        except ValueError:
            parameters[name.lstrip("$")] = value
    return parameters


def _no_constant(word: str) -> None:
    """Have NaN and Infinity be texts: they are no JSON."""
    raise ValueError(word)


def write_result(
    target: Target,
    body: dict[str, Any],
    chosen: OutputFormat,
    output: Path | None,
    *,
    force: bool = False,
    template: str | None = None,
) -> None:
    """Run the statement and print its result, or write it to a file that is complete or not there."""
    if chosen is OutputFormat.TABLE:
        sink = BytesIO()
        ask(target, body, OutputFormat.JSON, sink, template)
        print_result(sink.getvalue())
        return
    with opened(output, force=force) as stream:
        ask(target, body, chosen, stream, template)
        if output is None and chosen is OutputFormat.JSON:
            stream.write(b"\n")


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
