"""DuckDB's types as it writes them: ``STRUCT(a TIME, "b c" JSON[])[3]`` as a tree."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["TypeTree", "read_type"]

_NAMED = frozenset({"STRUCT", "UNION"})
_OF_TYPES = _NAMED | {"MAP", "TUPLE"}


@dataclass
class TypeTree:
    """A type and those inside it; a list is ``LIST`` or ``ARRAY`` of one part."""

    name: str
    parts: list[tuple[str, TypeTree]] = field(default_factory=list)
    """Name (empty where parts have none) and type of each part."""
    written: str = ""
    """The whole type, as it was written."""

    @property
    def leaves(self) -> set[str]:
        """The names of the types without parts that it is made of."""
        if not self.parts:
            return {self.name}
        return set().union(*(part.leaves for _, part in self.parts))


def read_type(text: str) -> TypeTree:
    """Return the tree of a type.

    Raises:
        ValueError: it is not written as DuckDB writes types.
    """
    reader = _Reader(text)
    tree = reader.type()
    if reader.position != len(text):
        raise ValueError(f"not a type: {text[:100]}")
    return tree


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        self.position = 0

    def type(self) -> TypeTree:
        start = self.position
        if self._peek() == '"':
            self._quoted('"')
        else:
            while self._peek() not in ("", "(", ")", ",", "["):
                self.position += 1
        tree = TypeTree(self._text[start : self.position].strip().upper())
        if self._peek() == "(":
            self.position += 1
            self._arguments(tree)
        tree.written = self._text[start : self.position].strip()
        while self._peek() == "[":
            end = self._text.find("]", self.position)
            if end < 0:
                raise ValueError("a bracket is not closed")
            is_list = end == self.position + 1
            self.position = end + 1
            written = self._text[start : self.position].strip()
            tree = TypeTree("LIST" if is_list else "ARRAY", [("", tree)], written)
        return tree

    def _arguments(self, tree: TypeTree) -> None:
        """Read up to the closing bracket: types, or (of ENUM, DECIMAL) other things."""
        while (character := self._peek()) != ")":
            if not character:
                raise ValueError("a bracket is not closed")
            if character in ", ":
                self.position += 1
            elif tree.name not in _OF_TYPES:
                self._skip()
            else:
                name = self._name() if tree.name in _NAMED else ""
                tree.parts.append((name, self.type()))
        self.position += 1

    def _name(self) -> str:
        if self._peek() == '"':
            name = self._quoted('"')
        else:
            start = self.position
            while self._peek() not in ("", " ", ",", ")"):
                self.position += 1
            name = self._text[start : self.position]
        if self._peek() == " ":
            self.position += 1
        return name

    def _skip(self) -> None:
        if self._peek() in ("'", '"'):
            self._quoted(self._peek())
        else:
            self.position += 1

    def _quoted(self, quote: str) -> str:
        self.position += 1
        start = self.position
        while True:
            end = self._text.find(quote, self.position)
            if end < 0:
                raise ValueError("a name is not closed")
            self.position = end + 1
            if self._peek() != quote:
                return self._text[start:end].replace(quote * 2, quote)
            self.position += 1

    def _peek(self) -> str:
        return self._text[self.position : self.position + 1]
