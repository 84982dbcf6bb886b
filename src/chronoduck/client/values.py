"""Values between Python and the service's JSON, by their DuckDB type.

What Python's type cannot hold stays the text that DuckDB has for it: infinite dates, years outside of
1 to 9999, parts of a microsecond, ``24:00:00``, intervals with months.
"""

from __future__ import annotations

import base64
import datetime as dt
import math
import re
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from chronoduck.client.column_types import ColumnType, parse_type

__all__ = ["RowConverter", "json_value", "parameters", "row_value"]

Convert = Callable[[Any], Any]
_INTERVAL = re.compile(
    r"(?:(?P<days>-?\d+) days?)? ?"
    r"(?:(?P<sign>-?)(?P<hours>\d+):(?P<minutes>\d\d):(?P<seconds>\d\d(?:\.\d{1,6})?))?"
)
_NANOSECONDS = re.compile(r"\.\d{7}")
_64_BITS = range(-(2**63), 2**63)
"""Beyond, DuckDB's reader of JSON makes doubles of integers, in rows to load."""
_128_BITS = range(-(2**127), 2**128)
"""Beyond, a parameter has no type of a number; inside of lists and objects it is JSON."""


# --- from JSON --------------------------------------------------------------------------------


def _or_text(parse: Callable[[str], Any]) -> Convert:
    def convert(text: str) -> Any:
        try:
            return parse(text)
        except (ValueError, OverflowError):
            return text

    return convert


def _moment(text: str) -> dt.datetime:
    if _NANOSECONDS.search(text):  # Python would cut them off
        raise ValueError("nanoseconds")
    return dt.datetime.fromisoformat(text)


def _time(text: str) -> dt.time:
    if text.startswith("24") or _NANOSECONDS.search(text):
        raise ValueError("no time of a day, or nanoseconds")
    return dt.time.fromisoformat(text)


def _interval(text: str) -> dt.timedelta:
    match = _INTERVAL.fullmatch(text)
    if match is None:
        raise ValueError("months have no length")
    days, sign, hours, minutes, seconds = match.groups("0")
    part = dt.timedelta(
        hours=int(hours), minutes=int(minutes), microseconds=int(Decimal(seconds) * 1_000_000)
    )
    return dt.timedelta(days=int(days)) + (-part if sign == "-" else part)


def _json_document(value: Any) -> Any:
    """Return a JSON value with floats, whatever its numbers were read as."""
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, list):
        return [_json_document(each) for each in value]
    if isinstance(value, dict):
        return {name: _json_document(each) for name, each in value.items()}
    return value


_SCALARS: dict[str, Convert] = {
    "DATE": _or_text(dt.date.fromisoformat),
    "TIMESTAMP": _or_text(_moment),
    "TIMESTAMP_S": _or_text(_moment),
    "TIMESTAMP_MS": _or_text(_moment),
    "TIMESTAMP_NS": _or_text(_moment),
    "TIMESTAMP WITH TIME ZONE": _or_text(_moment),
    "TIME": _or_text(_time),
    "TIME_NS": _or_text(_time),
    "TIME WITH TIME ZONE": _or_text(_time),
    "INTERVAL": _or_text(_interval),
    "BLOB": base64.b64decode,
    "UUID": uuid.UUID,
    "DECIMAL": Decimal,
    "DOUBLE": float,
    "FLOAT": float,
    "JSON": _json_document,
}


def _converter(kind: ColumnType) -> Convert | None:
    """Return what makes a Python value of a JSON value that is not null; None: it is one."""
    if kind.id in ("LIST", "ARRAY"):
        return _list(_converter(kind.child))
    if kind.id in ("STRUCT", "TUPLE"):
        return _struct([(name, _converter(member)) for name, member in kind.members])
    if kind.id == "MAP":
        key, value = (_converter(member) for _, member in kind.members)
        return _map(key, value)
    if kind.id == "UNION":
        return _union({name: _converter(member) for name, member in kind.members})
    return _SCALARS.get(kind.id)


def _apply(convert: Convert | None, value: Any) -> Any:
    return value if value is None or convert is None else convert(value)


def _list(child: Convert | None) -> Convert | None:
    if child is None:
        return None
    return lambda values: [None if value is None else child(value) for value in values]


def _struct(members: list[tuple[str, Convert | None]]) -> Convert:
    def convert(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: _apply(member, value[name]) for name, member in members}
        return tuple(_apply(member, each) for (_, member), each in zip(members, value, strict=True))

    return convert


def _hashable(key: Any) -> Any:
    if isinstance(key, list | tuple):
        return tuple(map(_hashable, key))
    if isinstance(key, dict):
        return tuple((name, _hashable(value)) for name, value in key.items())
    return key


def _map(key: Convert | None, value: Convert | None) -> Convert:
    def convert(entries: Any) -> Any:
        pairs: Iterable[Any] = entries.items() if isinstance(entries, dict) else entries
        return {_hashable(_apply(key, each)): _apply(value, told) for each, told in pairs}

    return convert


def _union(members: dict[str, Convert | None]) -> Convert:
    def convert(tagged: dict[str, Any]) -> Any:
        ((tag, value),) = tagged.items()
        return _apply(members.get(tag), value)

    return convert


class RowConverter:
    """Makes tuples of Python values of the rows of one result."""

    def __init__(self, types: Sequence[str]) -> None:
        found = [_converter(parse_type(text)) for text in types]
        self._converters = [(index, each) for index, each in enumerate(found) if each is not None]
        self.parse_float: type[Any] = float
        """What its numbers with a fraction are read as: decimals must keep every digit."""
        if any("DECIMAL" in text for text in types):
            self.parse_float = Decimal

    def rows(self, rows: list[list[Any]]) -> list[tuple[Any, ...]]:
        """Return the rows; the lists are changed."""
        for index, convert in self._converters:
            for row in rows:
                value = row[index]
                if value is not None:
                    row[index] = convert(value)
        return list(map(tuple, rows))


# --- to JSON ----------------------------------------------------------------------------------


def _escaped(value: bytes) -> str:
    return "".join(f"\\x{byte:02X}" for byte in value)


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode()


def row_value(value: Any) -> Any:
    """Return a value of a row to insert as JSON: as the service's own results have it.

    Raises:
        TypeError: a value of this kind cannot be inserted.
    """
    return json_value(value, _base64)


def json_value(
    value: Any,
    blob: Callable[[bytes], str] = _escaped,
    integers: range | None = _64_BITS,
) -> Any:
    """Return a parameter as JSON; what JSON has no form for becomes a text that DuckDB casts.

    Integers outside of ``integers`` become texts, too; None: all are numbers.

    Raises:
        TypeError: a value of this kind cannot be a parameter.
    """
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return value if integers is None or value in integers else str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, dt.date | dt.time):  # a datetime is a date
        return value.isoformat()
    if isinstance(value, dt.timedelta):
        rest = value - dt.timedelta(days=value.days)
        return f"{value.days} days {rest // dt.timedelta(microseconds=1)} microseconds"
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return blob(bytes(value))
    if isinstance(value, Mapping):
        return {str(name): json_value(each, blob, integers) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [json_value(each, blob, integers) for each in value]
    if hasattr(value, "item"):  # a number of numpy
        return json_value(value.item(), blob, integers)
    raise TypeError(f"a value cannot be a {type(value).__name__}")


def parameters(given: Mapping[str, Any] | Sequence[Any] | None) -> Any:
    """Return a statement's parameters as JSON.

    Raises:
        TypeError: a value of this kind cannot be a parameter.
    """
    if given is None:
        return None
    if isinstance(given, str | bytes):
        raise TypeError("params is a sequence or a mapping, not one text")
    if isinstance(given, Mapping):
        return {str(name): _parameter(value) for name, value in given.items()}
    return list(map(_parameter, given))


def _parameter(value: Any) -> Any:
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return json_value(value, integers=_128_BITS if is_number else None)
