"""``chronoduck status``: how the running service is."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer
from rich.console import Group
from rich.live import Live
from rich.text import Text

from chronoduck.cli.output import console, plain, print_json
from chronoduck.cli.remote import RemoteService
from chronoduck.cli.target import (
    DatabaseOption,
    JsonOption,
    TokenFileOption,
    UrlOption,
    require_service,
)
from chronoduck.cli.words import in_commands
from chronoduck.units import format_seconds

__all__ = ["status"]

_COLORS = {"healthy": "green", "degraded": "yellow"}


def status(
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Show it again every second, until Ctrl-C.")
    ] = False,
    live: Annotated[
        bool,
        typer.Option("--live", help="Only ask whether the process answers: for container checks."),
    ] = False,
    database: DatabaseOption = None,
    url: UrlOption = None,
    token_file: TokenFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the health of the running service; exit code 0 when it can take statements."""
    service = require_service(database, url, token_file)
    if live:
        # Not health: unhealthy may mean that a restart would lose data.
        service.call("GET", "/health/live")
        console.print("alive")
        return
    if watch:
        _watch(service)
        return
    health = service.call("GET", "/health")
    if as_json:
        print_json(health)
    else:
        console.print(_picture(service.url, health, service.call("GET", "/statistics")))
    if health["status"] not in _COLORS:
        raise typer.Exit(69)


def _watch(service: RemoteService) -> None:
    def picture() -> Group:
        health, statistics = service.call("GET", "/health"), service.call("GET", "/statistics")
        return _picture(service.url, health, statistics)

    try:
        with Live(picture(), console=console, screen=console.is_terminal) as live:
            while True:
                time.sleep(1)
                live.update(picture())
    except KeyboardInterrupt:
        return


def _picture(url: str, health: dict[str, Any], statistics: dict[str, Any]) -> Group:
    lines: list[str] = []
    color = _COLORS.get(health["status"], "red")
    uptime = format_seconds(statistics["service"]["uptime_seconds"])
    lines.append(f"[bold {color}]{health['status']}[/]  {url}  up {uptime}")
    pool, queue, breaker = health["connection_pool"], health["queue"], health["circuit_breaker"]
    metrics, system = health["metrics"], health["system"]
    answered = statistics["performance"]
    lines.append(
        f"  statements   {queue['running']} running, {queue['waiting']} waiting, "
        f"{metrics['total_queries']} since start, {answered['service_success_rate']:g} % answered"
        + (f"; {answered['user_errors']} wrong by their users" if answered["user_errors"] else "")
    )
    lines.append(
        f"  connections  {pool['in_use']} of {pool['max_connections']} in use; "
        f"breaker {breaker['state']}"
    )
    lines.append(
        f"  memory       {system['process_memory_mb']:.0f} MB "
        f"({system['process_memory_percent']:.1f} %); disk {system['disk_usage_percent']:.0f} % "
        f"full; database {health['database_size_mb']:.1f} MB"
    )
    lines.append(f"  durability   {plain(statistics['replication']['sentence'])}")
    healing = health["healing"]
    if healing["count"]:
        last = healing["last_heal"]
        lines.append(f"  healed       {healing['count']} times, last at {last['at']}")
    for name, state in health["extensions"].items():
        if state.startswith("unavailable"):
            lines.append(f"  extension    {plain(name)} {plain(state)}")
    lines += [
        f"[{color}]  ! {sentence}[/]" for sentence in map(plain, map(in_commands, health["errors"]))
    ]
    return Group(*(Text.from_markup(line, overflow="fold") for line in lines))
