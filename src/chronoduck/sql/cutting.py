"""Cutting the queries out of statements that have no tree: INSERT, UPDATE, CREATE, EXPLAIN, ..."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from chronoduck.sql.definitions import MacroBody, ViewBody
from chronoduck.sql.tokens import Token, closing, has_gaps, read_tokens, span_text

__all__ = [
    "Piece",
    "created_by",
    "made_by",
    "named_by",
    "pieces_of",
    "target_of",
    "top_level",
    "view_query",
]

QUERY_WORDS = frozenset(
    "select with from values table pivot unpivot describe desc summarize show".split()
)
_BEFORE_OBJECT = frozenset(
    "create or replace temp temporary local global unlogged persistent unique recursive "
    "materialized".split()
)


class Piece(NamedTuple):
    """A query made of tokens ``first`` up to ``stop`` of a statement.

    ``is_needed``: if it cannot be read, the statement is refused; other pieces may be guesses.
    """

    sql: str
    first: int
    stop: int
    is_needed: bool


def top_level(tokens: Sequence[Token], first: int, stop: int) -> Iterator[tuple[int, Token]]:
    """Yield the tokens outside all brackets, the opening brackets among them."""
    depth = 0
    for index in range(first, stop):
        token = tokens[index]
        is_operator = token.kind == "operator"
        if is_operator and token.text in (")", "]", "}"):
            depth -= 1
            continue
        if depth <= 0:
            yield index, token
        if is_operator and token.text in ("(", "[", "{"):
            depth += 1


def view_query(sql: str) -> str | None:
    """Return what a CREATE VIEW selects, None when it is not understood."""
    tokens = read_tokens(sql)
    start = _after_as(tokens, 0)
    if start is None or has_gaps(sql, tokens):
        return None
    return span_text(sql, tokens, start, _without_end(tokens)).strip()


def _without_end(tokens: Sequence[Token]) -> int:
    stop = len(tokens)
    while stop and tokens[stop - 1].text == ";":
        stop -= 1
    return stop


def _after_as(tokens: Sequence[Token], first: int) -> int | None:
    for index, token in top_level(tokens, first, len(tokens)):
        if token.kind == "word" and token.text == "as":
            return index + 1
    return None


def pieces_of(kind: str, sql: str, tokens: Sequence[Token]) -> list[Piece]:
    """Return the queries inside a statement of a kind that has no tree."""
    stop = _without_end(tokens)
    if kind == "create":
        pieces = _create_pieces(sql, tokens, stop)
    elif kind == "alter":
        pieces = _new_values(sql, tokens, stop)
    elif kind in ("insert", "update", "delete", "merge_into"):
        pieces = list(_clauses(kind, sql, tokens, stop))
    else:
        pieces = []
    covered = [False] * (stop + 1)
    for piece in pieces:
        covered[piece.first : piece.stop] = [True] * (piece.stop - piece.first)
    pieces += _bracketed(sql, tokens, stop, covered)
    return pieces


def _bracketed(
    sql: str, tokens: Sequence[Token], stop: int, covered: list[bool]
) -> Iterator[Piece]:
    """Yield the outermost subqueries that no other piece holds."""
    index = 0
    while index < stop - 1:
        token = tokens[index]
        if token.text == "(" and token.kind == "operator" and not covered[index]:
            following = tokens[index + 1]
            if following.kind == "word" and following.text in QUERY_WORDS:
                end = closing(tokens, index)
                is_call = index > 0 and tokens[index - 1].is_name and following.text == "from"
                is_needed = not (is_call or _is_write(tokens, index + 1, end))
                yield Piece(span_text(sql, tokens, index + 1, end), index + 1, end, is_needed)
                index = end
        index += 1


def _is_write(tokens: Sequence[Token], first: int, stop: int) -> bool:
    return any(
        token.kind == "word" and token.text in ("insert", "update", "delete", "merge")
        for token in tokens[first:stop]
    )


def _new_values(sql: str, tokens: Sequence[Token], stop: int) -> list[Piece]:
    """Return the expression that an ALTER ... TYPE computes a column's values by."""
    for index, token in top_level(tokens, 0, stop):
        if token.kind == "word" and token.text == "using" and index + 1 < stop:
            inner = span_text(sql, tokens, index + 1, stop)
            return [Piece(f"SELECT ({inner}\n)", index + 1, stop, True)]
    return []


def _index_keys(sql: str, tokens: Sequence[Token], stop: int) -> list[Piece]:
    """Return the keys of an index, each as a query; behind one may stand its order."""
    opening = next((i for i, token in top_level(tokens, 0, stop) if token.text == "("), stop)
    if opening == stop:
        return []
    close = min(closing(tokens, opening), stop)
    commas = [i for i, token in top_level(tokens, opening + 1, close) if token.text == ","]
    keys = []
    for first, end in zip([opening, *commas], [*commas, close], strict=True):
        inner = span_text(sql, tokens, first + 1, end)
        keys.append(Piece(f"SELECT 1 ORDER BY {inner}", first + 1, end, True))
    return keys


def _create_pieces(sql: str, tokens: Sequence[Token], stop: int) -> list[Piece]:
    made, behind = _made(tokens)
    if made == "index":
        return _index_keys(sql, tokens, stop)
    if made in ("macro", "function"):
        return [
            Piece(_query_of(body), first, end, True)
            for body, first, end in _macros(sql, tokens, behind)
        ]
    start = _after_as(tokens, 0)
    if start is None or made == "type":
        return list(_generated_columns(sql, tokens, stop))
    end = stop
    for ending in (["with", "data"], ["with", "no", "data"]):
        if [token.text for token in tokens[max(start, stop - len(ending)) : stop]] == ending:
            end = stop - len(ending)
    return [Piece(span_text(sql, tokens, start, end), start, end, True)]


def _generated_columns(sql: str, tokens: Sequence[Token], stop: int) -> Iterator[Piece]:
    """Yield the generated columns of a table as a SELECT list: they are written out like one."""
    opening = next((i for i in range(stop) if tokens[i].text == "("), stop)
    close = closing(tokens, opening)
    columns: list[str] = []
    name = None
    for index, token in top_level(tokens, opening + 1, min(close, stop)):
        if name is None:
            name = token.text
        elif token.text == ",":
            name = None
        elif token.text == "as" and index + 1 < close and tokens[index + 1].text == "(":
            end = closing(tokens, index + 1)
            quoted = name.replace('"', '""')
            columns.append(f'{span_text(sql, tokens, index + 1, end)}\n) AS "{quoted}"')
    if columns:
        yield Piece("SELECT " + ", ".join(columns), stop, stop, True)


def _query_of(body: MacroBody) -> str:
    return body.body if body.is_table else f"SELECT ({body.body}\n)"


def created_by(sql: str, tokens: Sequence[Token]) -> tuple[MacroBody | ViewBody, ...]:
    """Return the view or the macros that a CREATE makes."""
    made, behind = _made(tokens)
    if made in ("macro", "function"):
        return tuple(body for body, _, _ in _macros(sql, tokens, behind))
    if made == "view":
        return (ViewBody(_object_name(tokens, behind)[0], sql),)
    return ()


def made_by(statements: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield schema and name of the tables and views that DDL makes or renames, as it names them."""
    for sql in statements:
        tokens = read_tokens(sql)
        words = [token.text if token.kind == "word" else "" for token in tokens]
        if words[:1] == ["create"]:
            made, index = _made(tokens)
            if made not in ("table", "view", "recursive"):
                continue
            if words[index : index + 1] == ["view"]:  # CREATE RECURSIVE VIEW
                index += 1
        elif words[:1] == ["alter"] and "rename" in words:
            index = words.index("rename") + 2
        else:
            continue
        path = _path_at(tokens, index)
        if path:
            schema, name = ("main", *path)[-2:]
            yield schema, name
            yield "main", name  # the other part may be the database's name, or an ALTER's schema


def _path_at(tokens: Sequence[Token], index: int) -> list[str]:
    if [token.text for token in tokens[index : index + 3]] == ["if", "not", "exists"]:
        index += 3
    path = []
    while index < len(tokens) and tokens[index].is_name:
        path.append(tokens[index].name)
        if index + 1 >= len(tokens) or tokens[index + 1].text != ".":
            break
        index += 2
    return path


def named_by(kind: str, tokens: Sequence[Token]) -> tuple[str, str]:
    """Return what a CREATE makes, or an ALTER renames, and its new name; empty: there is none."""
    made, behind = _made(tokens)
    if kind == "create":
        return made, _object_name(tokens, behind)[0] if behind < len(tokens) else ""
    words = [token.text if token.kind == "word" else "" for token in tokens]
    made = words[1] if len(words) > 1 else ""
    renamed = next((i for i in range(len(words) - 2) if words[i : i + 2] == ["rename", "to"]), None)
    return made, "" if renamed is None else _object_name(tokens, renamed + 2)[0]


def target_of(tokens: Sequence[Token]) -> str | None:
    """Return the name of what a CREATE ... IF NOT EXISTS makes, None of any other."""
    _, behind = _made(tokens)
    if [token.text for token in tokens[behind : behind + 3]] != ["if", "not", "exists"]:
        return None
    return _object_name(tokens, behind)[0]


def _made(tokens: Sequence[Token]) -> tuple[str, int]:
    """Return what kind of object a CREATE makes, and the index behind that word.

    Only the word in its place counts: a table may be called "macro", and a column too.
    """
    for index, token in enumerate(tokens):
        if token.kind != "word" or token.text not in _BEFORE_OBJECT:
            return token.text if token.kind == "word" else "", index + 1
    return "", len(tokens)


def _object_name(tokens: Sequence[Token], index: int) -> tuple[str, int]:
    """Return the last part of the name at ``index`` and the index behind it."""
    if [token.text for token in tokens[index : index + 3]] == ["if", "not", "exists"]:
        index += 3
    while index + 2 < len(tokens) and tokens[index + 1].text == ".":
        index += 2
    return tokens[index].text, index + 1


def _macros(sql: str, tokens: Sequence[Token], behind: int) -> Iterator[tuple[MacroBody, int, int]]:
    name, index = _object_name(tokens, behind)
    stop = _without_end(tokens)
    while index < stop and tokens[index].text == "(":
        close = closing(tokens, index)
        parameters = tuple(_parameters(tokens, index, close))
        first = close + 2  # behind AS
        is_table = first < stop and tokens[first].text == "table"
        first += is_table
        end = _overload_end(tokens, first, stop)
        body = span_text(sql, tokens, first, end)
        yield MacroBody(name, parameters, body, is_table), first, end
        index = end + 1


def _overload_end(tokens: Sequence[Token], first: int, stop: int) -> int:
    for index, token in top_level(tokens, first, stop):
        if token.text == "," and index + 1 < stop and tokens[index + 1].text == "(":
            close = closing(tokens, index + 1)
            if close + 1 < stop and tokens[close + 1].text == "as":
                return index
    return stop


def _parameters(tokens: Sequence[Token], opening: int, close: int) -> Iterator[str]:
    expects = True
    for _, token in top_level(tokens, opening + 1, close):
        if expects and token.is_name:
            yield token.text
            expects = False
        elif token.text == ",":
            expects = True


_CLAUSES = {
    "insert": frozenset({"returning", "set", "where"}),
    "update": frozenset({"set", "from", "where", "returning"}),
    "delete": frozenset({"using", "where", "returning"}),
    "merge_into": frozenset({"using", "on", "when", "then", "set", "values", "returning"}),
}


def _clauses(kind: str, sql: str, tokens: Sequence[Token], stop: int) -> Iterator[Piece]:
    """Yield the clauses of a statement that writes, each as a query that can be read."""
    words = _CLAUSES[kind]
    marks: list[tuple[str, int]] = []
    first = 0
    if kind == "insert":
        query, first = _insert_query(sql, tokens, stop)
        if query is not None:
            yield query
    for index, token in top_level(tokens, first, stop):
        if token.kind == "word" and token.text in words:
            if token.text != "using" or all(word != "using" for word, _ in marks):
                marks.append((token.text, index))
            elif kind == "merge_into":  # USING (columns), where others have ON
                marks.append(("columns", index))
    ends = [index for _, index in marks[1:]] + [stop]
    for (word, index), end in zip(marks, ends, strict=False):
        piece = _clause(word, sql, tokens, index + 1, end)
        if piece is not None:
            yield piece


def _clause(word: str, sql: str, tokens: Sequence[Token], first: int, stop: int) -> Piece | None:
    """Return what follows a clause's word as a query."""
    if word == "when":  # MATCHED AND condition
        condition = next(
            (i for i, token in top_level(tokens, first, stop) if token.text == "and"), stop
        )
        first = condition + 1
    if first >= stop:
        return None
    inner = _with_null_defaults(sql, tokens, first, stop)
    if word in ("from", "using"):
        return Piece(f"SELECT 1 FROM {inner}", first, stop, True)
    if word in ("set", "returning"):
        return Piece(f"SELECT {inner}", first, stop, False)
    if word in ("where", "on", "when"):
        return Piece(f"SELECT ({inner}\n)", first, stop, False)
    return Piece(f"VALUES {inner}", first, stop, False) if word == "values" else None


def _insert_query(sql: str, tokens: Sequence[Token], stop: int) -> tuple[Piece | None, int]:
    """Return the query of an INSERT and where the rest of the statement begins."""
    into = next((i for i, token in top_level(tokens, 0, stop) if token.text == "into"), None)
    if into is None:
        return None, 0
    _, index = _object_name(tokens, into + 1)
    start = end = None
    for position, token in top_level(tokens, index, stop):
        if start is None:
            is_query = token.kind == "word" and token.text in QUERY_WORDS
            if token.text == "(" and token.kind == "operator":
                inside = position
                while inside < stop and tokens[inside].text == "(":
                    inside += 1
                is_query = inside < stop and tokens[inside].text in QUERY_WORDS
            if is_query and tokens[position - 1].text != "default":
                start = position
        elif token.kind == "word" and (
            token.text == "returning"
            or (token.text == "on" and tokens[min(position + 1, stop - 1)].text == "conflict")
        ):
            end = position
            break
    if start is None:
        return None, index
    end = stop if end is None else end
    return Piece(_with_null_defaults(sql, tokens, start, end), start, end, True), end


def _with_null_defaults(sql: str, tokens: Sequence[Token], first: int, stop: int) -> str:
    """Return the tokens' text with DEFAULT, which no SELECT knows, as NULL."""
    parts, begin = [], first
    for index in range(first, stop):
        if tokens[index].kind == "word" and tokens[index].text == "default":
            parts.append(span_text(sql, tokens, begin, index))
            parts.append(" NULL ")
            begin = index + 1
    parts.append(span_text(sql, tokens, begin, stop))
    return "".join(parts)
