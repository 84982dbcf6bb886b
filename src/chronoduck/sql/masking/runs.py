"""Runs of characters of one kind, found at the speed of ``str.find``.

A text is translated once, each character to a letter for its kind; then the end of a run is the next
place of another letter. No place of the text is looked at again for each run that crosses it.
"""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Runs", "lower"]

_ASCII = 128
_REMEMBERED = 4_000
"""Characters whose kind is kept: all that most languages have, and never all that there are."""


class _Kinds(dict[int, str]):
    """The letter for each code point; of those beyond ASCII the first that were met are kept."""

    def __init__(self, belongs: Callable[[str], bool]) -> None:
        super().__init__({code: "." if belongs(chr(code)) else "|" for code in range(_ASCII)})
        self._belongs = belongs

    def __missing__(self, code: int) -> str:
        kind = "." if self._belongs(chr(code)) else "|"
        if len(self) < _REMEMBERED:
            self[code] = kind
        return kind


class Runs:
    """What runs of characters a text has; ``belongs`` tells which characters continue a run."""

    def __init__(self, belongs: Callable[[str], bool]) -> None:
        self._kinds = _Kinds(belongs)

    def of(self, text: str) -> RunsOfText:
        """Return the runs of one text."""
        return RunsOfText(text.translate(self._kinds))


class RunsOfText:
    """The runs of one text; ``kinds`` is as long as the text: ``.`` inside a run, ``|`` outside."""

    def __init__(self, kinds: str) -> None:
        self.kinds = kinds

    def end(self, start: int) -> int:
        """Return where the run that begins at ``start`` ends; ``start`` itself if none begins."""
        end = self.kinds.find("|", start)
        return len(self.kinds) if end < 0 else end

    def start(self, at: int, first: int) -> int:
        """Return where the run begins that ``at`` is in or behind, but not before ``first``."""
        return max(self.kinds.rfind("|", first, at) + 1, first)

    def all(self, least: int) -> list[tuple[int, int]]:
        """Return start and end of every run of at least so many characters."""
        found: list[tuple[int, int]] = []
        at = self.kinds.find("." * least)
        while at >= 0:
            end = self.end(at)
            found.append((at, end))
            at = self.kinds.find("." * least, end)
        return found


def lower(text: str) -> str:
    """Return the text in lower case, with each character at the place where it was."""
    return text.replace("\u0130", "i").lower()
