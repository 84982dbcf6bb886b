"""Shows a page: plain text in a pipe, formatted and paged on a terminal."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess

import typer

from chronoduck.cli.output import console

__all__ = ["show_page"]


def show_page(markdown: str) -> None:
    """Print a page; on a terminal through $PAGER, or `less`, where there is one."""
    if not console.is_terminal:
        typer.echo(markdown, nl=False)
        return
    from rich.markdown import Markdown  # noqa: PLC0415 - a hundred modules that a pipe does not need

    with console.capture() as shown:
        console.print(Markdown(markdown, hyperlinks=False))
    pager = shlex.split(os.environ.get("PAGER") or "less")
    if shutil.which(pager[0]) is None:
        typer.echo(shown.get(), nl=False)
        return
    # Colors are kept, a page that fits is only printed: as git has it.
    environment = {**os.environ, "LESS": os.environ.get("LESS", "FRX")}
    subprocess.run(pager, input=shown.get(), text=True, env=environment, check=False)  # noqa: S603
