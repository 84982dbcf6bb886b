"""A shell's patterns for names of files: ``dir/**/*.csv``, ``part-[0-9]?.parquet``."""

from __future__ import annotations

from collections.abc import Iterator

from chronoduck.patterns import check_pattern, quoted

__all__ = ["beginning", "is_glob", "pattern_of"]

_MEANINGS = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}


def is_glob(text: str) -> bool:
    """Whether the text has a sign that stands for others."""
    return any(sign in text for sign in "*?[")


def beginning(glob: str) -> str:
    """Return what stands before the first such sign."""
    return glob[: min((at for at in map(glob.find, "*?[") if at >= 0), default=len(glob))]


def pattern_of(glob: str) -> str:
    """Return the pattern that whole names fit: ``*`` stays within a part, ``**/`` is any parts.

    Raises:
        ValueError: a set in it is none, such as ``[z-a]``.
    """
    pattern = "".join(
        _MEANINGS.get(piece) or (_set(piece) if len(piece) > 1 else quoted(piece))
        for piece in _pieces(glob)
    )
    check_pattern(pattern)
    return pattern


def _pieces(glob: str) -> Iterator[str]:
    """Yield signs, sets in brackets, ``*``, ``**`` and ``**/``."""
    at = 0
    last_closed = glob.rfind("]")
    while at < len(glob):
        end = at + 1
        if glob.startswith("**", at):
            end = at + (3 if glob.startswith("**/", at) else 2)
        elif glob[at] == "[":
            first = at + (2 if glob.startswith("[!", at) else 1)
            if first < last_closed and glob[first] not in "]!":
                end = glob.index("]", first + 1) + 1
        yield glob[at:end]
        at = end


def _set(piece: str) -> str:
    inside = piece[1:-1].replace("\\", r"\\").replace("[", r"\[")
    return f"[^{inside[1:]}]" if inside.startswith("!") else f"[{inside}]"
