"""How many values a series of dates or times has, as far as its literals tell."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

from chronoduck.sql.rules.bounds import arguments_of, literal_text, literals_in

__all__ = ["times_in_series"]

_MICROSECONDS = {
    "microsecond": 1,
    "millisecond": 1_000,
    "second": 1_000_000,
    "minute": 60_000_000,
    "hour": 3_600_000_000,
    "day": 86_400_000_000,
    "week": 604_800_000_000,
    "month": 2_592_000_000_000,
    "quarter": 7_776_000_000_000,
    "year": 31_536_000_000_000,
    "decade": 315_360_000_000_000,
    "century": 3_153_600_000_000_000,
    "millennium": 31_536_000_000_000_000,
}
_PLURALS = {"centuries": "century", "millennia": "millennium", "us": "microsecond", "ms": "millisecond",
    "s": "second", "sec": "second", "secs": "second", "m": "minute", "min": "minute", "mins": "minute",
    "h": "hour", "hr": "hour", "hrs": "hour", "d": "day", "w": "week", "mon": "month", "mons": "month",
    "y": "year", "yr": "year", "yrs": "year"}  # fmt: skip
_TIMES = frozenset(
    ["date", "timestamp", "timestamptz", "datetime", "timestamp with time zone", "timestamp_s",
     "timestamp_ms", "timestamp_us", "timestamp_ns", "timestamptz_ns"]
)  # fmt: skip
_NOW = frozenset(
    "now today current_date get_current_timestamp current_timestamp transaction_timestamp "
    "current_localtimestamp get_current_time current_localtime".split()
)
_MADE = frozenset(
    "make_date make_timestamp make_timestamptz make_timestamp_ms make_timestamp_ns to_timestamp "
    "epoch_ms strptime try_strptime".split()
)
_LONGEST = 600_000 * _MICROSECONDS["year"]
"""What DuckDB's timestamps reach."""


def times_in_series(node: dict[str, Any]) -> float | None:
    """Return how many values a call of ``range`` makes; None of a series of numbers.

    The span is told by the literals: of a series between columns nothing is known, and it counts as 1.
    """
    arguments = arguments_of(node)
    if len(arguments) < 2:
        return None
    step = _Times(arguments[2]) if len(arguments) > 2 else _Times({})
    ends = [_Times(argument) for argument in arguments[:2]]
    if not step.spans and not any(end.is_time for end in ends):
        return None
    moments = [moment for end in ends for moment in end.moments]
    span = float(max(moments) - min(moments)) if moments else 0.0
    span += sum(sum(end.spans) for end in ends)
    smallest = min((each for each in step.spans if each > 0), default=1.0)
    return max(1.0, span / smallest)


class _Times:
    """The moments and spans that an expression's literals name, in microseconds."""

    def __init__(self, expression: Any) -> None:
        self.moments: list[float] = []
        self.spans: list[float] = []
        self.is_time = False
        stack = [expression]
        while stack:
            node = stack.pop()
            if isinstance(node, list):
                stack.extend(node)
            elif isinstance(node, dict):
                stack.extend(self._parts(node))

    def _parts(self, node: dict[str, Any]) -> list[Any]:
        """Note what a node is; return what is left to look at."""
        name = str(node.get("function_name", "")).lower()
        if name in _NOW:
            self.is_time = True
            self.moments.append(datetime.now(UTC).timestamp() * 1e6)
        elif name in _MADE:
            self.is_time = True
            self.moments += [0.0, float(_LONGEST)] if _numbers(node) else []
            return []
        elif name.startswith("to_") and (unit := _unit(name[3:])) is not None:
            self.spans += [abs(number) * unit for number in _numbers(node)] or [float(unit)]
            return []
        if node.get("class") == "CAST":
            type_ = node.get("type_expr") or node.get("cast_type") or {}
            cast = str(type_.get("type_name") or type_.get("id")).lower()
            text = literal_text(node.get("child"))
            if cast in _TIMES:
                self.is_time = True
                self.moments += [] if text is None else _moments(text)
            elif cast == "interval":
                self.spans += [1.0] if text is None else _spans(text)
        return [value for value in node.values() if isinstance(value, dict | list)]


def _numbers(node: Any) -> list[float]:
    found: list[float] = []
    for text in literals_in(node):
        with suppress(ValueError):
            found.append(float(text.replace("_", "")))
    return found


def _unit(word: str) -> int | None:
    word = _PLURALS.get(word, word)
    return _MICROSECONDS.get(word) or _MICROSECONDS.get(word.removesuffix("s"))


def _moments(text: str) -> list[float]:
    """Return a literal's moment; all of time if it is none that Python can read (``infinity``)."""
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        return [0.0, float(_LONGEST)]
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return [moment.timestamp() * 1e6]


def _spans(text: str) -> list[float]:
    """Return the spans of an interval's text (``1 day 2 hours``); a microsecond if none is read."""
    words = text.lower().replace(",", " ").split()
    found = []
    for number, word in pairwise(words):
        unit = _unit(word)
        if unit is not None:
            try:
                found.append(abs(float(number)) * unit)
            except ValueError:
                continue
    return [each for each in found if each > 0] or [1.0]
