"""``chronoduck sync``: tables of PostgreSQL into tables of the database."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from itertools import islice
from typing import Annotated, Any
from urllib.parse import quote

import typer
from cronsim import CronSim

from chronoduck.assembly import DuckDBService
from chronoduck.cli.auditing import record_locally
from chronoduck.cli.jobs import follow_job
from chronoduck.cli.output import console, print_json, print_table
from chronoduck.cli.progress import progress_bar
from chronoduck.cli.target import DatabaseOption, JsonOption, Target, find_target, settings_for
from chronoduck.client.problems import error_of
from chronoduck.errors import DuckDBException
from chronoduck.sync import SyncDataError, read_sync_file
from chronoduck.units import format_bytes, format_seconds

__all__ = ["app"]

_TIMES_SHOWN = 3
Outcome = tuple[str, dict[str, Any] | None, DuckDBException | None]

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
    outcomes = _run_there(target, names or []) if target.service else _run_here(target, names or [])
    failures = [(name, error) for name, _, error in outcomes if error is not None]
    if as_json:
        print_json([facts or {"sync": name, **_told(error)} for name, facts, error in outcomes])
    else:
        for name, facts, error in outcomes:
            _print_outcome(name, facts, error)
    if len(failures) == 1:
        raise failures[0][1]
    if failures:
        raise SyncDataError(f"{len(failures)} syncs failed", hint="Each is told above.")


def _run_there(target: Target, names: list[str]) -> list[Outcome]:
    service = target.service
    assert service is not None  # noqa: S101 - the caller looked
    begun = service.call("POST", "/sync", json={"names": names})
    running = set(begun["running_already"])
    jobs = begun["jobs"]
    for each in service.call("GET", "/sync")["syncs"] if running else ():
        if each["name"] in running and each["job"]:
            jobs.append(service.call("GET", f"/jobs/{each['job']}"))
    outcomes: list[Outcome] = []
    with progress_bar() as show:
        for job in jobs:
            name = job["kind"].removeprefix("sync ")
            try:
                outcomes.append((name, follow_job(service, job, show), None))
            except DuckDBException as error:
                outcomes.append((name, None, error))
    return outcomes


def _run_here(target: Target, names: list[str]) -> list[Outcome]:
    settings = target.own_settings.model_copy(update={"sync_file": target.settings.sync_file})
    record_locally(settings, "sync_started", syncs=names or None)

    async def work() -> list[Outcome]:
        outcomes: list[Outcome] = []
        async with DuckDBService(settings) as service:
            syncs, jobs = (await service.parts()).syncs, (await service.parts()).jobs
            begun = [(name, syncs.begin(name)) for name in syncs.names(names)]
            with progress_bar() as show:
                for name, job in begun:
                    while not job.has_ended:
                        await jobs.wait(job, 0.2)
                        show(job.step, job.done, job.total)
                    problem = error_of(job.error) if job.error else None
                    outcomes.append((name, job.result, problem))
        return outcomes

    return asyncio.run(work())


def _told(error: DuckDBException | None) -> dict[str, Any]:
    if error is None:
        return {"error": None}
    return {"error": {"code": error.code, "detail": error.detail, "hint": error.hint}}


def _print_outcome(name: str, facts: dict[str, Any] | None, error: DuckDBException | None) -> None:
    if facts is None:
        console.print(f"{name}: [red]failed[/]")
        return
    console.print(
        f"{name}: {facts['read']:,} rows read, {facts['added']:,} added, {facts['changed']:,} "
        f"changed, {facts['deleted']:,} deleted in {facts['target']}, "
        f"in {format_seconds(facts['seconds'])}",
        soft_wrap=True,
    )
    for note in facts["notes"]:
        console.print(f"  {note}", markup=False, soft_wrap=True)


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
    console.print(f"{name}: dropped {', '.join(facts['slots']) or 'nothing: no slot was there'}")
    if not forget and not facts["has_dropped_publication"]:
        console.print("  the publication stays: its owner may drop it", soft_wrap=True)


def _drop_here(target: Target, name: str, forget: bool) -> dict[str, Any]:
    settings = target.own_settings.model_copy(update={"sync_file": target.settings.sync_file})
    record_locally(settings, "sync_dropped", sync=name)

    async def work() -> dict[str, Any]:
        async with DuckDBService(settings) as service:
            job = await (await service.parts()).syncs.drop(name, forget=forget)
            await (await service.parts()).jobs.wait(job)
            if job.error:
                raise error_of(job.error)
            return job.result or {}

    return asyncio.run(work())


@app.command("status")
def status(database: DatabaseOption = None, as_json: JsonOption = False) -> None:
    """Show how far each sync is, how its last run went and when the next one is."""
    target = find_target(database, None, None)
    if target.service is not None:
        found = target.service.call("GET", "/sync")
        syncs, orphans = found["syncs"], found["orphans"]
    else:
        syncs, orphans = _status_here(target)
    if as_json:
        print_json(syncs)
        return
    print_table(
        ("sync", "target", "state", "lag", "log kept", "watermark", "changed last", "next run"),
        [
            (
                each["name"],
                each["target"],
                _state(each),
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
    for orphan in orphans:
        console.print(
            f"{orphan['sync']}: PostgreSQL keeps its log for the slot {orphan['slot']} in "
            f"{orphan['source']}, and no sync follows it",
            markup=False,
            soft_wrap=True,
        )
        console.print(f"  what to do: {orphan['hint']}", markup=False, soft_wrap=True)
    for each in syncs:
        if each["error"]:
            console.print(
                f"{each['name']}: {each['error']['detail']}", markup=False, soft_wrap=True
            )
            console.print(f"  what to do: {each['error']['hint']}", markup=False, soft_wrap=True)
        for note in each["notes"]:
            console.print(f"{each['name']}: {note}", markup=False, soft_wrap=True)


def _status_here(target: Target) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    settings = target.own_settings.model_copy(update={"sync_file": target.settings.sync_file})

    async def work() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        async with DuckDBService(settings) as service:
            syncs = (await service.parts()).syncs
            return await syncs.describe(), await syncs.orphans()

    return asyncio.run(work())


def _state(sync: dict[str, Any]) -> str:
    if sync["job"]:
        return "running"
    if sync["failures"]:
        return f"failed {sync['failures']} times"
    return "well" if sync["last_success_at"] else "not run yet"


@app.command("schedule")
def schedule(database: DatabaseOption = None, as_json: JsonOption = False) -> None:
    """Show when each sync runs next, in UTC; needs no service."""
    declared = read_sync_file(settings_for(database).sync_file)
    now = datetime.now(UTC)
    rows = []
    for each in declared.sync.values():
        times = islice(CronSim(each.schedule, now), _TIMES_SHOWN) if each.schedule else ()
        rows.append((each.name, each.schedule, [time.isoformat() for time in times]))
    if as_json:
        print_json([{"sync": name, "schedule": cron, "next": times} for name, cron, times in rows])
        return
    print_table(
        ("sync", "schedule", "next runs"),
        [(name, cron or "on demand", ", ".join(times)) for name, cron, times in rows],
    )
