"""``chronoduck replication``: look at the continuous replica, begin it anew, make a key for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import typer

from chronoduck.cli.output import console, errors, plain, print_json
from chronoduck.cli.progress import progress_bar
from chronoduck.cli.target import (
    DatabaseOption,
    JsonOption,
    TokenFileOption,
    UrlOption,
    owned,
    require_service,
    settings_for,
)
from chronoduck.engine.quarantine import check_log
from chronoduck.errors import DuckDBConnectionError, SettingsError
from chronoduck.replication.adoption import foresee_adoption
from chronoduck.replication.envelope import new_key
from chronoduck.replication.link import ReplicatorLink
from chronoduck.replication.messages import ReplicaState
from chronoduck.settings import Settings
from chronoduck.units import format_bytes, format_count, format_seconds

__all__ = ["app"]

app = typer.Typer(help="Look at the continuous replica, or begin it anew.", no_args_is_help=True)
_LOOK_SECONDS = 0.1
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


@app.command("adopt")
def adopt(database: DatabaseOption = None) -> None:
    """Take the local database for right, whatever the replica holds; its points in time stay."""
    settings = settings_for(database)
    path = settings.database_path
    if settings.replica.url is None:
        raise SettingsError("there is no replica", hint="Set DUCKDB_REPLICA_URL.")
    if not path.exists():
        raise SettingsError(f"{path} is not there", hint="chronoduck restore brings it back.")
    with owned(path):
        check_log(path)
        found = foresee_adoption(settings)
        if found.lacking:
            errors.print(f"[yellow]warning:[/] {plain(found.lacking)}", soft_wrap=True)
        with progress_bar() as show:
            asyncio.run(_ship_all(settings, show))
    console.print(
        f"The replica continues with {plain(path)} as it is now. Its points until now stay.",
        soft_wrap=True,
    )
    if found.newest:
        console.print(
            f"The newest of them is {found.newest} ({found.newest_facts}): chronoduck restore --to "
            f"{found.newest} --output OTHER.db",
            soft_wrap=True,
        )


async def _ship_all(settings: Settings, show: Callable[[str, int, int], None]) -> None:
    """Ship the files as they are, whole."""
    link = ReplicatorLink(settings)
    await link.prepare(adopt=True, is_patient=True)
    link.begin()
    try:
        while link.status.state != ReplicaState.FOLLOWING or not link.status.caught_up_us:
            if link.status.state in (ReplicaState.FAILING, ReplicaState.REFUSED):
                raise DuckDBConnectionError(link.status.error, hint=link.status.hint)
            show("shipping", link.status.progress_done, link.status.progress_total)
            await asyncio.sleep(_LOOK_SECONDS)
    finally:
        await link.stop(0.0)


@app.command("key")
def key() -> None:
    """Make an age secret key for DUCKDB_REPLICA_ENCRYPTION_KEY."""
    typer.echo(new_key())
    errors.print("Keep a copy where the disk is not: without it the replica cannot be read.")


def _print(report: dict[str, Any]) -> None:
    console.print(report["sentence"], soft_wrap=True)
    if report["enabled"]:
        store, scrub = report["store"], report["scrub"]
        console.print(
            f"  replica      {report['state']}, {format_bytes(report['lag_bytes'])} of the log not "
            f"in it; last point {report['last_restore_point']}"
        )
        console.print(
            f"  holds        {format_count(report['transactions'], 'transaction')} in "
            f"{format_count(report['generations'], 'generation')}, {format_bytes(store['bytes'])}"
        )
        console.print(
            f"  store        {store['requests']:,} requests, {store['failures']:,} failed, "
            f"{format_bytes(store['shipped_bytes'])} shipped since the start"
        )
        console.print(
            f"  scrub        {100 * scrub['share']:.0f} % of this round; damaged blocks: "
            f"{scrub['damaged_blocks']}"
        )
        console.print(
            f"  proven       until {report['proven_until'] or 'nothing yet'}; replayed until "
            f"{report['replayed_until'] or 'nothing yet'}"
        )
        last = report["drill"]["last"]
        if last is None:
            tried = "none yet; chronoduck drill tries a restore"
        elif last["succeeded"]:
            tried = f"{last['at']}: {format_seconds(last['seconds'])}, {last['rows']:,} rows"
        else:
            tried = f"[red]{last['at']}: failed ({last['error']})[/]"
        console.print(f"  drill        {tried}")
        if report["retention_error"]:
            console.print(
                f"  [red]! old points are not deleted: {plain(report['retention_error'])}[/]",
                soft_wrap=True,
            )
        if report["notice"]:
            console.print(f"  [red]! {plain(report['notice'])}[/]", soft_wrap=True)
        if report["error"]:
            console.print(
                f"  [red]! {plain(report['error'].rstrip('.'))}.[/] {plain(report['hint'])}",
                soft_wrap=True,
            )
    _print_shadow(report["shadow"])
    points = report["checkpoints"]
    if points:
        pause = points["pause_p99"]
        paused = "" if pause is None else f"; writers waited {1000 * pause:.0f} ms at most (p99)"
        console.print(
            f"  checkpoints  {points['count']}{paused}; "
            f"{format_bytes(points['log_bytes'])} in the log now"
        )
        console.print(f"  next         {_next_checkpoint(points['next_after'])}", soft_wrap=True)


def _print_shadow(shadow: dict[str, Any]) -> None:
    """Say whether a restart would succeed."""
    if not shadow or shadow["state"] == "off":
        return
    until = shadow["proven_until"]
    proven = f"; proven until {until['time']}" if until else ""
    if shadow["verdict"] == "refuted":
        line = f"[red]a restart would fail, do not restart: {plain(shadow['reason'])}[/]"
    elif shadow["verdict"] == "not_judged":
        line = f"not judged: {plain(shadow['reason'])}{proven}"
    else:
        line = f"would succeed{proven}"
    console.print(f"  a restart    {line}", soft_wrap=True)


def _next_checkpoint(limits: dict[str, Any]) -> str:
    size = (
        f"at {format_bytes(limits['log_bytes'])} or {limits['commits']:,} transactions in the log"
    )
    seconds = limits["seconds"]
    return size if seconds is None else f"in {format_seconds(seconds)}, or {size}"
