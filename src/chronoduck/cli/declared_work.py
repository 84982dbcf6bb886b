"""Work that a file declares, run and shown: in the running service, or here without one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Protocol, TypeVar

from cronsim import CronSim

from chronoduck.assembly import DuckDBService
from chronoduck.assembly.parts import Parts
from chronoduck.cli.auditing import record_locally
from chronoduck.cli.jobs import follow_job
from chronoduck.cli.output import console, plain, print_json, print_table, print_text
from chronoduck.cli.progress import progress_bar
from chronoduck.cli.remote import RemoteService
from chronoduck.cli.target import without_shadow
from chronoduck.client.problems import error_of
from chronoduck.errors import DuckDBException
from chronoduck.service.jobs import Job
from chronoduck.settings import Settings

__all__ = [
    "Outcome",
    "ask_here",
    "print_nothing",
    "print_outcomes",
    "print_schedule",
    "print_troubles",
    "run_here",
    "run_there",
    "state_of",
]

T = TypeVar("T")
_TIMES_SHOWN = 3
_PAGES = {"sync": "sync", "export": "exports"}
Outcome = tuple[str, dict[str, Any] | None, DuckDBException | None]
"""A name, and the job's result or why there is none."""


class Work(Protocol):
    """What a service runs of a kind."""

    def begin(self, name: str, **wish: Any) -> Job: ...

    def names(self, wanted: Sequence[str] = ()) -> list[str]: ...


Find = Callable[[Parts], Work]
"""Returns the work of a kind among an open service's parts."""


class WorkFailedError(DuckDBException):
    """Several pieces failed; each is told by itself."""

    code = "work_failed"
    title = "Not all went well"
    exit_code = 65
    default_hint = "Each is told above."


def run_there(
    service: RemoteService, kind: str, paths: tuple[str, str], body: dict[str, Any]
) -> list[Outcome]:
    """Begin by ``POST`` of the first path, follow all jobs, those that ran already, too.

    ``GET`` of the second path lists what is declared under ``{kind}s``.
    """
    begun = service.call("POST", paths[0], json=body)
    running = set(begun["running_already"])
    jobs = begun["jobs"]
    for each in service.call("GET", paths[1])[f"{kind}s"] if running else ():
        if each["name"] in running and each["job"]:
            jobs.append(service.call("GET", f"/jobs/{each['job']}"))
    outcomes: list[Outcome] = []
    with progress_bar() as show:
        for job in jobs:
            name = job["kind"].removeprefix(f"{kind} ")
            try:
                outcomes.append((name, follow_job(service, job, show), None))
            except DuckDBException as error:
                outcomes.append((name, None, error))
    return outcomes


def run_here(
    settings: Settings, kind: str, find: Find, names: list[str], **wish: Any
) -> list[Outcome]:
    """Open the database in this process and run the named ones, or all, to their end."""
    record_locally(settings, f"{kind}_started", **{f"{kind}s": names or None})

    async def run() -> list[Outcome]:
        outcomes: list[Outcome] = []
        async with DuckDBService(without_shadow(settings)) as service:
            parts = await service.parts()
            work, jobs = find(parts), parts.jobs
            begun = [(name, work.begin(name, **wish)) for name in work.names(names)]
            with progress_bar() as show:
                for name, job in begun:
                    while not job.has_ended:
                        await jobs.wait(job, 0.2)
                        show(job.step, job.done, job.total)
                    problem = error_of(job.error) if job.error else None
                    outcomes.append((name, job.result, problem))
        return outcomes

    return asyncio.run(run())


def ask_here(settings: Settings, ask: Callable[[Parts], Awaitable[T]]) -> T:
    """Return what the parts of a service answer that this process opens."""

    async def run() -> T:
        async with DuckDBService(without_shadow(settings)) as service:
            return await ask(await service.parts())

    return asyncio.run(run())


def print_outcomes(
    kind: str, outcomes: Sequence[Outcome], tell: Callable[[dict[str, Any]], str], *, as_json: bool
) -> None:
    """Print how each went; ``tell`` makes a sentence of a result.

    Raises:
        DuckDBException: the one that failed, or that several did.
    """
    if not outcomes and not as_json:
        print_nothing(kind)
    failures = [error for _, _, error in outcomes if error is not None]
    if as_json:
        print_json([facts or {kind: name, **_told(error)} for name, facts, error in outcomes])
    else:
        for name, facts, _ in outcomes:
            if facts is None:
                console.print(f"{plain(name)}: [red]failed[/]")
                continue
            print_text(f"{name}: {tell(facts)}")
            for note in facts["notes"]:
                print_text(f"  {note}")
    if len(failures) == 1:
        raise failures[0]
    if failures:
        raise WorkFailedError(f"{len(failures)} {kind}s failed")


def print_nothing(kind: str) -> None:
    """Say that no work of the kind is declared, and where it would be."""
    setting = f"DUCKDB_{kind.upper()}_FILE"
    print_text(f"no {kind} is declared: {setting} names the file; chronoduck help {_PAGES[kind]}")


def _told(error: DuckDBException | None) -> dict[str, Any]:
    if error is None:
        return {"error": None}
    return {"error": {"code": error.code, "detail": error.detail, "hint": error.hint}}


def state_of(piece: dict[str, Any]) -> str:
    """Return in a word or three how a piece is."""
    if piece["job"]:
        return "running"
    if piece["failures"]:
        return f"failed {piece['failures']} times"
    return "well" if piece["last_success_at"] else "not run yet"


def print_troubles(pieces: Iterable[dict[str, Any]]) -> None:
    """Print why pieces failed and what to do, and what is to be known of those that went well."""
    for each in pieces:
        if each["error"]:
            print_text(f"{each['name']}: {each['error']['detail']}")
            print_text(f"  what to do: {each['error']['hint']}")
        for note in each["notes"]:
            print_text(f"{each['name']}: {note}")


def print_schedule(kind: str, schedules: Iterable[tuple[str, str]], *, as_json: bool) -> None:
    """Print the next times of crontabs, in UTC."""
    now = datetime.now(UTC)
    rows = []
    for name, cron in schedules:
        times = islice(CronSim(cron, now), _TIMES_SHOWN) if cron else ()
        rows.append((name, cron, [time.isoformat() for time in times]))
    if as_json:
        print_json([{kind: name, "schedule": cron, "next": times} for name, cron, times in rows])
        return
    if not rows:
        print_nothing(kind)
        return
    print_table(
        (kind, "schedule", "next runs"),
        [(name, cron or "on demand", ", ".join(times)) for name, cron, times in rows],
    )
