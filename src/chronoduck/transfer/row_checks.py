"""Which row is bad, and why: asked of the engine only when something is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from chronoduck.transfer.exact_values import Conversion
from chronoduck.transfer.sql import quote_text
from chronoduck.transfer.table_columns import Filled

__all__ = ["Cell", "cells_of", "reason_of"]

_SHOWN_CHARACTERS = 60


@dataclass(frozen=True)
class Cell:
    """How one column's value is got out of a row; all are SQL expressions over it."""

    filled: Filled
    given: str
    """The value as it was given."""
    is_given: str
    """Whether there is one that is not NULL."""
    value: str
    """The value in the column's type; NULL when it does not cast."""


def cells_of(filled: Sequence[Filled], conversion_of: Callable[[Filled], Conversion]) -> list[Cell]:
    """Return the cells of rows whose columns are converted."""
    cells = []
    for each in filled:
        conversion = conversion_of(each)
        cells.append(Cell(each, conversion.given, conversion.has_value(), conversion.value()))
    return cells


def reason_of(cells: Sequence[Cell], key: Sequence[str] = ()) -> str:
    """Return SQL for why a row cannot be loaded, NULL when it can."""
    in_key = {name.lower() for name in key}
    cases = []
    for cell in cells:
        column = cell.filled.column
        label = f"column {column.name}: "
        shown = f"left(CAST({cell.given} AS VARCHAR), {_SHOWN_CHARACTERS})"
        cases.append(
            f"WHEN {cell.is_given} AND {cell.value} IS NULL "
            f"THEN {quote_text(label)} || {shown} || {quote_text(f' is not {_short(column.type)}')}"
        )
        if not column.is_nullable:
            reason = quote_text(label + "NULL is not allowed")
            cases.append(f"WHEN {cell.value} IS NULL THEN {reason}")
        elif column.name.lower() in in_key:
            reason = quote_text(label + "NULL is no key")
            cases.append(f"WHEN {cell.value} IS NULL THEN {reason}")
    return f"CASE {' '.join(cases)} END" if cases else "CAST(NULL AS VARCHAR)"


def _short(type_: str) -> str:
    return type_ if len(type_) <= _SHOWN_CHARACTERS else type_[:_SHOWN_CHARACTERS] + "..."
