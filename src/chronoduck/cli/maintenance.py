"""``chronoduck maintenance``: what an operator looks at every day, week and month, in one command."""

from __future__ import annotations

import gzip
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import typer

from chronoduck.backup.shelf import Shelf
from chronoduck.cli.capacity import forecast
from chronoduck.cli.findings import Check, Severity
from chronoduck.cli.output import console, plain, print_json
from chronoduck.cli.remote import RemoteService
from chronoduck.cli.set_aside_check import check_set_aside
from chronoduck.cli.target import (
    DatabaseOption,
    JsonOption,
    TokenFileOption,
    UrlOption,
    require_service,
)
from chronoduck.errors import DuckDBException
from chronoduck.settings import Settings, load_settings
from chronoduck.units import format_bytes, format_seconds

__all__ = ["app", "report"]

app = typer.Typer(
    help="Look after the service: the daily, weekly and monthly rounds.", no_args_is_help=True
)
_LARGE_SPILL_BYTES = 100_000_000
_OLD_LOG_SECONDS = 7 * 86_400.0
_MARKS = {Severity.OK: "[green]ok[/]     ", Severity.WARNING: "[yellow]warning[/]"}


@app.command("daily")
def daily(
    database: DatabaseOption = None,
    url: UrlOption = None,
    token_file: TokenFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Health, disk, spill files, replica; packs logs that are older than a week."""
    settings, service = _both(database, url, token_file)
    report(
        [
            *_health(service),
            *_spill(settings),
            *_replica(service),
            *check_set_aside(settings.database_path),
            *_old_logs(settings),
        ],
        as_json,
    )


@app.command("weekly")
def weekly(
    database: DatabaseOption = None,
    url: UrlOption = None,
    token_file: TokenFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Slow statements and backups."""
    settings, service = _both(database, url, token_file)
    report([*_slow(service), *_backups(settings)], as_json)


@app.command("monthly")
def monthly(
    database: DatabaseOption = None,
    url: UrlOption = None,
    token_file: TokenFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Verify the newest backup to its last column, look at the last drill, and at capacity."""
    settings, service = _both(database, url, token_file)
    report([*_verify(settings, service), *_drill(service), *_capacity(settings, service)], as_json)


def _both(
    database: Path | None, url: str | None, token_file: Path | None
) -> tuple[Settings, RemoteService]:
    settings = load_settings(**({"database_path": database} if database else {}))
    return settings, require_service(database, url, token_file)


def report(findings: list[Check], as_json: bool) -> None:
    """Print the findings; exit code 69 when one of them is an error."""
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            mark = _MARKS.get(finding.severity, "[bold red]error[/]  ")
            console.print(f"{mark} {finding.id:12} {plain(finding.finding)}", soft_wrap=True)
            if finding.fix:
                console.print(f"        [bold]fix:[/] {plain(finding.fix)}", soft_wrap=True)
    if any(finding.severity is Severity.ERROR for finding in findings):
        raise typer.Exit(69)


def _health(service: RemoteService) -> Iterator[Check]:
    health = service.call("GET", "/health")
    for name, finding in health["components"].items():
        if finding["status"] != "healthy":
            worst = finding["status"] != "degraded"
            severity = Severity.ERROR if worst else Severity.WARNING
            yield Check(name, severity, finding["reason"], finding["hint"])
    system = health["system"]
    yield Check(
        "health",
        Severity.OK if health["status"] == "healthy" else Severity.WARNING,
        f"{health['status']}; database {format_bytes(health['database_size_mb'] * 1e6)}, "
        f"disk {system['disk_usage_percent']:.0f} % full",
    )


def _spill(settings: Settings) -> Iterator[Check]:
    large = [
        (path, path.stat().st_size)
        for path in settings.temp_directory.rglob("*")
        if path.is_file() and path.stat().st_size > _LARGE_SPILL_BYTES
    ]
    total = format_bytes(sum(size for _, size in large))
    if large:
        yield Check(
            "spill",
            Severity.WARNING,
            f"{len(large)} spill files of more than 100 MB, {total} in all",
            "`chronoduck top` shows what runs; they go with their statement.",
        )
    else:
        yield Check("spill", Severity.OK, f"no large files in {settings.temp_directory}")


def _replica(service: RemoteService) -> Iterator[Check]:
    status = service.call("GET", "/replication")
    severity = Severity.OK if status["enabled"] else Severity.WARNING
    yield Check("replica", severity, status["sentence"])


def _old_logs(settings: Settings) -> Iterator[Check]:
    """Pack rotated logs that nobody has written to for a week."""
    log = settings.log_file
    if log is None:
        yield Check("logs", Severity.OK, "the log goes to standard error")
        return
    old = [
        path
        for path in log.parent.glob(f"{log.name}.*")
        if path.suffix != ".gz" and time.time() - path.stat().st_mtime > _OLD_LOG_SECONDS
    ]
    for path in old:
        packed = path.with_name(path.name + ".gz")
        with path.open("rb") as plain, gzip.open(packed, "wb") as file:
            shutil.copyfileobj(plain, file)
        packed.chmod(path.stat().st_mode & 0o777)
        path.unlink()
    yield Check("logs", Severity.OK, f"{len(old)} old logs packed in {log.parent}")


def _slow(service: RemoteService) -> Iterator[Check]:
    analysis = service.call("GET", "/statistics")["query_analysis"]
    over = analysis["queries_over_5s"]
    yield Check(
        "slow",
        Severity.WARNING if over else Severity.OK,
        f"{over} of {analysis['total_queries']} statements took more than 5 s; "
        f"median {format_seconds(analysis['median_time'])}, "
        f"longest {format_seconds(analysis['max_time'])}",
        "EXPLAIN ANALYZE shows where the time goes." if over else "",
    )


def _backups(settings: Settings) -> Iterator[Check]:
    shelf = Shelf.of(settings)
    if shelf is None:
        yield Check("backups", Severity.WARNING, "there are no backups", "Set DUCKDB_BACKUP_DIR.")
        return
    backups = shelf.list()
    if not backups:
        yield Check(
            "backups", Severity.WARNING, f"none in {shelf.directory}", "chronoduck backup create"
        )
        return
    size = format_bytes(sum(backup.size for backup in backups))
    first, last = backups[0].name.taken_at, backups[-1].name.taken_at
    yield Check(
        "backups",
        Severity.OK,
        f"{len(backups)} of {first:%Y-%m-%d} to {last:%Y-%m-%d %H:%M}, {size}",
    )


def _verify(settings: Settings, service: RemoteService) -> Iterator[Check]:
    if settings.backup.dir is None:
        yield from _backups(settings)
        return
    try:
        job = service.call("POST", "/backups/latest/verify")
    except DuckDBException as error:
        yield Check("verify", Severity.ERROR, error.detail, error.hint)
        return
    while job["state"] == "running":
        time.sleep(0.2)
        job = service.call("GET", f"/jobs/{job['id']}")
    if job["state"] == "succeeded":
        yield Check("verify", Severity.OK, "the newest backup was restored and read to its end")
    else:
        detail = (job.get("error") or {}).get("detail", job["state"])
        yield Check("verify", Severity.ERROR, detail, "`chronoduck backup create` makes a new one.")


def _drill(service: RemoteService) -> Iterator[Check]:
    status = service.call("GET", "/replication")
    last: dict[str, Any] | None = status.get("drill", {}).get("last") if status["enabled"] else None
    if last is None:
        yield Check("drill", Severity.WARNING, "no restore was tried yet", "chronoduck drill")
    elif last["succeeded"]:
        yield Check("drill", Severity.OK, f"{last['at']}: {format_seconds(last['seconds'])}")
    else:
        yield Check("drill", Severity.ERROR, f"{last['at']}: {last['error']}", "chronoduck drill")


def _capacity(settings: Settings, service: RemoteService) -> Iterator[Check]:
    found = forecast(settings, service)
    days = found["days_until_full"]
    soon = days is not None and days < 30
    yield Check(
        "capacity",
        Severity.WARNING if soon else Severity.OK,
        f"{format_bytes(found['disk_free_bytes'])} free; "
        + ("no growth seen" if days is None else f"full in about {days:.0f} days"),
        "`chronoduck capacity` tells more." if soon else "",
    )
