"""A statement's tokens: where DuckDB's tokenizer begins each, and where a reading of our own ends it.

Both must agree: between the end of a token and the beginning of the next one stand spaces and comments
and nothing else (``has_gaps``). So a tokenizer that stops early, or sees a literal where this module
sees code, is noticed. Only for texts without stray characters (``characters.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import duckdb

__all__ = ["Token", "closing", "first_word", "has_gaps", "read_tokens", "span_text"]

_COMMENT = duckdb.token_type.comment
_STRING_KIND = duckdb.token_type.string_const
_NUMBER_KIND = duckdb.token_type.numeric_const
_OPERATOR_KIND = duckdb.token_type.operator
_HAS_BACKTICKS = not duckdb.__version__.startswith("1.")
_SPACES = b" \t\n\r"
_WORD_BYTES = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_$") | {
    *range(0x80, 0x100)
}
_NUMBER_BYTES = _WORD_BYTES - set(b"$") | set(b".")
_STRING_PREFIXES = frozenset((b"", b"e", b"x", b"b", b"n"))
_OPERATORS = tuple(b"->> -> :: := => || <= >= <> != **".split())
_LONGEST_PREFIX = 1
_VALUE_SIGNS = b"?$"


class Token(NamedTuple):
    """One word of a statement; offsets in bytes of the text.

    ``end`` is where the next one begins, so that spaces and comments belong to the token before;
    ``stop`` is where its own text ends. ``kind``: ``word``, ``quoted`` (an identifier in quotes),
    ``string``, ``number``, ``operator``. ``text``: words and quoted names in lower case and without
    quotes; of a string what stands between its quotes, all its pieces joined. ``name``: of words and
    quoted names the same as it is written.
    """

    kind: str
    text: str
    start: int
    end: int
    stop: int
    name: str = ""

    @property
    def is_name(self) -> bool:
        """Whether it may be (part of) a name."""
        return self.kind in ("word", "quoted")


def read_tokens(sql: str) -> list[Token]:
    """Return the tokens of a text, comments left out.

    Literals that DuckDB joins (``'a'`` and ``'b'`` on two lines) are one token.
    """
    data = sql.encode(errors="replace")
    found = duckdb.tokenize(data.decode())
    ends = [start for start, _ in found[1:]]
    ends.append(len(data))
    tokens: list[Token] = []
    for (start, kind), end in zip(found, ends, strict=True):
        if kind == _COMMENT or (tokens and start < tokens[-1].stop):
            # A piece of the literal before, which DuckDB 2.0 reports on its own.
            if tokens:
                tokens[-1] = tokens[-1]._replace(end=end)
            continue
        tokens.append(_read(data, start, end, kind))
    return tokens


def has_gaps(sql: str, tokens: Sequence[Token]) -> bool:
    """Whether something stands between the tokens that is neither space nor comment."""
    data = sql.encode(errors="replace")
    position = 0
    for token in tokens:
        if _skip(data, position, token.start) != token.start or token.stop > len(data):
            return True
        position = token.stop
    return _skip(data, position, len(data)) != len(data)


def _read(data: bytes, start: int, end: int, kind: object) -> Token:
    if kind == _STRING_KIND:
        text, stop = _string(data, start)
        return Token("string", text, start, max(end, stop), stop)
    if kind == _NUMBER_KIND:
        stop = _number_end(data, start, end)
        return Token("number", _text(data[start:stop]), start, end, stop)
    first = data[start : start + 1]
    if first == b'"' or (first == b"`" and _HAS_BACKTICKS):
        text, stop = _quoted(data, start, first)
        return Token("quoted", text.lower(), start, end, stop, text)
    if kind != _OPERATOR_KIND:
        stop = _run(data, start, end, _WORD_BYTES)
        if stop > start:
            text = _text(data[start:stop])
            return Token("word", text.lower(), start, end, stop, text)
    return _operator(data, start, end)


def _operator(data: bytes, start: int, end: int) -> Token:
    known = next((each for each in _OPERATORS if data.startswith(each, start)), None)
    text = data[start : start + 1] if known is None else known
    stop = start + 1
    if data[start] in _VALUE_SIGNS:
        stop = _run(data, stop, end, _WORD_BYTES)  # ?1 is one token, to DuckDB 1.5
    else:
        while stop < end and not _ends_operator(data, stop):
            stop += 1
    return Token("operator", _text(text), start, end, stop)


def _ends_operator(data: bytes, at: int) -> bool:
    byte = data[at]
    return byte in _SPACES or byte in _WORD_BYTES or data[at : at + 2] in (b"--", b"/*")


def _run(data: bytes, start: int, end: int, accepted: frozenset[int]) -> int:
    stop = start
    while stop < end and data[stop] in accepted:
        stop += 1
    return stop


def _number_end(data: bytes, start: int, end: int) -> int:
    stop = _run(data, start, end, _NUMBER_BYTES)
    if stop < end and data[stop] in b"+-" and data[stop - 1] in b"eE":
        stop = _run(data, stop + 1, end, _NUMBER_BYTES)
    return stop


def _quoted(data: bytes, start: int, quote: bytes) -> tuple[str, int]:
    parts, stop = _pieces(data, start + 1, quote, has_escapes=False)
    return _text(quote.join(parts)), stop


def _string(data: bytes, start: int) -> tuple[str, int]:
    """Return what stands between a literal's quotes, and where it ends."""
    if data[start : start + 1] == b"$":
        return _dollar_string(data, start)
    opening = data.find(b"'", start, start + _LONGEST_PREFIX + 1)
    prefix = data[start:opening].lower()
    if opening < 0 or prefix not in _STRING_PREFIXES:
        return _text(data[start:]), len(data) + 1  # has_gaps() says so
    parts: list[bytes] = []
    while True:
        more, stop = _pieces(data, opening + 1, b"'", has_escapes=prefix == b"e")
        parts.append(b"'".join(more))
        opening = _skip(data, stop, len(data))
        between = data[stop:opening]
        if data[opening : opening + 1] != b"'" or not (b"\n" in between or b"\r" in between):
            return _text(b"".join(parts)), stop


def _dollar_string(data: bytes, start: int) -> tuple[str, int]:
    opened = data.find(b"$", start + 1) + 1
    closed = data.find(data[start:opened], opened) if opened else -1
    if closed < 0:
        return _text(data[start:]), len(data) + 1
    return _text(data[opened:closed]), closed + opened - start


def _pieces(data: bytes, start: int, quote: bytes, *, has_escapes: bool) -> tuple[list[bytes], int]:
    """Return what stands between doubled quotes, and where the closing one ends."""
    parts: list[bytes] = []
    begin = position = start
    while True:
        position = data.find(quote, position)
        if position < 0:
            return [*parts, data[begin:]], len(data) + 1
        if has_escapes and _is_escaped(data, begin, position):
            position += 1
            continue
        parts.append(data[begin:position])
        position += 1
        if data[position : position + 1] != quote:
            return parts, position
        position += 1
        begin = position


def _is_escaped(data: bytes, begin: int, position: int) -> bool:
    """Whether an odd number of backslashes stands before the quote."""
    count = 0
    while position - count > begin and data[position - count - 1 : position - count] == b"\\":
        count += 1
    return count % 2 == 1


def _skip(data: bytes, start: int, end: int) -> int:
    """Return where the spaces and comments from ``start`` on end."""
    position = start
    while position < end:
        if data[position] in _SPACES:
            position += 1
        elif data.startswith(b"--", position):
            position = _line_end(data, position)
        elif data.startswith(b"/*", position):
            position = _comment_end(data, position)
        else:
            break
    return min(position, end)


def _line_end(data: bytes, start: int) -> int:
    line = data.find(b"\n", start)
    end = len(data) if line < 0 else line
    line = data.find(b"\r", start, end)
    return end if line < 0 else line


def _comment_end(data: bytes, start: int) -> int:
    """Return where a comment ends; those inside it count."""
    depth, position, closed = 1, start + 2, -1
    while depth:
        if closed < position:
            closed = data.find(b"*/", position)
        if closed < 0:
            return len(data)
        opened = data.find(b"/*", position, closed)
        depth += 1 if opened >= 0 else -1
        position = (opened if opened >= 0 else closed) + 2
    return position


def _text(data: bytes) -> str:
    return data.decode(errors="replace")


def closing(tokens: Sequence[Token], opening: int) -> int:
    """Return the index of the bracket that closes the one at ``opening``, or the number of tokens."""
    depth = 0
    for index in range(opening, len(tokens)):
        token = tokens[index]
        if token.kind != "operator":
            continue
        if token.text in "([{":
            depth += 1
        elif token.text in ")]}":
            depth -= 1
            if depth == 0:
                return index
    return len(tokens)


def span_text(sql: str, tokens: Sequence[Token], first: int, stop: int) -> str:
    """Return the text of tokens ``first`` up to, not including, ``stop``."""
    if first >= stop:
        return ""
    data = sql.encode(errors="replace")
    return data[tokens[first].start : tokens[stop - 1].end].decode(errors="replace")


def first_word(sql: str) -> str:
    """Return the word that a text begins with, in lower case; empty: it begins with something else."""
    data = sql.encode(errors="replace")
    start = _skip(data, 0, len(data))
    while data[start : start + 1] == b";":
        start = _skip(data, start + 1, len(data))
    return _text(data[start : _run(data, start, len(data), _WORD_BYTES)]).lower()
