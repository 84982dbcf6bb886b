"""What to do when a server's process has ended: pass its code on, or have the next one take over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from chronoduck.resilience.backoff import Backoff
from chronoduck.supervision.channel import REPLACE_ME

__all__ = ["Finish", "Restart", "RestartPolicy", "ServerEnd", "shell_code"]

_TRY_AGAIN = 75
_UNAVAILABLE, _BUG = 69, 70
_WORTH_ANOTHER_TRY = frozenset({1, _UNAVAILABLE, _BUG, _TRY_AGAIN, REPLACE_ME})
"""Exit codes of a successor that could not start, of which the next one may not die."""
_STABLE_SECONDS = 10.0
"""A server that served for so long did not die of its start."""
_MOST_FAILED_STARTS = 10
_IO_ERROR = 74
_MOST_OPENING_DEATHS = 3
"""After the first, a server tries in other processes whether the file opens; after the second, it does
not open the file as it is any more."""
_FIRST_SECONDS, _SERVED_CAP_SECONDS, _START_CAP_SECONDS = 0.25, 1.0, 30.0


@dataclass(frozen=True)
class ServerEnd:
    """How a server's process ended; ``code`` is negative for a signal."""

    code: int
    served_seconds: float | None
    """None: it never got so far."""
    is_first: bool
    """Whether no server before it had served."""
    was_told_to_end: bool
    was_opening: bool = False
    """Whether it died while DuckDB opened the database."""


@dataclass(frozen=True)
class Finish:
    """End with this exit code."""

    code: int


@dataclass(frozen=True)
class Restart:
    """Have the next server take over after so many seconds."""

    wait_seconds: float


class RestartPolicy:
    """Remembers how often servers died young.

    The first death is followed by a restart at once. Servers that die within 10 s of serving are
    restarted after at most 1 s: they can serve, and others wait for them. Successors that do not even
    start are tried less and less often, ten times in a row. One that a signal ends while it opens the
    database is followed at once, twice: the next one opens it with more care.
    """

    def __init__(self, random: Callable[[], float]) -> None:
        self._served = Backoff(_FIRST_SECONDS, _SERVED_CAP_SECONDS, 0.2, random)
        self._never_served = Backoff(_FIRST_SECONDS, _START_CAP_SECONDS, 0.2, random)
        self._young_deaths = 0
        self._failed_starts = 0
        self._opening_deaths = 0

    def decide(self, end: ServerEnd) -> Finish | Restart:
        """Return what to do now."""
        if end.code == 0 or end.was_told_to_end:
            return Finish(shell_code(end.code))
        if end.was_opening and end.code < 0:
            return self._after_death_of_opening()
        if end.served_seconds is not None:
            return self._after_serving(end.code, end.served_seconds)
        if end.is_first or (end.code > 0 and end.code not in _WORTH_ANOTHER_TRY):
            return Finish(shell_code(end.code))
        self._failed_starts += 1
        if self._failed_starts >= _MOST_FAILED_STARTS:
            return Finish(shell_code(end.code))
        return Restart(self._never_served.wait_seconds(self._failed_starts - 1))

    def _after_death_of_opening(self) -> Finish | Restart:
        """A signal at that moment is told as an I/O error: who restarts it would meet the same."""
        self._opening_deaths += 1
        if self._opening_deaths >= _MOST_OPENING_DEATHS:
            return Finish(_IO_ERROR)
        return Restart(0.0)

    def _after_serving(self, code: int, seconds: float) -> Restart:
        self._failed_starts = self._opening_deaths = 0
        if code == REPLACE_ME:
            return Restart(0.0)  # it took a statement's deadline to get there: that is slow enough
        if seconds >= _STABLE_SECONDS:
            self._young_deaths = 0
            return Restart(0.0)
        self._young_deaths += 1
        if self._young_deaths == 1:
            return Restart(0.0)
        return Restart(self._served.wait_seconds(self._young_deaths - 2))


def shell_code(code: int) -> int:
    """Return an exit code as shells have it: 128 + n for signal n."""
    return 128 - code if code < 0 else code
