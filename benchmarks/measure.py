"""Running a call from several threads for some time, and what came of it."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Figures:
    """Calls per second and latency in milliseconds."""

    per_second: float
    p50_ms: float
    p99_ms: float
    errors: int

    def as_dict(self) -> dict[str, float]:
        return asdict(self)


def figures(durations: list[float], elapsed: float, errors: int) -> Figures:
    """Return the figures of the calls that were finished within the elapsed seconds."""
    cuts = statistics.quantiles(durations, n=100) if len(durations) > 1 else [0.0] * 99
    return Figures(
        round(len(durations) / elapsed, 1),
        round(cuts[49] * 1000, 3),
        round(cuts[98] * 1000, 3),
        errors,
    )


def run_threads(
    make_call: Callable[[], Callable[[], None]], clients: int, seconds: float
) -> Figures:
    """Call from ``clients`` threads, each with a call of its own, for ``seconds``."""
    durations: list[list[float]] = [[] for _ in range(clients)]
    calls = [make_call() for _ in range(clients)]
    for call in calls:
        call()
    start = threading.Barrier(clients + 1)
    end = time.perf_counter() + 3600

    def work(index: int) -> None:
        call, mine = calls[index], durations[index]
        start.wait()
        while (began := time.perf_counter()) < end:
            call()
            mine.append(time.perf_counter() - began)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(clients)]
    for thread in threads:
        thread.start()
    began = time.perf_counter()
    end = began + seconds
    start.wait()
    for thread in threads:
        thread.join()
    elapsed = time.perf_counter() - began
    return figures([d for mine in durations for d in mine], elapsed, 0)


def median_of(call: Callable[[], object], times: int) -> float:
    """Return the median seconds of several calls after one warm-up."""
    call()
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        call()
        taken.append(time.perf_counter() - began)
    return round(statistics.median(taken), 4)
