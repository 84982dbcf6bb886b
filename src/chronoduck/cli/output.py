"""What commands print: for people on a terminal, as JSON for programs; errors on standard error."""

from __future__ import annotations

import re
import sys
from collections.abc import Collection, Sequence
from typing import Any, Literal

import orjson
from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table

from chronoduck.cli.fitting import Shape, fit
from chronoduck.cli.words import in_commands
from chronoduck.errors import DuckDBException

__all__ = ["console", "errors", "plain", "print_error", "print_json", "print_table", "print_text"]

_UNSEEN = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
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
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    *,
    numeric: Sequence[bool] = (),
    whole: Collection[str] = (),
) -> None:
    """Write rows as a table; ``numeric`` columns are set to the right, NULL is shown dim.

    ``whole`` columns are never shortened: what is cut of an id or a time is of no use.
    """
    names = [plain(column) for column in columns]
    cells = [["[dim]NULL[/dim]" if cell is None else plain(cell) for cell in row] for row in rows]
    if not console.is_terminal:
        table = _table(names, cells, numeric, overflow="fold")
        _wide(table).print(table)
        return
    fitted = fit(columns, rows, console.width, whole)
    if fitted.shape is Shape.TURNED:
        _print_turned(names, cells)
        return
    shown = fitted.shown
    table = _table(
        ["…" if index is None else names[index] for index in shown],
        [["…" if index is None else row[index] for index in shown] for row in cells],
        [index is not None and index < len(numeric) and numeric[index] for index in shown],
        overflow="fold" if fitted.shape is Shape.WHOLE else "ellipsis",
        widths=fitted.widths,
    )
    console.print(table)
    if fitted.shape is Shape.WITHOUT_SOME:
        errors.print(
            f"[dim]{len(shown) - 1} of {len(columns)} columns; a wider terminal or --json has all[/]"
        )


def _table(
    names: Sequence[str],
    cells: Sequence[Sequence[str]],
    numeric: Sequence[bool],
    overflow: Literal["fold", "ellipsis"],
    widths: Sequence[int | None] = (),
) -> Table:
    table = Table(show_edge=False, pad_edge=False)
    for index, name in enumerate(names):
        is_number = index < len(numeric) and numeric[index]
        table.add_column(
            name,
            justify="right" if is_number else "left",
            overflow=overflow,
            no_wrap=overflow == "ellipsis",
            width=widths[index] if widths else None,
        )
    for row in cells:
        table.add_row(*row)
    return table


def _print_turned(names: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
    """Write each row as a table of its own, a line for each column."""
    for number, row in enumerate(cells, 1):
        table = Table(show_edge=False, pad_edge=False, show_header=False, title_justify="left")
        if len(cells) > 1:
            table.title = f"row {number}"
        table.add_column(no_wrap=True, overflow="ellipsis", max_width=console.width // 2)
        table.add_column(overflow="fold")
        for name, cell in zip(names, row, strict=True):
            table.add_row(name, cell)
        console.print(table)


def _wide(table: Table) -> Console:
    """Return a console that folds no row: no terminal sets the width, and ``tail`` counts lines."""
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
    detail, hint = in_commands(error.operator_detail), in_commands(error.hint or "")
    if as_json:
        fields = {
            "error": {
                "code": error.code,
                "detail": detail,
                "hint": hint,
                "exit_code": error.exit_code,
            }
        }
        sys.stderr.write(orjson.dumps(fields).decode() + "\n")
        return
    errors.print(f"[bold red]error:[/] {_set_in(detail)}", soft_wrap=True)
    if hint:
        errors.print(f"[bold]what to do:[/] {_set_in(hint)}", soft_wrap=True)


def _set_in(text: str) -> str:
    """Return the text with its further lines set in: one in a name may look like advice of ours."""
    return plain(text).replace("\n", "\n  ")
