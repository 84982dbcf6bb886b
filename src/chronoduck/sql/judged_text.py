"""The only texts that the engine runs: what was judged, to the letter, and the service's own words.

``JudgedText`` is made in this module and in ``statements.py`` alone (``tests/architecture`` looks), and
``execution.py`` refuses every other string. What string methods make of one is a plain ``str`` again.
"""

from __future__ import annotations

from chronoduck.sql.characters import refuse_nul

__all__ = ["JudgedText", "check_judged", "explained", "inside", "own_text"]


class JudgedText(str):
    """A text that may be run."""

    __slots__ = ()


def check_judged(sql: str) -> None:
    """Refuse a text that nobody judged, and one that DuckDB could end at a NUL byte.

    Raises:
        TypeError: it is a plain string.
        DuckDBQueryError: a name with a NUL byte came into a text of the service.
    """
    if type(sql) is not JudgedText:
        raise TypeError("only a judged text is run: hand on the statement's own")
    refuse_nul(sql)


def own_text(sql: str) -> JudgedText:
    """Return words of the service itself; nothing that a user sent may stand in them."""
    return JudgedText(sql)


def explained(judged: JudgedText, *options: str) -> JudgedText:
    """Return the EXPLAIN of a judged statement, which stands in it as it was judged."""
    return JudgedText(f"EXPLAIN ({', '.join(options)}) {judged}")


def inside(judged: JudgedText, before: str, after: str) -> JudgedText:
    """Return a query of the service over a judged SELECT: ``before (SELECT ...) after``.

    The SELECT stands on lines of its own: a comment at its end must not swallow what follows.
    """
    return JudgedText(f"{before} (\n{judged.strip().rstrip(';')}\n) {after}")
