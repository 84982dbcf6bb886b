"""Where the records of a CSV file are: a field in quotes may hold line breaks."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

__all__ = ["ends_in_quotes", "lines_of_records", "make_line_ends_alike", "records_in"]

_BLOCK_BYTES = 1_000_000


def ends_in_quotes(line: bytes, is_inside: bool, delimiter: bytes, quote: bytes) -> bool:
    """Whether a field in quotes goes on behind a line; ``is_inside``: one came from the line before.

    A quote opens at the beginning of a field alone.
    """
    if not quote or quote not in line:
        return is_inside
    position = 0
    while True:
        if is_inside:
            end = line.find(quote, position)
            if end < 0:
                return True
            if line[end + 1 : end + 2] == quote:
                position = end + 2
                continue
            is_inside, position = False, end + 1
        while line[position : position + 1] == b" ":
            position += 1
        if line[position : position + 1] == quote and _is_field_start(line, position, delimiter):
            is_inside, position = True, position + 1
            continue
        found = line.find(delimiter, position)
        if found < 0:
            return False
        position = found + 1


def _is_field_start(line: bytes, position: int, delimiter: bytes) -> bool:
    before = line[:position].rstrip(b" ") if delimiter != b" " else line[:position]
    return not before or before.endswith(delimiter)


def lines_of_records(
    path: Path,
    numbers: Iterable[int],
    skipped_lines: int,
    delimiter: str,
    quote: str,
    unreadable: Collection[int] = (),
) -> dict[int, int]:
    """Return the first line (from 1) of each numbered record; records count from 1, without empty lines.

    ``skipped_lines``: physical lines before the first record. ``unreadable``: lines that begin none.
    """
    wanted = set(numbers)
    found: dict[int, int] = {}
    record, is_inside = 0, False
    mark, sign = delimiter.encode(), quote.encode()
    for number, line in enumerate(_lines(path), 1):
        if number <= skipped_lines or len(found) == len(wanted):
            continue
        if not is_inside and line.strip(b"\r\n") and number not in unreadable:
            record += 1
            if record in wanted:
                found[record] = number
        is_inside = ends_in_quotes(line, is_inside, mark, sign)
    return found


def records_in(lines: Iterable[bytes], delimiter: str, quote: str) -> int:
    """Return how many records the lines are, without empty ones."""
    count, is_inside = 0, False
    for line in lines:
        count += not is_inside and bool(line.strip(b"\r\n"))
        is_inside = ends_in_quotes(line, is_inside, delimiter.encode(), quote.encode())
    return count


def make_line_ends_alike(source: Path, target: Path, delimiter: str, quote: str) -> None:
    """Write the file with LF behind each record; breaks inside of fields stay as they are."""
    is_inside = False
    mark, sign = delimiter.encode(), quote.encode()
    with target.open("wb") as file:
        for line in _lines(source):
            is_inside = ends_in_quotes(line, is_inside, mark, sign)
            if not is_inside and line.endswith(b"\r\n"):
                line = line[:-2] + b"\n"
            file.write(line)


def _lines(path: Path) -> Iterator[bytes]:
    with path.open("rb", buffering=_BLOCK_BYTES) as file:
        yield from file
