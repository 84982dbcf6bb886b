"""``chronoduck sync``: tables of PostgreSQL into tables of the database."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

import typer

from chronoduck.assembly.parts import Parts
from chronoduck.cli.auditing import record_locally
from chronoduck.cli.declared_work import (
    ask_here,
    print_nothing,
    print_outcomes,
    print_schedule,
    print_troubles,
    run_here,
    run_there,
    state_of,
)
from chronoduck.cli.jobs import follow_job
from chronoduck.cli.output import print_json, print_table, print_text
from chronoduck.cli.progress import progress_bar
from chronoduck.cli.target import DatabaseOption, JsonOption, Target, find_target, settings_for
from chronoduck.client.problems import error_of
from chronoduck.settings import Settings
from chronoduck.sync import read_sync_file
from chronoduck.units import format_bytes, format_seconds

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


@app.command("drop")
def drop(
    name: Annotated[str, typer.Argument(help="A sync that has a slot in PostgreSQL.")],
    forget: Annotated[
        bool, typer.Option(help="Only forget the slot: its source is no more.")
    ] = False,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Drop the slot and publication that a cdc sync has in PostgreSQL; the rows here stay."""
    target = find_target(database, None, None)
    if target.service is not None:
        path = f"/sync/{quote(name, safe='')}"
        job = target.service.call("DELETE", path, params={"forget": forget})
        with progress_bar() as show:
            facts = follow_job(target.service, job, show)
    else:
        facts = _drop_here(target, name, forget)
    if as_json:
        print_json(facts)
        return
    print_text(f"{name}: dropped {', '.join(facts['slots']) or 'nothing: no slot was there'}")
    if not forget and not facts["has_dropped_publication"]:
        print_text("  the publication stays: its owner may drop it")


def _drop_here(target: Target, name: str, forget: bool) -> dict[str, Any]:
    settings = _settings(target)
    record_locally(settings, "sync_dropped", sync=name)

    async def drop(parts: Parts) -> dict[str, Any]:
        job = await parts.jobs.wait(await parts.syncs.drop(name, forget=forget))
        if job.error:
            raise error_of(job.error)
        return job.result or {}

    return ask_here(settings, drop)


@app.command("status")
def status(database: DatabaseOption = None, as_json: JsonOption = False) -> None:
    """Show how far each sync is, how its last run went and when the next one is."""
    target = find_target(database, None, None)
    if target.service is not None:
        found = target.service.call("GET", "/sync")
        syncs, orphans = found["syncs"], found["orphans"]
    else:
        syncs, orphans = ask_here(_settings(target), _status)
    if as_json:
        print_json(syncs)
        return
    if not syncs:
        print_nothing("sync")
    else:
        _print_syncs(syncs)
    for orphan in orphans:
        print_text(
            f"{orphan['sync']}: PostgreSQL keeps its log for the slot {orphan['slot']} in "
            f"{orphan['source']}, and no sync follows it"
        )
        print_text(f"  what to do: {orphan['hint']}")
    print_troubles(syncs)


def _print_syncs(syncs: list[dict[str, Any]]) -> None:
    print_table(
        ("sync", "target", "state", "lag", "log kept", "watermark", "changed last", "next run"),
        [
            (
                each["name"],
                each["target"],
                state_of(each),
                None if each["lag_seconds"] is None else format_seconds(each["lag_seconds"]),
                None if each["lag_bytes"] is None else format_bytes(each["lag_bytes"]),
                each["watermark"],
                f"{each['last']['added'] + each['last']['changed'] + each['last']['deleted']:,}",
                each["next_at"],
            )
            for each in syncs
        ],
        numeric=(False, False, False, True, True, False, True),
    )


async def _status(parts: Parts) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    return await parts.syncs.describe(), await parts.syncs.orphans()


@app.command("schedule")
def schedule(database: DatabaseOption = None, as_json: JsonOption = False) -> None:
    """Show when each sync runs next, in UTC; needs no service."""
    declared = read_sync_file(settings_for(database).sync_file)
    schedules = [(each.name, each.schedule) for each in declared.sync.values()]
    print_schedule("sync", schedules, as_json=as_json)
