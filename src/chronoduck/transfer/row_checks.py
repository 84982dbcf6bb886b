"""Which row is bad, and why: asked of the engine only when something is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chronoduck.transfer.sql import quote_name, quote_text
from chronoduck.transfer.table_columns import Filled
from chronoduck.transfer.text_values import csv_value, json_type, json_value, tried

__all__ = ["Cell", "csv_cells", "json_cells", "plain_cells", "reason_of"]

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


def plain_cells(filled: Sequence[Filled]) -> list[Cell]:
    """Return the cells of rows whose columns have types."""
    cells = []
    for each in filled:
        name = quote_name(each.source)
        value = tried(each.column, f"CAST({name} AS {each.column.type})")
        cells.append(Cell(each, name, f"{name} IS NOT NULL", value))
    return cells


def csv_cells(filled: Sequence[Filled]) -> list[Cell]:
    """Return the cells of rows whose columns are texts."""
    cells = []
    for each in filled:
        name = quote_name(each.source)
        value = tried(each.column, csv_value(each.column, name))
        cells.append(Cell(each, name, f"{name} IS NOT NULL", value))
    return cells


def json_cells(document: str, filled: Sequence[Filled]) -> list[Cell]:
    """Return the cells of rows that are JSON objects; ``document`` is the SQL of one of them."""
    cells = []
    for each in filled:
        pointer = quote_text("/" + each.source.replace("~", "~0").replace("/", "~1"))
        # A text column takes a string's content, and anything else as it is written.
        arrow = "->>" if json_type(each.column) == "VARCHAR" else "->"
        given = f"({document} {arrow} {pointer})"
        is_null = f"json_type({document}, {pointer}) = 'NULL'"
        value = tried(each.column, json_value(each.column, given))
        cells.append(Cell(each, given, f"NOT coalesce({is_null}, true)", value))
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
