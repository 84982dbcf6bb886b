"""DuckDB's type names, as results tell them, taken apart."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

__all__ = ["ColumnType", "parse_type"]

_TOKEN = re.compile(r"""\s*("(?:[^"]|"")*"|'(?:[^']|'')*'|[(),\[\]]|[^\s(),\[\]"']+)""")
_NESTED = ("STRUCT", "UNION", "MAP", "TUPLE")


@dataclass(frozen=True)
class ColumnType:
    """A type: ``id`` is its name without what is in brackets.

    ``members`` are those of STRUCT, UNION, TUPLE (without names) and MAP (``key``, ``value``), and
    the ``child`` of LIST and ARRAY; ``arguments`` the width and scale of a DECIMAL.
    """

    id: str
    members: tuple[tuple[str, ColumnType], ...] = ()
    arguments: tuple[str, ...] = ()

    @property
    def child(self) -> ColumnType:
        """The type of a list's elements."""
        return self.members[0][1]


@lru_cache(maxsize=1024)
def parse_type(text: str) -> ColumnType:
    """Return the type of a name such as ``STRUCT(a DECIMAL(5,2)[], "b c" DATE)``.

    A name that cannot be read is a type without members: its values stay as they come.
    """
    tokens = [match.group(1) for match in _TOKEN.finditer(text)]
    reader = _Tokens(tokens)
    try:
        parsed = reader.type()
    except IndexError:
        return ColumnType(text)
    return parsed if reader.is_done else ColumnType(text)


class _Tokens:
    def __init__(self, tokens: list[str]) -> None:
        self._tokens = tokens
        self._next = 0

    @property
    def is_done(self) -> bool:
        return self._next == len(self._tokens)

    def _peek(self, ahead: int = 0) -> str:
        index = self._next + ahead
        return self._tokens[index] if index < len(self._tokens) else ""

    def _take(self) -> str:
        token = self._tokens[self._next]
        self._next += 1
        return token

    def type(self) -> ColumnType:
        words = [self._take()]
        while self._peek() not in ("", "(", ")", "[", "]", ","):
            words.append(self._take())
        found = ColumnType(" ".join(words).upper())
        if self._peek() == "(":
            found = self._with_arguments(found.id)
        while self._peek() == "[":
            size = ""
            self._take()
            while self._peek() != "]":
                size += self._take()
            self._take()
            found = ColumnType("ARRAY" if size else "LIST", (("child", found),))
        return found

    def _with_arguments(self, name: str) -> ColumnType:
        members: list[tuple[str, ColumnType]] = []
        arguments: list[str] = []
        while self._take() in "(,":
            if name == "MAP":
                members.append((("key", "value")[len(members)], self.type()))
            elif name in _NESTED:
                members.append((self._member_name(name), self.type()))
            else:
                arguments.append(self._take())
        if self._peek() and self._peek() not in "[),":  # TIMESTAMP(3) WITH TIME ZONE
            name = " ".join([name, self.type().id])
        return ColumnType(name, tuple(members), tuple(arguments))

    def _member_name(self, name: str) -> str:
        """Return the name of the member that comes; what ``row()`` makes has none."""
        is_unnamed = self._peek(1) in ("", "(", ")", "[", ",") or (
            self._peek(1) == "WITH" and self._peek(2) == "TIME"
        )
        if name == "TUPLE" or is_unnamed:
            return ""
        token = self._take()
        return token[1:-1].replace('""', '"') if token.startswith('"') else token
