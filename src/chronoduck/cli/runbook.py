"""``chronoduck runbook``: what to do when it is broken, also when no service runs to show the page."""

from __future__ import annotations

from typing import Annotated

import typer

from chronoduck.cli.paging import show_page
from chronoduck.errors import NotFoundError
from chronoduck.pages import read_index, read_runbook, runbook_names

__all__ = ["runbook"]


def runbook(
    name: Annotated[
        str | None,
        typer.Argument(help="A runbook, or the name of an alert; default: the list of them."),
    ] = None,
) -> None:
    """Show what to do: chronoduck runbook disk-full, chronoduck runbook DuckDBDiskAlmostFull."""
    show_page(read_index() if name is None else read_runbook(_of_alert(name)))


def _of_alert(name: str) -> str:
    names = runbook_names()
    if name in names:
        return name
    for each in names:
        if f"`{name}`" in read_runbook(each).partition("## See")[0]:
            return each
    raise NotFoundError(f"there is no runbook {name}", hint="chronoduck runbook lists all of them.")
