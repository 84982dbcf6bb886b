"""How a CSV file is written: what the caller says, and a guess for the rest from its beginning."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

import orjson

from chronoduck.errors import LoadError
from chronoduck.transfer.exact_text import TextForms
from chronoduck.transfer.number_forms import guess_forms, is_value
from chronoduck.transfer.options import ReadOptions

__all__ = ["Dialect", "find_dialect", "unique_names"]

_CANDIDATES = ("\t", ";", "|", ",")
"""In this order: a comma is often a part of the fields that the others separate."""
_SAMPLE_RECORDS = 200
_MOST_LINES = 400
_ALIKE = 0.9
_NOTHING = "Nothing was loaded."
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Dialect:
    """How the records of a file are separated, and where they begin."""

    delimiter: str
    quote: str
    names: list[str]
    header: list[str]
    """The fields of the header's line."""
    has_header: bool
    header_line: int
    """Of the names, from 1."""
    data_line: int
    """Of the first record, from 1."""
    data_offset: int
    """Its first byte."""
    forms: TextForms
    guessed: dict[str, str] = field(default_factory=dict)
    """What was not said, and what it was taken to be."""


@dataclass(frozen=True)
class _Record:
    fields: list[str]
    line: int
    """Its first line, from 0."""
    end: int
    """The line behind its last one."""

    @property
    def filled(self) -> int:
        return sum(1 for each in self.fields if each.strip())


def find_dialect(
    head: bytes,
    name: str,
    options: ReadOptions,
    known: Sequence[str] = (),
    *,
    is_whole: bool = True,
) -> Dialect:
    """Return how a file that begins with ``head`` (UTF-8) is written; ``known``: the table's columns.

    ``is_whole``: the file has no more than that.

    Raises:
        LoadError: the header cannot be read; says what to set.
    """
    bom = len(_BOM) if head.startswith(_BOM) else 0
    pieces = head[bom:].split(b"\n", _MOST_LINES)
    lines = [piece.decode("utf-8", "replace") for piece in pieces[:_MOST_LINES]]
    if not is_whole and len(lines) > 1 and len(pieces) <= _MOST_LINES:
        lines.pop()  # it goes on
    first_line = lines[0].strip()
    if options.header == "auto" and not options.skip and _is_object(first_line):
        raise LoadError(
            f"line 1 of {name} is a JSON object",
            hint=f"{_NOTHING} Set `format=ndjson`, or `header=no`.",
        )
    start, said = options.skip, ""
    if not start and first_line.lower().startswith("sep=") and len(first_line) == len("sep=;"):
        start, said = 1, first_line[-1]  # so Excel writes down its delimiter
    quote = '"' if options.quote is None else options.quote
    delimiter = options.delimiter or said or _guess_delimiter(lines[start:], quote)
    records = list(_records(lines, start, delimiter, quote, name))
    if not records:
        if not start:
            raise LoadError(
                f"{name} is empty", hint=f"{_NOTHING} A CSV file without rows has a header line."
            )
        raise LoadError(
            f"{name} has no line behind the {start} that are skipped",
            hint=f"{_NOTHING} Set `skip`.",
        )
    first = 0 if options.skip else _first_record(records, known, options)
    head_record, body = records[first], records[first + 1 :]
    guessed = {} if options.delimiter else {"delimiter": delimiter}
    if not options.skip and head_record.line:
        guessed["skip"] = str(head_record.line)
    has_header, names = _header(head_record, body, options, known, name)
    if options.header == "auto":
        guessed["header"] = "yes" if has_header else "no"
    data = head_record.end if has_header else head_record.line
    rows = [record.fields for record in (body if has_header else records[first:])]
    forms = guess_forms(rows, options, guessed, delimiter)
    offset = sum(len(line.encode()) + 1 for line in lines[:data]) + (bom if data else 0)
    return Dialect(
        delimiter,
        quote,
        unique_names(names, name, {each.lower() for each in known}),
        head_record.fields,
        has_header,
        head_record.line + 1,
        data + 1,
        min(offset, len(head)),
        forms,
        guessed,
    )


def _is_object(line: str) -> bool:
    if not line.startswith("{"):
        return False
    try:
        return isinstance(orjson.loads(line), dict)
    except orjson.JSONDecodeError:
        return False


# --- delimiter --------------------------------------------------------------------------------


def _guess_delimiter(lines: list[str], quote: str) -> str:
    scores = {}
    for candidate in _CANDIDATES:
        try:
            records = list(_records(lines, 0, candidate, quote, ""))
        except LoadError:
            continue
        counts = [len(record.fields) for record in records if record.filled > 1]
        if counts:
            width, share = Counter(counts).most_common(1)[0]
            widths = [len(record.fields) for record in records]
            # Behind titles come rows; a mark in a text here and there separates nothing.
            rows = len(widths) - widths.index(width)
            if width > 1 and share > rows / 2:
                scores[candidate] = (share / len(records), counts[0] == width)
    for candidate in _CANDIDATES:
        if candidate in scores and scores[candidate] == (1.0, True):
            return candidate
    for candidate in _CANDIDATES:
        if candidate in scores and scores[candidate][0] >= _ALIKE and scores[candidate][1]:
            return candidate
    if scores:
        return max(scores, key=lambda each: (scores[each][0], -_CANDIDATES.index(each)))
    return ","


def _records(
    lines: list[str], start: int, delimiter: str, quote: str, name: str
) -> Iterator[_Record]:
    """Yield the first records that are not empty.

    Raises:
        LoadError: a field is too long, or one in quotes does not end.
    """
    taken = start

    def count() -> Iterator[str]:
        nonlocal taken
        for line in lines[start:]:
            taken += 1
            yield line.removesuffix("\r") + "\n"

    settings: dict[str, object] = {"delimiter": delimiter, "strict": False}
    if quote:
        settings["quotechar"] = quote
    else:
        settings["quoting"] = csv.QUOTE_NONE
    reader = csv.reader(count(), **settings)  # type: ignore[arg-type]
    found, line = 0, start
    try:
        for fields in reader:
            if fields:
                found += 1
                yield _Record(fields, line, taken)
            line = taken
            if found >= _SAMPLE_RECORDS:
                return
    except csv.Error as error:
        place = f"line {line + 1}" if found else "the header"
        raise LoadError(
            f"{place} of {name} cannot be read: {error}",
            hint=f"{_NOTHING} Set `delimiter` or `quote`.",
        ) from error


# --- the first line that counts ---------------------------------------------------------------


def _first_record(records: list[_Record], known: Sequence[str], options: ReadOptions) -> int:
    """Return which record is the header, or the first row: titles and comments come before it."""
    folded = {each.lower() for each in known}
    for index, record in enumerate(records[:50]):
        names = [each.strip().lower() for each in record.fields]
        if folded and folded.issuperset(each for each in names if each) and record.filled:
            return index
    width = Counter(len(record.fields) for record in records).most_common(1)[0][0]
    for index, record in enumerate(records[:50]):
        rest = records[index + 1 :]
        if not rest or not _is_before(record, rest[0], width):
            # What follows a title is a header; else the first line was no title.
            is_sure = index == 0 or options.header == "no" or _is_header(record, rest)
            return index if is_sure else 0
    return 0


def _is_before(record: _Record, following: _Record, width: int) -> bool:
    """Whether a record is a title or a comment."""
    first = record.fields[0].strip()
    if first.startswith("#"):
        looks = not any(is_value(each) for each in following.fields) and following.filled > 1
        return len(record.fields) != width or first.startswith("# ") or looks
    if width < 2 or len(record.fields) > width:
        return False
    return len(record.fields) == 1 or (width > 2 and record.filled <= 1)


# --- names ------------------------------------------------------------------------------------


def _header(
    record: _Record,
    body: list[_Record],
    options: ReadOptions,
    known: Sequence[str],
    name: str,
) -> tuple[bool, list[str]]:
    """Return whether the record names the columns, and the names."""
    width = len(record.fields)
    if options.header not in ("auto", "yes", "no"):
        return False, _given_names(options.header, width, name)
    folded = {each.lower() for each in known}
    names = [each.strip() for each in record.fields]
    is_header = options.header == "yes" or bool(
        options.header == "auto" and ({each.lower() for each in names} & folded)
    )
    if is_header or (options.header == "auto" and _is_header(record, body)):
        return True, record.fields
    if known and len(known) != width:
        raise LoadError(
            f"line {record.line + 1} of {name} has {width} fields, "
            f"and the table has {len(known)} columns",
            hint=f"{_NOTHING} Set `header=a,b,c` to name the fields of a file without a header.",
        )
    return False, list(known) or [f"column{index}" for index in range(width)]


def _given_names(header: str, width: int, name: str) -> list[str]:
    names = next(csv.reader([header]))
    if len(names) != width:
        raise LoadError(
            f"`header` names {len(names)} columns, and {name} has {width}",
            hint=f"{_NOTHING} Name every column in `header`, or set `delimiter`.",
        )
    return names


def _is_header(record: _Record, body: list[_Record]) -> bool:
    """Whether a record names the columns of those after it, as far as can be seen."""
    if record.filled == 0:
        return False
    looks_like_data = False
    for index, each in enumerate(record.fields):
        below = [row.fields[index] for row in body if index < len(row.fields)]
        filled = [value for value in below if value.strip()]
        are_values = bool(filled) and all(map(is_value, filled))
        if are_values and not is_value(each) and each.strip():
            return True
        if is_value(each) and not _is_year(each) and (are_values or not body):
            looks_like_data = True
    return not looks_like_data


def _is_year(text: str) -> bool:
    return len(text.strip()) == 4 and text.strip().isdecimal() and "1800" <= text.strip() <= "2199"


def unique_names(names: Sequence[str], name: str, known: Collection[str] = ()) -> list[str]:
    """Return names of which no two are the same; those that are empty get one.

    ``known``: columns of the table, if there is one; then only they are new names of repeated ones.

    Raises:
        LoadError: one contains a NUL byte.
    """
    # A name that another column has as its own is not given to a repeated one.
    taken = {each.strip().lower() for each in names}
    used: set[str] = set()
    found: list[str] = []
    for index, each in enumerate(names):
        if "\0" in each:
            raise LoadError(
                f"the name of column {index + 1} of {name} contains a NUL byte", hint=_NOTHING
            )
        bare = each.strip() or f"column{index}"
        unique, number = bare, 0
        while unique.lower() in used or (number and unique.lower() in taken):
            number += 1
            unique = f"{bare}_{number}"
        if number and known and unique.lower() not in known:
            unique = bare  # which is refused where columns are matched
        used.add(unique.lower())
        found.append(unique)
    return found
