"""``chronoduck help``: the documentation, as the package has it."""

from __future__ import annotations

from typing import Annotated

import typer

from chronoduck.cli.paging import show_page
from chronoduck.pages import close_topic, read_command, read_page, topics

__all__ = ["show_help"]


def show_help(
    ctx: typer.Context,
    topic: Annotated[
        str | None,
        typer.Argument(help="A page, a runbook or a command; default: the list of pages."),
    ] = None,
) -> None:
    """Show a page of the documentation: chronoduck help install. Options of a command: --help."""
    if topic is None:
        _print_topics()
        return
    page = read_page(topic.lower()) or read_command(topic.lower())
    if page is None:
        close = close_topic(topic)
        ctx.fail(
            f"There is no page '{topic}'. "
            + (f"Did you mean '{close}'? " if close else "")
            + "`chronoduck help` lists all of them."
        )
    show_page(page)


def _print_topics() -> None:
    found = topics()
    width = max(len(topic.name) for topic in found)
    for topic in found:
        typer.echo(f"{topic.name:{width}}  {topic.line}".rstrip())
