"""``chronoduck top`` and ``chronoduck kill``: what runs now, live, or what cost the most; ending it."""

from __future__ import annotations

import time
from enum import StrEnum
from typing import Annotated, Any
from urllib.parse import quote

import typer
from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from chronoduck.cli.output import console, plain, print_json, print_text
from chronoduck.cli.remote import RemoteService
from chronoduck.cli.target import (
    DatabaseOption,
    JsonOption,
    TokenFileOption,
    UrlOption,
    require_service,
)
from chronoduck.units import format_bytes, format_seconds

__all__ = ["kill", "top"]

_STATEMENT_WIDTH = 60


class _Order(StrEnum):
    """What is the most first."""

    TOTAL_TIME = "total_time"
    MAX_TIME = "max_time"
    MEAN_TIME = "mean_time"
    COUNT = "count"
    ERRORS = "errors"
    ROWS = "rows"
    BYTES = "bytes"
    MEMORY = "memory"
    LAST_SEEN = "last_seen"


def top(
    statements: Annotated[
        bool,
        typer.Option(
            "--statements", help="What cost the most since the start, by normalised text."
        ),
    ] = False,
    order: Annotated[
        _Order, typer.Option(help="With --statements: what is the most first.")
    ] = _Order.TOTAL_TIME,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="With --statements: how many.")] = 20,
    once: Annotated[bool, typer.Option("--once", help="Print one picture and end.")] = False,
    interval: Annotated[float, typer.Option(min=0.2, help="Seconds between pictures.")] = 1.0,
    database: DatabaseOption = None,
    url: UrlOption = None,
    token_file: TokenFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the statements that run, the longest first, until Ctrl-C; or the most expensive ones."""
    service = require_service(database, url, token_file)
    if statements:
        asked = {"order": order.value, "limit": str(limit)}
        expensive = service.call("GET", "/statistics/statements", params=asked)
        if as_json:
            print_json(expensive)
        else:
            console.print(_expensive(expensive))
    elif as_json:
        print_json(service.call("GET", "/queries"))
    elif once or not console.is_terminal:
        console.print(_picture(service))
    else:
        _watch(service, interval)


def _watch(service: RemoteService, interval: float) -> None:
    try:
        with Live(_picture(service), console=console, screen=True, auto_refresh=False) as live:
            while True:
                time.sleep(interval)
                live.update(_picture(service), refresh=True)
    except KeyboardInterrupt:
        return


def _picture(service: RemoteService) -> Group:
    statistics = service.call("GET", "/statistics")
    statements = service.call("GET", "/queries")
    system, queue = statistics["system"], statistics["queue"]
    head = Text(
        f"{queue['running']} running, {queue['waiting']} waiting; "
        f"cpu {system['cpu_percent']:.0f} %, memory {system['process_memory_mb']:.0f} MB; "
        f"{statistics['metrics']['total_queries']} statements since start"
    )
    return Group(head, _table(statements))


def _table(statements: list[dict[str, Any]]) -> Table:
    table = Table(show_edge=False, pad_edge=False, expand=True)
    # On a narrow terminal the statement gives way: the id must be whole to be used.
    for name, width in (("id", 16), ("user", 5), ("state", 9)):
        table.add_column(name, no_wrap=True, min_width=width)
    for name, width in (("for", 6), ("of", 6), ("rows", 4)):
        table.add_column(name, justify="right", no_wrap=True, min_width=width)
    table.add_column("statement", no_wrap=True, overflow="ellipsis", ratio=1)
    for each in sorted(statements, key=lambda one: -one["elapsed_seconds"]):
        table.add_row(
            each["id"],
            plain(each["user"]),
            each["state"],
            format_seconds(each["elapsed_seconds"]),
            format_seconds(each["timeout_seconds"]),
            f"{each['rows']:,}",
            plain(" ".join(each["query"].split())[:_STATEMENT_WIDTH]),
        )
    return table


def _expensive(statements: list[dict[str, Any]]) -> Table:
    table = Table(show_edge=False, pad_edge=False, expand=True)
    for name, width in (("total", 6), ("count", 5), ("mean", 6), ("max", 6), ("errors", 6)):
        table.add_column(name, justify="right", no_wrap=True, min_width=width)
    for name, width in (("rows", 5), ("bytes", 6), ("memory", 6)):
        table.add_column(name, justify="right", no_wrap=True, min_width=width)
    table.add_column("statement", no_wrap=True, overflow="ellipsis", ratio=1)
    for each in statements:
        table.add_row(
            format_seconds(each["total_time"]),
            f"{each['count']:,}",
            *(format_seconds(each[name]) for name in ("mean_time", "max_time")),
            f"{each['errors']:,}",
            f"{each['rows']:,}",
            format_bytes(each["result_bytes"]),
            f"{each['peak_memory_mb']:,.0f} MB",
            plain(each["statement"] or each["kind"]),
        )
    return table


def kill(
    statement_id: Annotated[str, typer.Argument(help="Its id, as `chronoduck top` shows it.")],
    database: DatabaseOption = None,
    url: UrlOption = None,
    token_file: TokenFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """End a running statement; its caller is told that it was cancelled."""
    service = require_service(database, url, token_file)
    answer = service.call("DELETE", f"/queries/{quote(statement_id, safe='')}")
    if as_json:
        print_json(answer)
    else:
        print_text(answer["message"])
