"""How statements went in the last hour, day and week: counters that outlive a restart."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Protocol

from chronoduck.monitoring.statements.latency import LatencySketch

__all__ = ["WINDOWS", "StatementWindows", "WindowedStatement", "is_users_own"]

WINDOWS = {"1h": 3_600, "24h": 86_400, "7d": 604_800}
"""Name to seconds."""
_STEP = 300
"""Seconds of a piece; a window begins up to so much earlier than its name says."""
_COUNTERS = (
    *("total", "successful", "user_errors", "over_1s", "over_5s"),
    *("rows", "result_bytes"),
)
_USERS_OUTCOMES = frozenset({"user_error", "cancelled", "aborted"})
_USERS_REFUSALS = frozenset({"forbidden", "quota_exceeded"})


class WindowedStatement(Protocol):
    """What is needed of a statement that has ended; times in seconds."""

    @property
    def outcome(self) -> str: ...
    @property
    def error_code(self) -> str | None: ...
    @property
    def execution_time(self) -> float: ...
    @property
    def ended_at(self) -> float: ...
    @property
    def rows(self) -> int: ...
    @property
    def bytes(self) -> int: ...


def is_users_own(outcome: str, error_code: str | None) -> bool:
    """Whether a failure was its user's doing: wrong SQL, a cancellation, more than it may use."""
    return outcome in _USERS_OUTCOMES or (outcome == "refused" and error_code in _USERS_REFUSALS)


class _Counts:
    """What is counted of a piece or a window."""

    __slots__ = (*_COUNTERS, "seconds")

    def __init__(self) -> None:
        self.total = self.successful = self.user_errors = 0
        self.over_1s = self.over_5s = self.rows = self.result_bytes = 0
        self.seconds = LatencySketch()
        """Of the successful ones."""

    def merge(self, other: _Counts, sign: int = 1) -> None:
        for name in _COUNTERS:
            setattr(self, name, getattr(self, name) + sign * getattr(other, name))
        self.seconds.merge(other.seconds, sign)

    def as_text(self) -> str:
        fields: dict[str, Any] = {name: getattr(self, name) for name in _COUNTERS}
        return json.dumps({**fields, "seconds": self.seconds.total, "bins": self.seconds.bins})

    @classmethod
    def of_text(cls, text: str) -> _Counts:
        read = json.loads(text)
        counts = cls()
        for name in _COUNTERS:
            setattr(counts, name, int(read.get(name, 0)))
        bins = {int(index): int(count) for index, count in read["bins"].items()}
        counts.seconds = LatencySketch(bins, float(read["seconds"]))
        return counts

    def report(self) -> dict[str, Any]:
        judged = self.total - self.user_errors
        times = self.seconds.report()
        return {
            "total_queries": self.total,
            "successful_queries": self.successful,
            "user_errors": self.user_errors,
            "failed_queries": judged - self.successful,
            "success_rate": round(100 * self.successful / judged, 3) if judged else 100.0,
            "queries_over_1s": self.over_1s,
            "queries_over_5s": self.over_5s,
            "avg_time": times["mean"],
            **{name: times[name] for name in ("p50", "p90", "p99")},
            "max_time": times["max"],
            "rows": self.rows,
            "result_bytes": self.result_bytes,
        }


class StatementWindows:
    """Pieces of five minutes for a week, 2,017 at most, and their sums for each window.

    The sums are kept up as time goes on: telling them costs the same whatever the window.
    """

    def __init__(self) -> None:
        self._pieces: dict[int, _Counts] = {}
        """By Unix time of their beginning, oldest first."""
        self._now = 0
        """Beginning of the newest piece."""
        self._sums = {name: _Counts() for name in WINDOWS}
        """Of the pieces before the newest one."""
        self._unsaved: set[int] = set()

    def record(self, statement: WindowedStatement) -> None:
        """Count a statement that has ended."""
        start = int(statement.ended_at) // _STEP * _STEP
        if start != self._now:
            start = self._move(start)
        counts = self._pieces.get(start) or self._pieces.setdefault(start, _Counts())
        self._unsaved.add(start)
        counts.total += 1
        outcome, seconds = statement.outcome, statement.execution_time
        if outcome in ("ok", "timeout"):  # a deadline ends what is slow
            counts.over_1s += seconds > 1
            counts.over_5s += seconds > 5
        if outcome != "ok":
            counts.user_errors += is_users_own(outcome, statement.error_code)
            return
        counts.successful += 1
        counts.seconds.add(seconds)
        counts.rows += statement.rows
        counts.result_bytes += statement.bytes

    def _move(self, start: int) -> int:
        """Begin a new piece, and return it; a clock that was set back counts in the newest one."""
        if start <= self._now:
            return self._now
        before, self._now = self._now, start
        for name, width in WINDOWS.items():
            total = self._sums[name]
            # What was the newest piece comes in; what is too old goes out.
            if (newest := self._pieces.get(before)) is not None:
                total.merge(newest)
            for each, counts in self._pieces.items():
                if each >= start - width:
                    break
                if each >= before - width:
                    total.merge(counts, -1)
        for each in [each for each in self._pieces if each < start - WINDOWS["7d"]]:
            del self._pieces[each]
        return start

    def report(self, now: float) -> dict[str, Any]:
        """Return each window's counters and percentiles, and since when there are any."""
        self._move(int(now) // _STEP * _STEP)
        windows = {}
        newest = self._pieces.get(self._now)
        for name, total in self._sums.items():
            counts = _Counts()
            counts.merge(total)
            if newest is not None:
                counts.merge(newest)
            windows[name] = counts.report()
        first = min(self._pieces, default=None)
        since = None if first is None else datetime.fromtimestamp(first, UTC).isoformat()
        return {**windows, "since": since}

    def take_unsaved(self) -> list[tuple[int, str]]:
        """Return the pieces that changed since the last call: their beginning and their counts."""
        unsaved = [
            (start, self._pieces[start].as_text())
            for start in sorted(self._unsaved)
            if start in self._pieces
        ]
        self._unsaved.clear()
        return unsaved

    def load(self, saved: Iterable[tuple[int, str]], now: float) -> None:
        """Begin with pieces that were saved; what cannot be read, or is of the future, is left out."""
        self._pieces = {}
        self._sums = {name: _Counts() for name in WINDOWS}
        self._unsaved.clear()
        self._now = int(now) // _STEP * _STEP
        for start, text in sorted(saved):
            if not self._now - WINDOWS["7d"] <= start <= self._now or start % _STEP:
                continue
            try:
                counts = _Counts.of_text(text)
            except (ValueError, KeyError, TypeError, AttributeError):
                continue
            self._pieces[start] = counts
            for name, width in WINDOWS.items():
                if self._now - width <= start < self._now:
                    self._sums[name].merge(counts)

    @staticmethod
    def oldest(now: float) -> int:
        """Return the beginning of the oldest piece that counts."""
        return int(now) // _STEP * _STEP - WINDOWS["7d"]
