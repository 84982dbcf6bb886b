"""What one principal uses, held against its limits: requests, statements, seconds of engine time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple, Protocol

from chronoduck.engine.cancellation import CancelReason
from chronoduck.errors import DuckDBException, QuotaExceededError
from chronoduck.principals import Limits, Principal
from chronoduck.resilience.spending import SpendingWindow

__all__ = ["Account", "Allowance", "Interruptible"]

_MINUTE = 60.0
_HOUR = 3600.0
_ENGINE_STEP_SECONDS = 10.0
_CONCURRENCY_RETRY_SECONDS = 1.0
_HINT = "GET me shows what is used and when there is more; an admin can raise the limit."


class Interruptible(Protocol):
    """A statement that works in the engine and can be ended from outside."""

    def interrupt(self, reason: CancelReason, error: DuckDBException | None = None, /) -> None: ...


class Allowance(NamedTuple):
    """One limit and what is used of it."""

    name: str
    used: float
    limit: float | None
    window_seconds: float | None
    """Length of the moving window; ``None``: counted now, not over time."""
    resets_in_seconds: float
    """When some of what is used no longer counts; 0 when nothing is used, or nobody knows."""

    @property
    def remaining(self) -> float | None:
        """What may still be used now."""
        return None if self.limit is None else max(0.0, self.limit - self.used)


class Account:
    """Counts for one principal. For one event loop; ``state`` and ``restore`` carry it over a restart.

    Engine time is the time that the principal's statements hold workers, whatever comes of them. It
    is charged as each step ends, in entries of ten seconds; what runs at the moment counts too, and is
    interrupted when nothing is left.
    """

    def __init__(self, principal: Principal, limits: Limits, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._busy: dict[Interruptible, float] = {}
        """Statements in the engine now, and since when."""
        self._timer: asyncio.TimerHandle | None = None
        """Comes when nothing may be left; not later, but perhaps earlier, than that."""
        self._engine = SpendingWindow(_HOUR, _ENGINE_STEP_SECONDS)
        self._coarse_requests = SpendingWindow(_MINUTE, 1.0)
        """What ``state`` returns of them: few entries however many requests there are."""
        self.open_statements = 0
        self.total_requests = 0
        self.total_statements = 0
        self.total_refused = 0
        self.total_engine_seconds = 0.0
        self.adopt(principal, limits)

    def adopt(self, principal: Principal, limits: Limits) -> None:
        """Take what is known of the principal now; what it used stays used."""
        was_exact = getattr(self, "limits", Limits()).requests_per_minute is not None
        is_exact = limits.requests_per_minute is not None
        self.principal = principal
        self.limits = limits
        if was_exact != is_exact or not hasattr(self, "_requests"):
            # Unlimited requests are only shown: counting them by the second bounds the memory.
            self._requests = SpendingWindow(_MINUTE, 0.0 if is_exact else 1.0)

    @property
    def is_limited(self) -> bool:
        """Whether anything over time or at a time is limited."""
        limits = self.limits
        return (
            limits.requests_per_minute is not None
            or limits.engine_seconds_per_hour is not None
            or limits.concurrent_statements is not None
        )

    def is_idle(self, now: float) -> bool:
        """Whether nothing of it runs and nothing counts any more."""
        return not (self.open_statements or self._busy or self._requests.spent(now)) and not (
            self.limits.engine_seconds_per_hour and self._engine.spent(now)
        )

    def count_request(self) -> None:
        """Count a request, or refuse it; a refused one does not count.

        Raises:
            QuotaExceededError: as many as may were counted within the last minute.
        """
        now = self._clock()
        limit = self.limits.requests_per_minute
        if limit is not None and self._requests.spent(now) >= limit:
            raise self._refusal(
                f"{self.principal.name} sent {limit} requests within a minute, which is all that it "
                "may",
                self._requests.seconds_until_below(now, limit),
            )
        self._requests.spend(now)
        self._coarse_requests.spend(now)
        self.total_requests += 1

    def open_statement(self) -> None:
        """Count a statement that begins, or refuse it; ``close_statement`` ends it.

        Raises:
            QuotaExceededError: no engine time is left, or too many are open.
        """
        self.check_engine_time()
        limit = self.limits.concurrent_statements
        if limit is not None and self.open_statements >= limit:
            raise self._refusal(
                f"{self.open_statements} statements of {self.principal.name} run, wait or are being "
                "read, which is all that it may have at once",
                _CONCURRENCY_RETRY_SECONDS,
            )
        self.open_statements += 1
        self.total_statements += 1

    def close_statement(self) -> None:
        """Count the end of a statement."""
        self.open_statements -= 1

    def check_engine_time(self) -> None:
        """Refuse when none is left.

        Raises:
            QuotaExceededError: it is used up.
        """
        limit = self.limits.engine_seconds_per_hour
        if limit is not None and self._engine_seconds(self._clock()) >= limit:
            raise self._engine_refusal(limit)

    def begin_step(self, statement: Interruptible) -> None:
        """Note that a statement is in the engine from now on."""
        self._busy[statement] = self._clock()
        if self.limits.engine_seconds_per_hour is not None:
            self._watch(self.limits.engine_seconds_per_hour)

    def end_step(self, statement: Interruptible, seconds: float) -> None:
        """Charge the seconds that a statement was in the engine."""
        self._busy.pop(statement, None)
        self._engine.spend(self._clock(), seconds)
        self.total_engine_seconds += seconds

    def charge(self, seconds: float) -> None:
        """Charge a share of work that was done for several principals at once."""
        self._engine.spend(self._clock(), seconds)
        self.total_engine_seconds += seconds

    def _engine_seconds(self, now: float) -> float:
        return self._engine.spent(now) + self._seconds_now(now)

    def _seconds_now(self, now: float) -> float:
        """Return what the statements in the engine used so far."""
        return sum(now - began for began in self._busy.values())

    def _watch(self, limit: float) -> None:
        """Come back when nothing is left, if all goes on as now."""
        # A timer for each short statement would cost more than all the rest: one that would come
        # earlier than needed is left as it is.
        loop = asyncio.get_running_loop()
        left = limit - self._engine_seconds(self._clock())
        due = loop.time() + max(0.0, left) / len(self._busy)
        if self._timer is None or self._timer.when() > due:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = loop.call_at(due, self._cut)

    def _cut(self) -> None:
        """Interrupt what runs if nothing is left."""
        self._timer = None
        limit = self.limits.engine_seconds_per_hour
        if limit is None or not self._busy:
            return
        if self._engine_seconds(self._clock()) < limit:
            self._watch(limit)
            return
        error = self._engine_refusal(limit)
        for statement in list(self._busy):
            statement.interrupt(CancelReason.QUOTA, error)

    def _engine_refusal(self, limit: float) -> QuotaExceededError:
        now = self._clock()
        return self._refusal(
            f"the statements of {self.principal.name} used {limit:g} s of engine time within an "
            "hour, which is all that they may",
            self._engine.seconds_until_below(now, limit - self._seconds_now(now)),
        )

    def _refusal(self, detail: str, retry_after_seconds: float) -> QuotaExceededError:
        self.total_refused += 1
        error = QuotaExceededError(detail, hint=_HINT)
        error.retry_after_seconds = retry_after_seconds
        return error

    @property
    def is_busy(self) -> bool:
        """Whether something of it is in the engine, so that what it used grows by itself."""
        return bool(self._busy)

    def state(self) -> list[list[list[float]]]:
        """Return what is used as JSON values: requests and engine time as [seconds ago, amount].

        What runs counts as if it had ended now.
        """
        now = self._clock()
        engine = self._engine.entries(now)
        running = self._seconds_now(now)
        if running:
            engine.append([0.0, running])
        return [self._coarse_requests.entries(now), engine]

    def restore(self, state: list[list[list[float]]], passed: float) -> None:
        """Take in what an earlier process counted, ``passed`` seconds ago, before anything is counted.

        Raises:
            ValueError, TypeError: it is not of that form.
        """
        then = self._clock() - passed
        requests, engine = state
        self._requests.restore(then, requests)
        self._coarse_requests.restore(then, requests)
        self._engine.restore(then, engine)

    def allowances(self) -> tuple[Allowance, Allowance, Allowance]:
        """Return requests, engine seconds and open statements, limited or not."""
        now = self._clock()
        return (
            Allowance(
                "requests",
                self._requests.spent(now),
                self.limits.requests_per_minute,
                _MINUTE,
                self._requests.seconds_until_next(now),
            ),
            Allowance(
                "engine_seconds",
                self._engine_seconds(now),
                self.limits.engine_seconds_per_hour,
                _HOUR,
                self._engine.seconds_until_next(now),
            ),
            Allowance(
                "concurrent_statements",
                self.open_statements,
                self.limits.concurrent_statements,
                None,
                0.0,
            ),
        )
