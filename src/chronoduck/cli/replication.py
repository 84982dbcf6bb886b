"""``chronoduck replication``: the continuous replica of the running service."""

from __future__ import annotations

from typing import Any

import typer

from chronoduck.cli.output import console, print_json
from chronoduck.cli.target import (
    DatabaseOption,
    JsonOption,
    TokenFileOption,
    UrlOption,
    require_service,
)
from chronoduck.units import format_bytes

__all__ = ["app"]

app = typer.Typer(help="Look at the continuous replica.", no_args_is_help=True)
_WELL = ("following", "syncing", "starting")


@app.command("status")
def status(
    database: DatabaseOption = None,
    url: UrlOption = None,
    token_file: TokenFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show how far the replica is behind; exit code 69 when it fails or was refused."""
    report = require_service(database, url, token_file).call("GET", "/replication")
    if as_json:
        print_json(report)
    else:
        _print(report)
    if report["enabled"] and report["state"] not in _WELL:
        raise typer.Exit(69)


def _print(report: dict[str, Any]) -> None:
    console.print(report["sentence"], soft_wrap=True)
    if report["enabled"]:
        store, scrub = report["store"], report["scrub"]
        console.print(
            f"  replica      {report['state']}, {format_bytes(report['lag_bytes'])} of the log not "
            f"in it; last point {report['last_restore_point']}"
        )
        console.print(
            f"  holds        {report['transactions']:,} transactions in {report['generations']} "
            f"generations, {format_bytes(store['bytes'])}"
        )
        console.print(
            f"  store        {store['requests']:,} requests, {store['failures']:,} failed, "
            f"{format_bytes(store['shipped_bytes'])} shipped since the start"
        )
        console.print(
            f"  scrub        {100 * scrub['share']:.0f} % of this round; damaged blocks: "
            f"{scrub['damaged_blocks']}"
        )
        if report["error"]:
            console.print(f"  [red]! {report['error']}[/] {report['hint']}", soft_wrap=True)
    points = report["checkpoints"]
    if points:
        pause = points["pause_p99"]
        paused = "" if pause is None else f"; writers waited {1000 * pause:.0f} ms at most (p99)"
        console.print(
            f"  checkpoints  {points['count']}{paused}; "
            f"{format_bytes(points['log_bytes'])} in the log now"
        )
