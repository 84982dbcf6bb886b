"""SQL without its secrets.

A text in which a telling word occurs loses every literal, quoted name and comment: which of them is the
secret cannot be known. In all other texts what looks like a secret by its form goes, wherever it stands.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from chronoduck.sql.masking.pieces import Kind, Piece, UnclearError, pieces_of
from chronoduck.sql.masking.shapes import MASK, without_shapes
from chronoduck.sql.masking.telling import SCHEMES, SPACES, WORDS, is_telling, telling_words

__all__ = ["LONGEST_STATEMENT", "mask_statement"]

LONGEST_STATEMENT = 10_000
"""Characters of a statement that are shown; the rest is ``…``."""
_MORE = 2_000
"""Characters behind them that are read too, so that a secret at the cut is known by its form."""
_REMEMBERED_CHARACTERS = 5_000
_SHORTEST_FORM = 10
_GIVES = frozenset({"=", ":=", "=>", ":", "=="})
_TWO_SIGNS = frozenset({":=", "=>", "==", "::"})
_NO_VALUES = frozenset("=:,;().[]{}*<>")
_ENDS_VALUE = frozenset(",;)")
_KEYWORDS = frozenset(
    (
        *(
            "add",
            "all",
            "alter",
            "analyze",
            "and",
            "any",
            "as",
            "asc",
            "between",
            "by",
            "case",
            "cast",
        ),
        *(
            "check",
            "column",
            "constraint",
            "copy",
            "create",
            "cross",
            "database",
            "default",
            "delete",
            "desc",
        ),
        *(
            "distinct",
            "do",
            "drop",
            "else",
            "end",
            "except",
            "exists",
            "explain",
            "false",
            "filter",
        ),
        *(
            "for",
            "from",
            "full",
            "group",
            "having",
            "if",
            "ilike",
            "in",
            "index",
            "inner",
            "insert",
        ),
        *(
            "integer",
            "bigint",
            "varchar",
            "text",
            "intersect",
            "into",
            "is",
            "isnull",
            "join",
            "key",
        ),
        *(
            "left",
            "like",
            "limit",
            "not",
            "notnull",
            "null",
            "offset",
            "on",
            "or",
            "order",
            "outer",
        ),
        *(
            "over",
            "partition",
            "persistent",
            "primary",
            "qualify",
            "references",
            "rename",
            "replace",
        ),
        *(
            "returning",
            "right",
            "scope",
            "select",
            "set",
            "table",
            "temp",
            "temporary",
            "then",
            "to",
        ),
        *("true", "type", "union", "unique", "update", "using", "values", "view", "when", "where"),
        *("window", "with", "within"),
    )
)
"""Words behind a telling word that are no value: ``password IS NULL``."""


def mask_statement(sql: str) -> str:
    """Return the text with ``***`` in place of its secrets; also of a text that is no valid SQL.

    Of a text of more than 10,000 characters only the beginning is read and returned, with ``…``.
    """
    return _remembered(sql) if len(sql) <= _REMEMBERED_CHARACTERS else _mask(sql)


def _mask(sql: str) -> str:
    telling = is_telling(sql)
    is_cut = len(sql) > LONGEST_STATEMENT
    seen = sql[: LONGEST_STATEMENT + _MORE] if is_cut else sql
    seen = seen.encode(errors="replace").decode()  # lone surrogates, which DuckDB refuses too
    try:
        # Forms are looked for before, too: a comment or a quote in them would cut them.
        pieces = list(pieces_of(without_shapes(seen) if telling else seen))
    except UnclearError:
        return MASK
    if is_cut:
        pieces = _cut(pieces)
    masked = _without_telling(pieces) if telling else _without_secrets(pieces)
    text = without_shapes("".join(masked))
    return text[:LONGEST_STATEMENT] + "…" if is_cut else text


_remembered = lru_cache(2048)(_mask)


def _cut(pieces: list[Piece]) -> list[Piece]:
    """Return the pieces that begin among the characters that are shown.

    A literal that crosses the end keeps its value, so that it is known; code is cut at a space.
    """
    kept: list[Piece] = []
    length = 0
    for piece in pieces:
        room = LONGEST_STATEMENT - length
        if room <= 0:
            break
        length += len(piece.text)
        if piece.kind is Kind.CODE and len(piece.text) > room:
            text = piece.text[:room]
            text = text[: max(text.rfind(" "), text.rfind("\n")) + 1]
            piece = Piece(Kind.CODE, text)
        kept.append(piece)
    return kept


def _without_secrets(pieces: list[Piece]) -> Iterator[str]:
    for index, piece in enumerate(pieces):
        is_hidden = piece.kind is Kind.LITERAL and _is_suspect(_whole(pieces, index))
        yield f"'{MASK}'" if is_hidden else piece.text


def _whole(pieces: list[Piece], index: int) -> list[Piece]:
    """Return the literals of which this one is a part: ``'a'`` and ``'b'`` on two lines are one."""
    first = last = index
    while first >= 2 and _continues(pieces[first - 1], pieces[first - 2]):
        first -= 2
    while last + 2 < len(pieces) and _continues(pieces[last + 1], pieces[last + 2]):
        last += 2
    return pieces[first : last + 1 : 2]


def _continues(between: Piece, other: Piece) -> bool:
    return other.kind is Kind.LITERAL and between.kind is Kind.CODE and between.text.isspace()


def _is_suspect(literals: list[Piece]) -> bool:
    """Whether they hold something of a secret's form, or are written so that this cannot be told."""
    if any(literal.has_escapes for literal in literals):
        return True
    value = "".join(literal.value for literal in literals)
    if len(value) < _SHORTEST_FORM and "://" not in value:
        return False
    return without_shapes(value, is_literal=True) != value


def _without_telling(pieces: list[Piece]) -> Iterator[str]:
    """Leave keywords, names and numbers, but no bare word that a telling word is given."""
    bare = _BareValues()
    for piece in pieces:
        if piece.kind is Kind.LITERAL:
            yield f"'{MASK}'"
            bare.quoted(piece.text)
        elif piece.kind is Kind.NAME:
            yield f'"{MASK}"'
            bare.quoted(piece.text)
        elif piece.kind is Kind.COMMENT:
            yield f" {MASK} "
            bare.is_inside = False
        else:
            yield from bare.masked(piece.text)


class _BareValues:
    """Which words without quotes are values of telling words: ``password = hunter2``."""

    def __init__(self) -> None:
        self.is_inside = False
        """Whether a value goes on: ``hunter2!x`` is three words."""
        self._is_expected = self._is_given = self._touches = False

    def quoted(self, text: str) -> None:
        """A literal or a name in quotes stood here: a value, or a telling word; or it is cut wrongly."""
        self.is_inside = self._is_given = False
        self._is_expected = is_telling(text)
        self._touches = True

    def masked(self, code: str) -> Iterator[str]:
        """Yield the code's words, spaces and signs; ``***`` once for each value."""
        telling = _Telling(code)
        if self._touches and WORDS.of(code[:1]).end(0):
            self._is_expected = self._is_given = True  # 'it's hunter2': where it ends is unclear
        self._touches = False
        for start, text in _words(code):
            if text.isspace():
                self.is_inside = False
                yield text
                continue
            is_value = self._is_value(text) and not telling.goes_on(start)
            if is_value and not self.is_inside:
                yield MASK
            if text in _ENDS_VALUE or not (self.is_inside or is_value):
                yield text
                self.is_inside = False
            elif is_value:
                self.is_inside = True
            is_scheme = is_value and text.lower() in SCHEMES
            self._is_given = is_scheme or (self._is_expected and text in _GIVES)
            self._is_expected = self._is_given or telling.is_in(start, start + len(text))

    def _is_value(self, text: str) -> bool:
        if not self._is_expected or text[0] in _NO_VALUES:
            return False
        return self._is_given or text.lower() not in _KEYWORDS


class _Telling:
    """The telling words of a piece of code, asked in the order in which they stand."""

    def __init__(self, code: str) -> None:
        self._spans = telling_words(code)
        self._code = code
        self._next = 0

    def goes_on(self, start: int) -> bool:
        """Whether one began before this place and ends behind it: ``api-key`` is three words."""
        return any(first < start < end for first, end in self._spans[self._next : self._next + 1])

    def is_in(self, start: int, end: int) -> bool:
        """Whether one of them touches the word from start to end; starts must not fall."""
        if self._code[start:end].lower() == "key":
            return True
        spans = self._spans
        while self._next < len(spans) and spans[self._next][1] <= start:
            self._next += 1
        return self._next < len(spans) and spans[self._next][0] < end


def _words(code: str) -> Iterator[tuple[int, str]]:
    """Yield words, runs of spaces and signs with their places; ``:=`` and ``=>`` are one sign."""
    words, spaces = WORDS.of(code), SPACES.of(code)
    at = 0
    while at < len(code):
        end = words.end(at)
        if end == at:
            end = spaces.end(at)
        if end == at:
            end = at + (2 if code[at : at + 2] in _TWO_SIGNS else 1)
        yield at, code[at:end]
        at = end
