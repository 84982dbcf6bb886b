"""``python -m chronoduck.engine.sheet_worker``: writes the rows of a spreadsheet as CSV, enclosed.

A sheet of a few bytes may say that it has a cell in its last row: what reads it asks for memory for all
those before. So that is done in a process which may take only so much, and which can only read one file.
The answer is a line of JSON with ``verdict`` and ``sentence``, then CSV until the connection ends.
"""

from __future__ import annotations

import csv
import datetime
import encodings.cp437  # noqa: F401 - names in a zip file; no file can be imported later
import io
import json
import os
import signal
import socket
import sys
import zipfile
import zlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import python_calamine

from chronoduck.engine.kernel.enclosure import KernelWalls, enclose

__all__ = ["main", "written_rows"]

_DESCRIPTORS = 64
_RESERVED_BYTES = 500_000_000
"""Address space that the interpreter takes beside what a sheet needs."""
_BLOCK_CHARACTERS = 1_000_000
_HEAD_BYTES = 200
_READ_BYTES = 1_000_000
_ERROR_CELL = b' t="e"'
_MAX_SHOWN = 300
_MOST_GAPS = 1_000
_WHOLE = 2**53
"""Numbers of a sheet are floats: whole ones below are exact."""
_REMEMBERED_HEADERS = 20
_OPEN_DOCUMENT = b"opendocument.spreadsheet"
_NO_XLSX = (
    *(zipfile.BadZipFile, zlib.error, ElementTree.ParseError, KeyError, ValueError),
    *(StopIteration, RuntimeError, EOFError, OSError),
)
_KINDS: dict[type, str] = {
    bool: "truth",
    int: "whole",
    datetime.datetime: "moment",
    datetime.date: "day",
    datetime.time: "time",
    datetime.timedelta: "span",
}
"""What a cell is, by the class that the library gives it; floats and texts are looked at."""


def main() -> None:
    """Enclose this process, then read the sheet that is asked for."""
    descriptor, path, sheet, nulls, memory_bytes, seconds, demanded = sys.argv[1:]
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
            _answer(answer, path, sheet, frozenset(json.loads(nulls)))
        except BrokenPipeError:
            os._exit(1)
        except BaseException as error:  # noqa: BLE001 - a panic of the library is one of its own
            sentence = str(error)[:_MAX_SHOWN] or type(error).__name__
            _say(answer, {"verdict": "refused", "sentence": sentence})
        answer.flush()
    os._exit(0)


def _say(answer: Any, facts: dict[str, object]) -> None:
    answer.write(json.dumps(facts).encode() + b"\n")


def _answer(answer: Any, path: str, sheet: str, nulls: Collection[str]) -> None:
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
    errors = _count_errors(path, chosen)
    facts = {"sentence": chosen, "others": len(names) - 1, "errors": errors}
    _say(answer, {"verdict": "read", **facts})
    with Path(path).open("rb") as file:
        has_iso_spans = _OPEN_DOCUMENT in file.read(_HEAD_BYTES)
    for text in written_rows(rows, nulls, has_iso_spans=has_iso_spans):
        answer.write(text.encode("utf-8", "replace"))


def _first_shown(book: python_calamine.CalamineWorkbook) -> str | None:
    """Return the first sheet with cells that people see: lists for menus are often hidden before it."""
    cells, shown = python_calamine.SheetTypeEnum.WorkSheet, python_calamine.SheetVisibleEnum.Visible
    return next(
        (each.name for each in book.sheets_metadata if each.typ == cells and each.visible == shown),
        None,
    )


def _count_errors(path: str, sheet: str) -> int:
    """Return the cells of an XLSX sheet with an error such as #N/A: the library gives them as empty."""
    count = 0
    try:
        with zipfile.ZipFile(path) as book, book.open(_part_of(book, sheet)) as part:
            end = b""
            while block := part.read(_READ_BYTES):
                count += (end + block).count(_ERROR_CELL)
                end = block[1 - len(_ERROR_CELL) :]
    except _NO_XLSX:
        return count  # of another format, or written as the library alone understands it
    return count


def _part_of(book: zipfile.ZipFile, sheet: str) -> str:
    """Return the name of the part that holds a sheet."""
    sheets = ElementTree.fromstring(book.read("xl/workbook.xml")).iter()  # noqa: S314 - in a process of its own
    link = next(
        value
        for each in sheets
        if each.tag.endswith("}sheet") and each.get("name") == sheet
        for key, value in each.items()
        if key.endswith("}id")
    )
    links = ElementTree.fromstring(book.read("xl/_rels/workbook.xml.rels"))  # noqa: S314 - as above
    target = next(each.attrib["Target"] for each in links if each.get("Id") == link)
    return target.removeprefix("/") if target.startswith("/") else f"xl/{target}"


def written_rows(
    rows: Iterable[Sequence[object]],
    nulls: Collection[str] = (),
    *,
    has_iso_spans: bool = False,
) -> Iterator[str]:
    """Yield CSV, and a line of JSON behind it.

    Rows without a value are left out. The line has ``kinds``: column, kind of cell, and the last record
    with one of that kind; and ``gaps``: from which record on what is to be added to its number to get
    that of its row. ``nulls``: texts that mean no value. ``has_iso_spans``: the library gives durations
    of a day and more as texts such as ``PT36H00M00S``.
    """
    buffer = io.StringIO()
    write = csv.writer(buffer, lineterminator="\n").writerow
    last: dict[tuple[int, str], int] = {}
    headers: set[tuple[object, ...]] = set()
    gaps: list[tuple[int, int]] = []
    record = 0
    for number, given in enumerate(rows, 1):
        row = [_span_of(cell) for cell in given] if has_iso_spans else given
        if not any(cell != "" and cell is not None for cell in row):
            continue
        record += 1
        shift = number - record
        if len(gaps) < _MOST_GAPS and (gaps[-1][1] if gaps else 0) != shift:
            gaps.append((record, shift))
        if not _is_repeated(row, headers):
            for index, cell in enumerate(row):
                if kind := _kind(cell, nulls):
                    last[index, kind] = record
        write(map(_text, row))
        if buffer.tell() > _BLOCK_CHARACTERS:
            yield buffer.getvalue()
            buffer.seek(0)
            buffer.truncate()
    yield buffer.getvalue()
    kinds = [(index, kind, record) for (index, kind), record in last.items()]
    yield json.dumps({"kinds": kinds, "gaps": gaps}) + "\n"


def _is_repeated(row: Sequence[object], headers: set[tuple[object, ...]]) -> bool:
    """Whether a row is one of the first that have texts alone: it may be the header, once more."""
    if not all(cell is None or isinstance(cell, str) for cell in row):
        return False
    texts = tuple(row)
    if texts in headers:
        return True
    if len(headers) < _REMEMBERED_HEADERS and sum(1 for cell in row if cell) > 1:
        headers.add(texts)
    return False


def _kind(cell: object, nulls: Collection[str]) -> str:
    """Return what a cell is; an empty text: nothing."""
    if isinstance(cell, float):
        return "whole" if cell.is_integer() and abs(cell) < _WHOLE else "real"
    if isinstance(cell, str):
        return "text" if cell.strip() and cell not in nulls else ""
    return "" if cell is None else _KINDS.get(type(cell), "text")


def _span_of(cell: object) -> object:
    """Return the duration that a text of LibreOffice's form says, else the cell."""
    if not isinstance(cell, str) or not cell.startswith(("PT", "-PT")) or not cell.endswith("S"):
        return cell
    hours, found, rest = cell.removeprefix("-")[2:-1].partition("H")
    minutes, also_found, seconds = rest.partition("M")
    whole, _, fraction = seconds.partition(".")
    parts = (hours, minutes, whole, fraction or "0")
    if not found or not also_found or not all(each.isdecimal() for each in parts):
        return cell
    try:
        span = datetime.timedelta(hours=int(hours), minutes=int(minutes), seconds=int(whole))
        span += datetime.timedelta(microseconds=int(fraction[:6].ljust(6, "0")))
    except (OverflowError, ValueError):  # of thousands of digits no number is made
        return cell
    return -span if cell.startswith("-") else span


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
    microseconds = abs(cell) // datetime.timedelta(microseconds=1)
    seconds, rest = divmod(microseconds, 1_000_000)
    fraction = f".{rest:06}".rstrip("0") if rest else ""
    sign = "-" if cell < datetime.timedelta(0) else ""
    return f"{sign}{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}{fraction}"


if __name__ == "__main__":
    main()
