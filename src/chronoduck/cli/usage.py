"""``chronoduck usage``: what everybody uses of what they may, or you."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from chronoduck.cli.output import print_json, print_table
from chronoduck.cli.target import (
    DatabaseOption,
    JsonOption,
    TokenFileOption,
    UrlOption,
    require_service,
)
from chronoduck.units import format_seconds

__all__ = ["usage"]


def usage(
    mine: Annotated[
        bool, typer.Option("--me", help="Only your own, with your limits; any token may ask.")
    ] = False,
    database: DatabaseOption = None,
    url: UrlOption = None,
    token_file: TokenFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what every principal uses of its quotas, the one seen last first."""
    service = require_service(database, url, token_file)
    answer = service.call("GET", "/me" if mine else "/usage")
    if as_json:
        print_json(answer)
        return
    listed = [answer] if mine else answer
    print_table(
        ["name", "role", "requests/min", "engine s/h", "statements", "refused", "more in"],
        [_row(each) for each in listed],
        numeric=(False, False, True, True, True, True, True),
    )
    if mine:
        rest = {name: limit for name, limit in answer["limits"].items() if limit is not None}
        print_table(["limit", "value"], [[name, f"{rest[name]:g}"] for name in sorted(rest)])


def _row(who: dict[str, Any]) -> list[str]:
    used = who["usage"]
    waits = [each["resets_in_seconds"] for each in used.values() if each["remaining"] == 0]
    return [
        who["name"],
        who["role"],
        *(_of(used[each]) for each in ("requests", "engine_seconds", "concurrent_statements")),
        str(who["since_start"]["refused"]),
        format_seconds(max(waits)) if waits else "",
    ]


def _of(used: dict[str, Any]) -> str:
    limit = "" if used["limit"] is None else f" of {used['limit']:g}"
    return f"{used['used']:g}{limit}"
