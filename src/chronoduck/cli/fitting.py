"""How a table is shown on a terminal that may be too narrow for it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from rich.cells import cell_len

__all__ = ["Fitted", "Shape", "fit"]

_READABLE = 12
"""Characters that a shortened cell keeps at least, if it has as many."""
_BETWEEN = 3
"""A space on either side of the line between two columns."""
_MOST_TURNED_ROWS = 50
"""So many rows can be read one below the other."""


class Shape(Enum):
    """What is done with the table."""

    WHOLE = auto()
    SHORTENED = auto()
    """Long cells end in an ellipsis."""
    TURNED = auto()
    """Each row becomes lines, one for each column."""
    WITHOUT_SOME = auto()
    """Columns in the middle are left out."""


@dataclass(frozen=True)
class Fitted:
    """The shape, and the columns that are shown: their indexes, None for those that are left out."""

    shape: Shape
    shown: list[int | None]
    widths: list[int | None]
    """Characters of each column that is shown; None: as many as it needs."""


def fit(
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    width: int,
    whole: Collection[str] = (),
) -> Fitted:
    """Return how the table fits into so many characters; columns of ``whole`` keep all of theirs."""
    everything: list[int | None] = list(range(len(columns)))
    widths = [
        max([cell_len(column), *(_cell_width(row[index]) for row in rows)])
        for index, column in enumerate(columns)
    ]
    if _total(widths) <= width:
        return Fitted(Shape.WHOLE, everything, [None] * len(columns))
    least = [
        each if name in whole else min(each, _READABLE)
        for name, each in zip(columns, widths, strict=True)
    ]
    if _total(least) <= width:
        return Fitted(Shape.SHORTENED, everything, [*_spread(widths, least, width)])
    if 0 < len(rows) <= _MOST_TURNED_ROWS:
        return Fitted(Shape.TURNED, everything, [None] * len(columns))
    shown = _outer(least, width)
    needed = [1 if index is None else widths[index] for index in shown]
    least = [
        each if index is not None and columns[index] in whole else min(each, _READABLE)
        for index, each in zip(shown, needed, strict=True)
    ]
    return Fitted(Shape.WITHOUT_SOME, shown, [*_spread(needed, least, width)])


def _cell_width(cell: Any) -> int:
    text = "NULL" if cell is None else str(cell)
    return max(cell_len(line) for line in text.split("\n"))


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + _BETWEEN * (len(widths) - 1)


def _spread(needed: Sequence[int], least: Sequence[int], width: int) -> list[int]:
    """Return the least widths, and what room is left given to those that need more."""
    widths = list(least)
    spare = width - _total(widths)
    while spare > 0 and (short := [i for i, each in enumerate(widths) if each < needed[i]]):
        share = max(1, spare // len(short))
        for index in short[:spare]:
            more = min(share, needed[index] - widths[index])
            widths[index] += more
            spare -= more
    return widths


def _outer(widths: Sequence[int], width: int) -> list[int | None]:
    """Return as many columns as fit, from both ends in turn, with a gap between them."""
    left, right = 0, len(widths)
    used = 1  # the ellipsis
    while left < right:
        takes_left = left <= len(widths) - right
        used += _BETWEEN + widths[left if takes_left else right - 1]
        if used > width and left:
            break
        left, right = (left + 1, right) if takes_left else (left, right - 1)
    return [*range(left), None, *range(right, len(widths))]
