"""``chronoduck status``: how the running service is."""

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
from chronoduck.units import format_seconds

__all__ = ["status"]

_COLORS = {"healthy": "green", "degraded": "yellow"}


def status(
    database: DatabaseOption = None,
    url: UrlOption = None,
    token_file: TokenFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the health of the running service; exit code 0 when it can take statements."""
    service = require_service(database, url, token_file)
    health = service.call("GET", "/health")
    if as_json:
        print_json(health)
    else:
        _print(service.url, health, service.call("GET", "/statistics"))
    if health["status"] not in _COLORS:
        raise typer.Exit(69)


def _print(url: str, health: dict[str, Any], statistics: dict[str, Any]) -> None:
    color = _COLORS.get(health["status"], "red")
    uptime = format_seconds(statistics["service"]["uptime_seconds"])
    console.print(f"[bold {color}]{health['status']}[/]  {url}  up {uptime}")
    pool, queue, breaker = health["connection_pool"], health["queue"], health["circuit_breaker"]
    metrics, system = health["metrics"], health["system"]
    console.print(
        f"  statements   {queue['running']} running, {queue['waiting']} waiting, "
        f"{metrics['total_queries']} since start, {metrics['success_rate']:g} % succeeded"
    )
    console.print(
        f"  connections  {pool['in_use']} of {pool['max_connections']} in use; "
        f"breaker {breaker['state']}"
    )
    console.print(
        f"  memory       {system['process_memory_mb']:.0f} MB "
        f"({system['process_memory_percent']:.1f} %); disk {system['disk_usage_percent']:.0f} % "
        f"full; database {health['database_size_mb']:.1f} MB"
    )
    console.print(f"  durability   {statistics['replication']['sentence']}", soft_wrap=True)
    healing = health["healing"]
    if healing["count"]:
        last = healing["last_heal"]
        console.print(f"  healed       {healing['count']} times, last at {last['at']}")
    for name, state in health["extensions"].items():
        if state.startswith("unavailable"):
            console.print(f"  extension    {name} {state}")
    for sentence in health["errors"]:
        console.print(f"[{color}]  ! {sentence}[/]", soft_wrap=True)
