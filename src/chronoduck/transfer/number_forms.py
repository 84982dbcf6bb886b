"""Which marks a file's numbers are written with: ``1.234,50`` or ``1,234.50``."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

from chronoduck.transfer.exact_text import ALIKE, NO_BREAK, TextForms
from chronoduck.transfer.options import ReadOptions

__all__ = ["guess_forms", "is_value"]

_WORDS = frozenset({"true", "false", "nan", "inf", "-inf", "null", "na", "n/a"})
_NUMBER_SIGNS = frozenset("0123456789.,-+eE %" + "".join(ALIKE))
_DAY_SIGNS = frozenset("0123456789-:./ TZtz+")
_GROUP = 3
_OTHER_GROUPS = (NO_BREAK, "'")
"""What stands before thousands, besides point and comma. A space may as well separate two values."""


def is_value(text: str) -> bool:
    """Whether a text looks like a number, a date or a truth value, which names of columns seldom do."""
    bare = text.strip()
    if not bare or bare.lower() in _WORDS:
        return bool(bare)
    has_digit = any(sign.isdecimal() for sign in bare)
    return has_digit and (_NUMBER_SIGNS.issuperset(bare) or _DAY_SIGNS.issuperset(bare))


def guess_forms(
    rows: Sequence[Sequence[str]],
    options: ReadOptions,
    guessed: dict[str, str],
    delimiter: str,
) -> TextForms:
    """Return the marks that the options name, or those that some number can only have been written with.

    ``1,234`` alone means two things: it decides nothing, and stays a text.
    """
    decimal, thousands = options.decimal, options.thousands
    rows = [[_usual_groups(each) for each in row] for row in rows]
    if decimal is None:
        # A number that one column shows to be of the one form is not of the other in the next column.
        commas = _has_marks(rows, ",", (".", *_OTHER_GROUPS) if thousands is None else (thousands,))
        points = _has_marks(rows, ".", (",", *_OTHER_GROUPS) if thousands is None else (thousands,))
        decimal = "," if commas and not points else "."
        if delimiter == ";" and not commas and not points and _may_be_grouped(rows):
            decimal = ""  # 1.234 is 1234 where a semicolon separates, or it is not: a text
        if decimal != ".":
            guessed["decimal"] = decimal
    if thousands is None:
        groups = ("," if decimal == "." else ".", *_OTHER_GROUPS)
        thousands = next((each for each in groups if _has_groups(rows, decimal, each)), "")
        if thousands:
            guessed["thousands"] = "nbsp" if thousands == NO_BREAK else thousands
    return TextForms(decimal, thousands, options.date_format)


def _columns(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    width = max(map(len, rows), default=0)
    return [
        [row[index].strip() for row in rows if index < len(row) and row[index].strip()]
        for index in range(width)
    ]


def _usual_groups(text: str) -> str:
    """Return a text whose marks before thousands are the first of those that are alike."""
    for alike in ALIKE:
        for each in alike[1:]:
            text = text.replace(each, alike[0])
    return text


def _has_marks(rows: Sequence[Sequence[str]], decimal: str, groups: Sequence[str]) -> bool:
    """Whether a column is of numbers, and one of them cannot have another decimal mark."""
    for values, group in product(_columns(rows), groups):
        parts = [_split(value, decimal, group) for value in values]
        if all(part is not None for part in parts) and any(
            part and part[1] and (len(part[1]) != _GROUP or part[2] or part[0] == "0")
            for part in parts
        ):
            return True
    return False


def _may_be_grouped(rows: Sequence[Sequence[str]]) -> bool:
    """Whether a column has numbers with a point that may stand before thousands."""
    for values in _columns(rows):
        parts = [_split(value, "", ".") for value in values]
        if all(part is not None for part in parts) and any(part and part[2] for part in parts):
            return True
    return False


def _has_groups(rows: Sequence[Sequence[str]], decimal: str, group: str) -> bool:
    """Whether a column is of numbers, and one of them can only be written with groups."""
    for values in _columns(rows):
        parts = [_split(value, decimal, group) for value in values]
        if all(part is not None for part in parts) and any(
            part and part[2] and (part[1] or part[2] > 1) for part in parts
        ):
            return True
    return False


def _split(value: str, decimal: str, group: str) -> tuple[str, str, int] | None:
    """Return whole digits, fraction and number of group marks; None: it is no such number."""
    bare = value.removeprefix("-")
    whole, _, fraction = bare.partition(decimal) if decimal else (bare, "", "")
    pieces = whole.split(group) if group else [whole]
    digits = "".join(pieces)
    is_grouped = all(len(piece) == _GROUP for piece in pieces[1:]) and len(pieces[0]) > 0
    if len(pieces) > 1:
        is_grouped = is_grouped and len(pieces[0]) <= _GROUP
    is_number = digits.isdecimal() and digits.isascii() and is_grouped
    if not is_number or (fraction and not (fraction.isdecimal() and fraction.isascii())):
        return None
    return digits, fraction, len(pieces) - 1
