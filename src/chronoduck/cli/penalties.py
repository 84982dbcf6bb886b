"""``chronoduck penalties``: who has to wait because of what its statements broke."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

import typer

from chronoduck.cli.output import console, print_json, print_table
from chronoduck.cli.target import (
    DatabaseOption,
    JsonOption,
    TokenFileOption,
    UrlOption,
    require_service,
)
from chronoduck.units import format_seconds

__all__ = ["app"]

app = typer.Typer(help="Look into the penalty box, or release from it.", no_args_is_help=True)


@app.command("list")
def list_penalties(
    database: DatabaseOption = None,
    url: UrlOption = None,
    token_file: TokenFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """List who has to wait and why, and whose statements run alone."""
    found = require_service(database, url, token_file).call("GET", "/penalties")
    if as_json:
        print_json(found)
        return
    rows = [
        *(_row(each, "waits") for each in found["waiting"]),
        *(_row(each, "alone") for each in found["alone"]),
    ]
    if not rows:
        console.print("nobody waits, nothing runs alone")
        return
    print_table(["principal", "name", "what", "statement", "reason", "for", "faults"], rows)


def _row(each: dict[str, Any], what: str) -> list[str]:
    return [
        each["party"],
        each["name"] or "",
        what,
        each["fingerprint"] or "all",
        each["reason"],
        format_seconds(each["seconds"]),
        str(each["faults"]),
    ]


@app.command("release")
def release(
    party: Annotated[str, typer.Argument(help="The principal or its name, as the list shows it.")],
    database: DatabaseOption = None,
    url: UrlOption = None,
    token_file: TokenFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Forget what is held against a principal: it may run statements again at once."""
    service = require_service(database, url, token_file)
    answer = service.call("DELETE", f"/penalties/{quote(party, safe='')}")
    if as_json:
        print_json(answer)
    else:
        console.print(answer["message"])
