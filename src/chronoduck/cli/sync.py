"""``chronoduck sync``: tables of PostgreSQL into tables of the database."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from chronoduck.cli.declared_work import (
    describe_here,
    print_outcomes,
    print_schedule,
    print_troubles,
    run_here,
    run_there,
    state_of,
)
from chronoduck.cli.output import print_json, print_table
from chronoduck.cli.target import DatabaseOption, JsonOption, Target, find_target, settings_for
from chronoduck.settings import Settings
from chronoduck.sync import read_sync_file
from chronoduck.units import format_seconds

__all__ = ["app"]

app = typer.Typer(help="Read tables of PostgreSQL into the database.", no_args_is_help=True)


@app.command("run")
def run(
    names: Annotated[
        list[str] | None, typer.Argument(help="Syncs of DUCKDB_SYNC_FILE; default: all.")
    ] = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run syncs to their end, in the running service or here; one that fails stops no other."""
    target = find_target(database, None, None)
    names = names or []
    if target.service is not None:
        outcomes = run_there(target.service, "sync", ("/sync", "/sync"), {"names": names})
    else:
        outcomes = run_here(_settings(target), "sync", lambda parts: parts.syncs, names)
    print_outcomes("sync", outcomes, _sentence, as_json=as_json)


def _settings(target: Target) -> Settings:
    """Return the settings to open the file with, here: its syncs are asked for by name."""
    return target.own_settings.model_copy(update={"sync_file": target.settings.sync_file})


def _sentence(facts: dict[str, Any]) -> str:
    return (
        f"{facts['read']:,} rows read, {facts['added']:,} added, {facts['changed']:,} "
        f"changed, {facts['deleted']:,} deleted in {facts['target']}, "
        f"in {format_seconds(facts['seconds'])}"
    )


@app.command("status")
def status(database: DatabaseOption = None, as_json: JsonOption = False) -> None:
    """Show how far each sync is, how its last run went and when the next one is."""
    target = find_target(database, None, None)
    if target.service is not None:
        syncs = target.service.call("GET", "/sync")["syncs"]
    else:
        syncs = describe_here(_settings(target), lambda parts: parts.syncs)
    if as_json:
        print_json(syncs)
        return
    print_table(
        ("sync", "target", "state", "lag", "watermark", "changed last", "next run"),
        [
            (
                each["name"],
                each["target"],
                state_of(each),
                None if each["lag_seconds"] is None else format_seconds(each["lag_seconds"]),
                each["watermark"],
                f"{each['last']['added'] + each['last']['changed'] + each['last']['deleted']:,}",
                each["next_at"],
            )
            for each in syncs
        ],
        numeric=(False, False, False, True, False, True),
    )
    print_troubles(syncs)


@app.command("schedule")
def schedule(database: DatabaseOption = None, as_json: JsonOption = False) -> None:
    """Show when each sync runs next, in UTC; needs no service."""
    declared = read_sync_file(settings_for(database).sync_file)
    schedules = [(each.name, each.schedule) for each in declared.sync.values()]
    print_schedule("sync", schedules, as_json=as_json)
