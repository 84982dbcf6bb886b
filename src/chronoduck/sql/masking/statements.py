"""SQL without its secrets.

A text in which a telling word occurs loses every literal, quoted name and comment: which of them is the
secret cannot be known. In all other texts what looks like a secret by its form goes, wherever it stands.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from chronoduck.sql.masking.pieces import Kind, Piece, UnclearError, pieces_of, value_of
from chronoduck.sql.masking.runs import lower
from chronoduck.sql.masking.shapes import MASK, secrets_in, without_shapes
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
    hidden = _suspects(pieces)
    for index, piece in enumerate(pieces):
        yield f"'{MASK}'" if index in hidden else piece.text


def _suspects(pieces: list[Piece]) -> set[int]:
    """Return the places of literals that hold something of a secret's form, or are written so that this
    cannot be told."""
    hidden: set[int] = set()
    values: list[str] = []
    groups: list[list[int]] = []
    for group in _wholes(pieces):
        if any(pieces[index].has_escapes for index in group):
            hidden.update(group)
            continue
        value = "".join([value_of(pieces[index].text) for index in group])
        if len(value) >= _SHORTEST_FORM or "://" in value:
            values.append(value)
            groups.append(group)
    for group, is_secret in zip(groups, secrets_in(values), strict=True):
        if is_secret:
            hidden.update(group)
    return hidden


def _wholes(pieces: list[Piece]) -> Iterator[list[int]]:
    """Yield the places of literals that are one: ``'a'`` and ``'b'`` on two lines; too short ones not."""
    group: list[int] = []
    for index, piece in enumerate(pieces):
        if piece.kind is not Kind.LITERAL:
            continue
        between = pieces[index - 1] if group and group[-1] == index - 2 else None
        if between is not None and between.kind is Kind.CODE and between.text.isspace():
            group.append(index)
            continue
        if group and not _is_short(pieces, group):
            yield group
        group = [index]
    if group:
        yield group


def _is_short(pieces: list[Piece], group: list[int]) -> bool:
    if len(group) > 1:
        return False
    [index] = group
    text = pieces[index].text
    return len(text) < _SHORTEST_FORM and "://" not in text and not pieces[index].has_escapes


def _without_telling(pieces: list[Piece]) -> Iterator[str]:
    """Leave keywords, names and numbers, but no bare word that a telling word is given."""
    texts = ["" if piece.kind is Kind.COMMENT else piece.text for piece in pieces]
    bare = _BareValues("\0".join(texts))  # looked through in one go: many pieces are short
    start = 0
    for piece, text in zip(pieces, texts, strict=True):
        end = start + len(text)
        if piece.kind is Kind.CODE:
            yield bare.masked(start, end)
        elif piece.kind is Kind.COMMENT:
            yield f" {MASK} "
            bare.is_inside = False
        else:
            yield f"'{MASK}'" if piece.kind is Kind.LITERAL else f'"{MASK}"'
            bare.pass_quoted(start, end)
        start = end + 1


class _BareValues:
    """Which words without quotes are values of telling words: ``password = hunter2``.

    The pieces of the text are asked for in turn; a NUL stands between them.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._words, self._spaces = WORDS.of(text), SPACES.of(text)
        self._telling = _Telling(text)
        self.is_inside = False
        """Whether a value goes on: ``hunter2!x`` is three words."""
        self._is_expected = self._is_given = self._touches = False

    def pass_quoted(self, start: int, end: int) -> None:
        """A literal or a name in quotes stands here: a value, or a telling word; or it is cut wrongly."""
        self.is_inside = self._is_given = False
        self._is_expected = self._telling.is_in(start, end)
        self._touches = True

    def masked(self, start: int, end: int) -> str:
        """Return the code from start to end, with ``***`` once for each value."""
        if self._touches and self._words.end(start) > start:
            self._is_expected = self._is_given = True  # 'it's hunter2': where it ends is unclear
        self._touches = False
        at = start
        parts: list[str] = []
        while at < end:
            if not (self._is_expected or self._is_given or self.is_inside):
                telling = self._telling.next_at(at)  # nothing before it is a value
                plain = end if telling >= end else self._words.start(telling, at)
                parts.append(self._text[at:plain])
                at = plain
                if at == end:
                    break
            word_end = self._word_end(at)
            parts += self._masked_word(at, word_end)
            at = word_end
        return "".join(parts)

    def _masked_word(self, start: int, end: int) -> Iterator[str]:
        text = self._text[start:end]
        if text.isspace():
            self.is_inside = False
            yield text
            return
        is_value = self._is_value(text) and not self._telling.goes_on(start)
        if is_value and not self.is_inside:
            yield MASK
        if text in _ENDS_VALUE or not (self.is_inside or is_value):
            yield text
            self.is_inside = False
        elif is_value:
            self.is_inside = True
        is_scheme = is_value and text.lower() in SCHEMES
        self._is_given = is_scheme or (self._is_expected and text in _GIVES)
        self._is_expected = self._is_given or self._telling.is_at(start, end)

    def _is_value(self, text: str) -> bool:
        if not self._is_expected or text[0] in _NO_VALUES:
            return False
        return self._is_given or text.lower() not in _KEYWORDS

    def _word_end(self, at: int) -> int:
        """Return where the word, the run of spaces or the sign ends; ``:=`` and ``=>`` are one sign."""
        end = self._words.end(at)
        if end == at:
            end = self._spaces.end(at)
        return end if end > at else at + (2 if self._text[at : at + 2] in _TWO_SIGNS else 1)


class _Telling:
    """The telling words of a text, asked in the order in which they stand."""

    def __init__(self, text: str) -> None:
        self._spans = telling_words(text)
        self._low = lower(text)
        self._next = 0
        self._key = self._find_key(0)

    def goes_on(self, start: int) -> bool:
        """Whether one began before this place and ends behind it: ``api-key`` is three words."""
        return any(first < start < end for first, end in self._spans[self._next : self._next + 1])

    def is_at(self, start: int, end: int) -> bool:
        """Whether one of them, or ``key``, is the word from start to end, or touches it."""
        return self._low[start:end] == "key" or self.is_in(start, end)

    def is_in(self, start: int, end: int) -> bool:
        """Whether one of them touches what is from start to end; starts must not fall."""
        self._pass(start)
        spans = self._spans
        return self._next < len(spans) and spans[self._next][0] < end

    def next_at(self, at: int) -> int:
        """Return where the next of them begins, or goes on, or the word ``key`` stands."""
        self._pass(at)
        if self._key < at:
            self._key = self._find_key(at)
        spans = self._spans
        nearest = spans[self._next][0] if self._next < len(spans) else len(self._low)
        return max(at, min(nearest, self._key))

    def _find_key(self, at: int) -> int:
        found = self._low.find("key", at)
        return len(self._low) if found < 0 else found

    def _pass(self, at: int) -> None:
        spans = self._spans
        while self._next < len(spans) and spans[self._next][1] <= at:
            self._next += 1
