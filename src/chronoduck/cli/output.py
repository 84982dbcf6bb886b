"""What commands print: for people on a terminal, as JSON for programs; errors on standard error."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from typing import Any

import orjson
from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table

from chronoduck.errors import DuckDBException

__all__ = ["console", "errors", "plain", "print_error", "print_json", "print_table", "print_text"]

_UNSEEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters, those that turn the direction of text, and bytes of names that are no UTF-8."""
_WIDEST = 1000
"""Columns are filled with spaces to their widest cell: a longer one is folded after all."""
console = Console(highlight=False)
errors = Console(stderr=True, highlight=False)


def print_json(value: Any) -> None:
    """Write the value as indented JSON to standard output."""
    sys.stdout.buffer.write(
        orjson.dumps(value, default=str, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    )
    sys.stdout.flush()


def print_table(
    columns: Sequence[str], rows: Sequence[Sequence[Any]], *, numeric: Sequence[bool] = ()
) -> None:
    """Write rows as a table; ``numeric`` columns are set to the right, NULL is shown dim."""
    table = Table(show_edge=False, pad_edge=False)
    for index, column in enumerate(columns):
        is_number = index < len(numeric) and numeric[index]
        table.add_column(column, justify="right" if is_number else "left", overflow="fold")
    for row in rows:
        table.add_row(*("[dim]NULL[/dim]" if cell is None else plain(cell) for cell in row))
    _wide(table).print(table)


def _wide(table: Table) -> Console:
    """Return a console that folds no row, where no terminal sets the width: ``tail`` counts lines."""
    if console.is_terminal:
        return console
    wide = Console(highlight=False, width=_WIDEST, file=console.file)
    needed = Measurement.get(wide, wide.options, table).maximum
    return wide if needed < _WIDEST else console


def plain(value: Any) -> str:
    """Return text that a console shows as it is: no markup, and nothing that a terminal obeys.

    Names of files and what tables hold may come from anybody.
    """
    text = _UNSEEN.sub(lambda found: f"\\x{ord(found[0]):02x}", str(value))
    return escape(text)


def print_text(text: str) -> None:
    """Write lines in which names and messages of others may be."""
    console.print(plain(text), soft_wrap=True)


def print_error(error: DuckDBException, as_json: bool) -> None:
    """Say what happened and what to do, on standard error."""
    if as_json:
        fields = {
            "error": {
                "code": error.code,
                "detail": error.operator_detail,
                "hint": error.hint,
                "exit_code": error.exit_code,
            }
        }
        sys.stderr.write(orjson.dumps(fields).decode() + "\n")
        return
    errors.print(f"[bold red]error:[/] {plain(error.operator_detail)}", soft_wrap=True)
    if error.hint:
        errors.print(f"[bold]what to do:[/] {plain(error.hint)}", soft_wrap=True)
