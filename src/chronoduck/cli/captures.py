"""``chronoduck captures``: the table of captures, brought to the form of today's loads."""

from __future__ import annotations

import asyncio
from typing import Any

import typer

from chronoduck.assembly import DuckDBService
from chronoduck.cli.auditing import record_locally
from chronoduck.cli.jobs import follow_job
from chronoduck.cli.output import console, print_json
from chronoduck.cli.progress import progress_bar
from chronoduck.cli.target import (
    DatabaseOption,
    JsonOption,
    Target,
    TokenFileOption,
    UrlOption,
    find_target,
)

__all__ = ["app", "rekey"]

app = typer.Typer(help="The table of captures.", no_args_is_help=True)


@app.callback()
def _captures() -> None:
    """Have the group stay one, though it has a single command."""


@app.command()
def rekey(
    database: DatabaseOption = None,
    url: UrlOption = None,
    token_file: TokenFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give captures that earlier versions loaded today's keys and digests, while the service runs.

    Captures that are then there twice become one row, unless they differ in a value.
    """
    target = find_target(database, url, token_file)
    with progress_bar() as show:
        if target.service is not None:
            facts = follow_job(target.service, target.service.call("POST", "/captures/rekey"), show)
        else:
            record_locally(target.own_settings, "rekey_started")
            facts = asyncio.run(_here(target, show))
    if as_json:
        print_json(facts)
        return
    console.print(
        f"{facts['rows']:,} captures, {facts['changed']:,} changed, {facts['merged']:,} that were there "
        "twice removed",
        soft_wrap=True,
    )
    if facts["doubles_left"]:
        console.print(
            f"[yellow]{facts['doubles_left']:,} are there twice and differ in a value: they stay[/]"
        )


async def _here(target: Target, show: Any) -> dict[str, int]:
    async with DuckDBService(target.own_settings) as service:
        return await (await service.parts()).loader.rekey(show)
