"""Which types the texts of a file can have: each is tried on all of them, and must give them back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from chronoduck.transfer.exact_text import TextForms, plain_number
from chronoduck.transfer.exact_values import bad_part, tree_of
from chronoduck.transfer.number_forms import is_value
from chronoduck.transfer.sql import SqlSession, quote_name

__all__ = ["Leaf", "Part", "first_rows", "guess_leaves", "number_ladder", "text_ladder"]

_MAX_DIGITS = 38
_SAMPLE = "temp.main._chronoduck_sample"
_SAMPLE_ROWS = 20_480
_AT_ONCE = 500
"""Columns that are looked at by one statement."""
_NUMBERS = ("BIGINT", "HUGEINT", "DOUBLE", "DECIMAL")
_TIMES = ("DATE", "TIMESTAMP", "TIMESTAMP WITH TIME ZONE", "TIMESTAMP_NS", "TIME")


@dataclass
class Leaf:
    """A part of a column that has no parts, and the types that it may have, the best one first."""

    ladder: list[str]
    text: str = "VARCHAR"
    """What it is if it has none of them."""
    position: int = 0
    has_values: bool = False

    @property
    def type(self) -> str:
        """The type that it has, as far as is known."""
        return self.ladder[self.position] if self.position < len(self.ladder) else self.text


@dataclass
class Part:
    """A column, or a part of one: a leaf, or a type of other parts."""

    kind: str
    """``leaf``, ``struct``, ``list`` or ``map``."""
    leaf: Leaf | None = None
    parts: list[tuple[str, Part]] = field(default_factory=list)

    @property
    def leaves(self) -> list[Leaf]:
        """All leaves in it."""
        if self.leaf is not None:
            return [self.leaf]
        return [leaf for _, part in self.parts for leaf in part.leaves]

    def type(self, of_leaf: Callable[[Leaf], str] = lambda leaf: leaf.type) -> str:
        """Return the type; ``of_leaf``: what it has in place of a leaf."""
        if self.leaf is not None:
            return of_leaf(self.leaf)
        inner = [(name, part.type(of_leaf)) for name, part in self.parts]
        if self.kind == "struct":
            return f"STRUCT({', '.join(f'{quote_name(name)} {type_}' for name, type_ in inner)})"
        return f"{inner[0][1]}[]" if self.kind == "list" else f"MAP(VARCHAR, {inner[0][1]})"


def text_ladder(values: Sequence[str], date_format: str = "") -> list[str]:
    """Return the types that texts of a column may stand for, by some of them."""
    if date_format:
        has_time = any(sign in date_format for sign in ("%H", "%I", "%M", "%S", "%f", "%c", "%X"))
        moment = "TIMESTAMP WITH TIME ZONE" if "%z" in date_format else "TIMESTAMP"
        return [moment if has_time else "DATE", *text_ladder(values)]
    words = {value.strip().lower() for value in values}
    if words <= {"true", "false"}:
        return ["BOOLEAN"]
    has_digit = any(sign.isdecimal() for word in words for sign in word)
    if not has_digit or not all(map(is_value, words)):
        return []
    if all(_has_date_signs(word) for word in words):
        return list(_TIMES)
    return number_ladder()


def _has_date_signs(word: str) -> bool:
    bare = word.strip().lstrip("+-")
    return ":" in bare or bare.count("-") - bare.count("e-") >= 2


def number_ladder(first: str = "BIGINT") -> list[str]:
    """Return the types of numbers, from one on."""
    return list(_NUMBERS[_NUMBERS.index(first) :])


@contextmanager
def first_rows(session: SqlSession, relation: str) -> Iterator[str]:
    """Have a relation's first rows in a table of their own, since each look at a file costs as much."""
    session.execute(
        f"CREATE OR REPLACE TEMP TABLE {_SAMPLE} AS FROM {relation} LIMIT {_SAMPLE_ROWS}"
    )
    yield _SAMPLE
    session.execute(f"DROP TABLE {_SAMPLE}")


def guess_leaves(
    session: SqlSession,
    relation: str,
    columns: Sequence[tuple[str, Part]],
    forms: TextForms,
) -> None:
    """Go down each leaf's ladder until all values of the relation are of its type.

    ``columns``: SQL of a column of texts, as ``text_type`` has them, and what is known of it.
    """
    pending = [(given, part, leaf) for given, part in columns for leaf in part.leaves]
    while pending:
        failed = []
        for start in range(0, len(pending), _AT_ONCE):
            some = pending[start : start + _AT_ONCE]
            checks = [_bad(given, part, leaf, forms) for given, part, leaf in some]
            counts = [
                f"count({given} ), count_if({bad})"
                for (given, _, _), bad in zip(some, checks, strict=True)
            ]
            row = session.execute(f"SELECT {', '.join(counts)} FROM {relation}")[0]
            for index, (given, part, leaf) in enumerate(some):
                leaf.has_values = bool(row[2 * index])
                if row[2 * index + 1]:
                    failed.append((given, part, leaf))
        for given, part, leaf in failed:
            leaf.position += 1
            if leaf.type == "DECIMAL":
                _find_decimal(session, relation, given, part, leaf, forms)
        pending = [each for each in failed if each[2].type != each[2].text]


def _bad(given: str, part: Part, leaf: Leaf, forms: TextForms) -> str:
    """Return SQL for whether one leaf of a value has not its type."""
    if leaf.type == leaf.text:
        return "false"
    only = part.type(lambda each: each.type if each is leaf else "VARCHAR")
    bad = bad_part(tree_of(only), given, forms, is_guess=True)
    if bad is None:
        return "false"
    return f"trim({given}) <> '' AND {bad}" if part.leaf is not None else bad


def _find_decimal(
    session: SqlSession, relation: str, given: str, part: Part, leaf: Leaf, forms: TextForms
) -> None:
    """Set the digits of the DECIMAL that holds all values of a column; none if none does."""
    if part.leaf is None:
        leaf.position += 1
        return
    number = given if forms == TextForms() else plain_number(given, forms)
    bare = f"ltrim(trim({number}), '+-')"
    whole = f"max(length(ltrim(split_part({bare}, '.', 1), '0')))"
    scale = f"max(length(rtrim(split_part({bare}, '.', 2), '0')))"
    row = session.execute(f"SELECT {whole}, {scale} FROM {relation}")[0]
    digits, fraction = (int(str(each or 0)) for each in row)
    if 0 < digits + fraction <= _MAX_DIGITS:
        leaf.ladder[leaf.position] = f"DECIMAL({digits + fraction},{fraction})"
    else:
        leaf.position += 1
