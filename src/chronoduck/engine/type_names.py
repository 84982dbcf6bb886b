"""Types as DuckDB writes them, but for that of NULL, which its Python package quotes like a name."""

from __future__ import annotations

__all__ = ["readable_type", "type_name"]

_QUOTED = '"NULL"'


def type_name(kind: object) -> str:
    """Return the name of a type (``DuckDBPyType``): ``NULL`` and ``NULL[]``, and not ``"NULL"``."""
    text = str(kind)
    return text if _QUOTED not in text else "".join(_pieces(text))


def readable_type(name: str) -> str:
    """Return the name of a type as DuckDB's Python package reads it: with ``"NULL"`` for ``NULL``."""
    if "NULL" not in name:
        return name
    found = ""
    for piece in _pieces(name):
        found += piece
        # A field of that name stands in quotes, so that plain letters are the type.
        if found.endswith("NULL") and not piece.startswith(("'", '"')):
            found = f'{found[:-4]}"NULL"'
    return found


def _pieces(text: str) -> list[str]:
    """Cut into quoted names, literals of enums and what is between; a type of that name loses quotes.

    Behind a field's name stands its type; behind a type stands a bracket, a comma, or nothing.
    """
    pieces, at = [], 0
    while at < len(text):
        end = at + 1
        if text[at] in "\"'":
            while end < len(text) and text[end] != text[at]:
                end += 1
            end += 1
        piece = text[at:end]
        is_type = piece == _QUOTED and text[end : end + 1] in ("", ",", ")", "[")
        pieces.append("NULL" if is_type else piece)
        at = end
    return pieces
