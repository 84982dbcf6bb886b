"""The circuit breaker: after repeated infrastructure failures calls are refused for a while."""

from __future__ import annotations

import random as random_module
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from chronoduck.errors import CircuitBreakerOpenException
from chronoduck.resilience.backoff import Backoff
from chronoduck.resilience.window import SlidingWindow

__all__ = ["BreakerState", "CircuitBreaker", "CircuitBreakerConfig", "Permit"]


class BreakerState(StrEnum):
    """Closed: calls pass. Open: they are refused. Half-open: a few trial calls pass."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


Listener = Callable[[BreakerState, BreakerState, str], None]
"""Is told (old state, new state, reason); must not raise."""


@dataclass(frozen=True)
class CircuitBreakerConfig:
    """When the breaker opens and how it closes again; times in seconds."""

    failure_threshold: int = 5
    success_threshold: int = 3
    timeout_seconds: float = 30.0
    max_timeout_seconds: float = 300.0
    window_seconds: float = 60.0
    half_open_max_calls: int = 3
    jitter_ratio: float = 0.1


@dataclass(frozen=True, slots=True)
class Permit:
    """The right to one call; results of calls from before the last change of state do not count."""

    epoch: int
    is_trial: bool


class CircuitBreaker:
    """Counts failures of the engine, never those of its users. For the event loop's thread only.

    Closed, it opens at ``failure_threshold`` failures within ``window_seconds``. Open, it refuses
    until the back-off has passed, which doubles with each failed trial up to its cap. Half-open, it
    lets ``half_open_max_calls`` through at a time, closes after ``success_threshold`` successes and
    opens again at the first failure.
    """

    def __init__(
        self,
        name: str = "duckdb",
        config: CircuitBreakerConfig | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        random: Callable[[], float] = random_module.random,
    ) -> None:
        self.name = name
        self.config = config or CircuitBreakerConfig()
        self.state = BreakerState.CLOSED
        self._clock = clock
        self._backoff = Backoff(
            self.config.timeout_seconds,
            self.config.max_timeout_seconds,
            self.config.jitter_ratio,
            random,
        )
        self._window = SlidingWindow(self.config.window_seconds, self.config.failure_threshold)
        self._listeners: list[Listener] = []
        self._epoch = 0
        self._closed_permit = Permit(0, False)
        self._open_until = 0.0
        self._failed_trials = 0
        self._trials = 0
        self._trial_successes = 0
        self._last_reason = ""
        self._metrics = _Metrics()

    def before_call(self) -> Permit:
        """Return the permit for a call; its end must be reported with it, exactly once.

        Raises:
            CircuitBreakerOpenException: the call is refused; ``retry_after_seconds`` tells how long.
        """
        if self.state is BreakerState.CLOSED:
            return self._closed_permit
        if self.state is BreakerState.OPEN and self._clock() >= self._open_until:
            self._change(BreakerState.HALF_OPEN, "the wait is over; trial calls may pass")
        if self.state is BreakerState.HALF_OPEN and self._trials < self.config.half_open_max_calls:
            self._trials += 1
            return Permit(self._epoch, True)
        raise self._refusal()

    def record_success(self, permit: Permit, duration_seconds: float) -> None:
        """Report a call that the engine carried out."""
        self._metrics.succeeded(duration_seconds)
        if not self._ends_trial(permit):
            return
        self._trial_successes += 1
        if self._trial_successes >= self.config.success_threshold:
            self._failed_trials = 0
            self._window.clear()
            self._change(BreakerState.CLOSED, f"{self._trial_successes} trial calls succeeded")

    def record_failure(self, permit: Permit, reason: str) -> None:
        """Report a call that failed for the engine's, the disk's or the file's fault."""
        self._metrics.failed()
        self._last_reason = reason
        if self._ends_trial(permit):
            self._failed_trials += 1
            self._open(f"a trial call failed: {reason}")
            return
        if permit.epoch != self._epoch or self.state is not BreakerState.CLOSED:
            return
        now = self._clock()
        self._window.add(now)
        failures = self._window.count(now)
        if failures >= self.config.failure_threshold:
            self._open(f"{failures} failures, the last one: {reason}")

    def record_neutral(self, permit: Permit) -> None:
        """Report a call that says nothing about the engine: the caller's error, a cancellation."""
        self._ends_trial(permit)

    def _ends_trial(self, permit: Permit) -> bool:
        """Give the trial place back; return whether the permit is a trial of this half-open time."""
        if not permit.is_trial or permit.epoch != self._epoch:
            return False
        self._trials -= 1
        return True

    def force_open(self, reason: str = "opened by an operator") -> None:
        """Refuse calls now, as after repeated failures."""
        self._last_reason = reason
        self._open(reason)

    def force_closed(self, reason: str = "closed by an operator") -> None:
        """Let calls pass now, and forget the failures."""
        self._window.clear()
        self._failed_trials = 0
        self._change(BreakerState.CLOSED, reason)

    def reset(self) -> None:
        """Close the breaker and begin anew; the same as ``force_closed``."""
        self.force_closed()

    def add_listener(self, listener: Listener) -> None:
        """Have ``listener`` told of every change of state."""
        self._listeners.append(listener)

    def _open(self, reason: str) -> None:
        self._open_until = self._clock() + self._backoff.wait_seconds(self._failed_trials)
        self._metrics.open_count += 1
        self._change(BreakerState.OPEN, reason)

    def _change(self, state: BreakerState, reason: str) -> None:
        old, self.state = self.state, state
        self._epoch += 1
        self._closed_permit = Permit(self._epoch, False)
        self._trials = self._trial_successes = 0
        for listener in self._listeners:
            listener(old, state, reason)

    def _refusal(self) -> CircuitBreakerOpenException:
        seconds = self._seconds_until_retry()
        error = CircuitBreakerOpenException(
            f"calls are refused for {seconds:.1f} s more: {self._last_reason or 'the engine failed'}",
            hint="Mend the cause (GET health tells it), then run `chronoduck breaker reset` or "
            "POST circuit-breaker/reset; otherwise it closes by itself.",
        )
        error.retry_after_seconds = max(seconds, 1.0)
        return error

    def _seconds_until_retry(self) -> float:
        if self.state is not BreakerState.OPEN:
            return 0.0
        return max(0.0, self._open_until - self._clock())

    def get_status(self) -> dict[str, Any]:
        """Return state, counts, configuration and metrics under the names that clients read."""
        failures = self._window.count(self._clock())
        seconds = self._seconds_until_retry()
        next_attempt = None
        if self.state is BreakerState.OPEN:
            next_attempt = (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat(
                timespec="milliseconds"
            )
        return {
            "name": self.name,
            "state": self.state.value,
            "failure_count": failures,
            "success_count": self._trial_successes,
            "recent_failures": failures,
            "next_attempt_time": next_attempt,
            "seconds_until_retry": round(seconds, 3),
            "config": {
                "failure_threshold": self.config.failure_threshold,
                "success_threshold": self.config.success_threshold,
                "timeout_seconds": self.config.timeout_seconds,
            },
            "metrics": self._metrics.as_dict(),
        }


class _Metrics:
    """Counts of calls that said something about the engine."""

    def __init__(self) -> None:
        self.requests = 0
        self.failures = 0
        self.open_count = 0
        self._seconds = 0.0
        self._last_failure: float | None = None
        self._last_success: float | None = None

    def succeeded(self, seconds: float) -> None:
        self.requests += 1
        self._seconds += seconds
        self._last_success = time.time()

    def failed(self) -> None:
        self.requests += 1
        self.failures += 1
        self._last_failure = time.time()

    def as_dict(self) -> dict[str, Any]:
        successes = self.requests - self.failures
        return {
            "total_requests": self.requests,
            "successful_requests": successes,
            "failed_requests": self.failures,
            "success_rate": round(100 * successes / self.requests, 3) if self.requests else 100.0,
            "circuit_open_count": self.open_count,
            "avg_response_time": round(self._seconds / successes, 6) if successes else 0.0,
            "last_failure_time": _iso(self._last_failure),
            "last_success_time": _iso(self._last_success),
        }


def _iso(unix_time: float | None) -> str | None:
    if unix_time is None:
        return None
    return datetime.fromtimestamp(unix_time, UTC).isoformat(timespec="milliseconds")
