"""``python -m chronoduck.engine.sheet_worker``: writes the rows of a spreadsheet as CSV, enclosed.

A sheet of a few bytes may say that it has a cell in its last row: what reads it asks for memory for all
those before. So that is done in a process which may take only so much, and which can only read one file.
The answer is a line of JSON with ``verdict`` and ``sentence``, then CSV until the connection ends.
"""

from __future__ import annotations

import csv
import datetime
import io
import json
import os
import signal
import socket
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import python_calamine

from chronoduck.engine.kernel.enclosure import KernelWalls, enclose

__all__ = ["main", "written_rows"]

_DESCRIPTORS = 64
_RESERVED_BYTES = 500_000_000
"""Address space that the interpreter takes beside what a sheet needs."""
_BLOCK_CHARACTERS = 1_000_000
_MAX_SHOWN = 300
_MOST_GAPS = 1_000
_WHOLE = 2**53
"""Numbers of a sheet are floats: whole ones below are exact."""


def main() -> None:
    """Enclose this process, then read the sheet that is asked for."""
    descriptor, path, sheet, memory_bytes, seconds, demanded = sys.argv[1:]
    connection = socket.socket(fileno=int(descriptor))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the service's
    walls = enclose(
        _DESCRIPTORS, int(memory_bytes) + _RESERVED_BYTES, [Path(path).parent], may_open=True
    )
    if KernelWalls(int(demanded)) not in walls:
        os._exit(1)
    # The kernel ends the process: it may be in the library for long.
    signal.setitimer(signal.ITIMER_PROF, float(seconds))
    with connection.makefile("wb") as answer:
        try:
            _answer(answer, path, sheet)
        except BrokenPipeError:
            os._exit(1)
        except BaseException as error:  # noqa: BLE001 - a panic of the library is one of its own
            sentence = str(error)[:_MAX_SHOWN] or type(error).__name__
            _say(answer, {"verdict": "refused", "sentence": sentence})
        answer.flush()
    os._exit(0)


def _say(answer: Any, facts: dict[str, object]) -> None:
    answer.write(json.dumps(facts).encode() + b"\n")


def _answer(answer: Any, path: str, sheet: str) -> None:
    try:
        book = python_calamine.CalamineWorkbook.from_path(path)
    except python_calamine.PasswordError:
        _say(answer, {"verdict": "refused", "sentence": "it is protected by a password"})
        return
    names = list(book.sheet_names)
    if not names or (sheet and sheet not in names):
        there = ", ".join(repr(name) for name in names)[:_MAX_SHOWN]
        sentence = f"it has no sheet {sheet!r}; it has {there}" if sheet else "it has no sheet"
        _say(answer, {"verdict": "refused", "sentence": sentence})
        return
    chosen = sheet or _first_shown(book) or names[0]
    rows = book.get_sheet_by_name(chosen).to_python(skip_empty_area=False)
    _say(answer, {"verdict": "read", "sentence": chosen, "others": len(names) - 1})
    for text in written_rows(rows):
        answer.write(text.encode("utf-8", "replace"))


def _first_shown(book: python_calamine.CalamineWorkbook) -> str | None:
    """Return the first sheet with cells that people see: lists for menus are often hidden before it."""
    cells, shown = python_calamine.SheetTypeEnum.WorkSheet, python_calamine.SheetVisibleEnum.Visible
    return next(
        (each.name for each in book.sheets_metadata if each.typ == cells and each.visible == shown),
        None,
    )


def written_rows(rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """Yield CSV, and a line of JSON behind it.

    Rows without a value are left out. The line has ``texts``: for each column that has texts with digits
    in them, the last row of one; and ``gaps``: from which record on what is to be added to its number to
    get that of its row.
    """
    buffer = io.StringIO()
    write = csv.writer(buffer, lineterminator="\n").writerow
    texts: dict[int, int] = {}
    gaps: list[tuple[int, int]] = []
    record = 0
    for number, row in enumerate(rows, 1):
        if not any(cell != "" and cell is not None for cell in row):
            continue
        record += 1
        shift = number - record
        if len(gaps) < _MOST_GAPS and (gaps[-1][1] if gaps else 0) != shift:
            gaps.append((record, shift))
        for index, cell in enumerate(row):
            if isinstance(cell, str) and any(sign.isdecimal() for sign in cell):
                texts[index] = record
        write(map(_text, row))
        if buffer.tell() > _BLOCK_CHARACTERS:
            yield buffer.getvalue()
            buffer.seek(0)
            buffer.truncate()
    yield buffer.getvalue()
    yield json.dumps({"texts": list(texts.items()), "gaps": gaps}) + "\n"


def _text(cell: object) -> str:
    """Return a cell as the loader reads it: times as ISO 8601 has them, whole numbers without a point."""
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if isinstance(cell, float):
        return str(int(cell)) if cell.is_integer() and abs(cell) < _WHOLE else repr(cell)
    if isinstance(cell, datetime.datetime):
        return cell.isoformat(" ")
    if isinstance(cell, datetime.date | datetime.time):
        return cell.isoformat()
    if isinstance(cell, datetime.timedelta):
        return _duration(cell)
    return "" if cell is None else str(cell)


def _duration(cell: datetime.timedelta) -> str:
    seconds = cell // datetime.timedelta(seconds=1)
    rest = cell - datetime.timedelta(seconds=seconds)
    fraction = f".{rest.microseconds:06}".rstrip("0") if rest.microseconds else ""
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}{fraction}"


if __name__ == "__main__":
    main()
