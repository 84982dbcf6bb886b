"""What is sent again, and when: only what was certainly not done, or may be done twice."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from chronoduck.client.problems import ConnectionBrokenError, NobodyThereError
from chronoduck.errors import BatchError, DuckDBException, WriteOutcomeUnknownError
from chronoduck.resilience.backoff import Backoff

__all__ = ["Attempts", "Repeat", "Retries", "repeat_of"]

_NOTHING_RAN = frozenset(
    {
        "engine_restarted",
        "queue_full",
        "pool_timeout",
        "circuit_breaker_open",
        "service_unavailable",
        "quota_exceeded",
        "too_many_attempts",
        "too_many_connections",
        "body_memory",
    }
)
"""Codes of requests that were refused before anything was done."""
_BOXED = "penalty_box"
"""What was sent before broke something: a person should look before it is sent again."""
_KEY_IN_USE = "idempotency_key_in_use"
"""The first request with this key is still being worked on."""
_COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)
_READS = re.compile(r"[\s(]*(select|from|values|with|describe|show|summarize|table)\b", re.I)
_MAY_WRITE = re.compile(r"\b(insert|update|delete|merge|into|nextval|setval)\b", re.I)


class Repeat(Enum):
    """How often a request may be done."""

    READ = "read"
    """As often as wanted: it changes nothing."""
    WRITE = "write"
    """Once: it is only sent again when nothing was done."""
    KEYED = "keyed"
    """It is sent with a key by which the service knows it again."""
    NEVER = "never"
    """Its body is gone once it was sent."""


def repeat_of(sql: str) -> Repeat:
    """Return how often a statement may be run, a write when in doubt."""
    is_read = _READS.match(_COMMENT.sub(" ", sql)) and not _MAY_WRITE.search(sql)
    return Repeat.READ if is_read else Repeat.WRITE


@dataclass(frozen=True)
class Retries:
    """How often and how long a request is tried."""

    attempts: int = 8
    total_seconds: float = 60.0
    """No attempt begins later than this after the first one."""
    first_seconds: float = 0.1
    cap_seconds: float = 5.0

    def begin(self, repeat: Repeat) -> Attempts:
        """Return the attempts of one request."""
        return Attempts(self, repeat)


class Attempts:
    """Decides after each failure of one request."""

    def __init__(
        self,
        retries: Retries,
        repeat: Repeat,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._repeat = repeat
        self._left = retries.attempts - 1
        self._clock = clock
        self._end = clock() + retries.total_seconds
        self._jitter = jitter
        self._backoff = Backoff(retries.first_seconds, retries.cap_seconds, 0.5, jitter)
        self._failed = 0

    def wait_after(self, failure: DuckDBException, *, was_reached: bool = True) -> float:
        """Return the seconds to wait before the next attempt.

        ``was_reached``: whether a service has ever answered at this address.

        Raises:
            DuckDBException: there is none; ``failure`` itself, or that a write's outcome is unknown.
        """
        if not was_reached and isinstance(failure, NobodyThereError):
            raise failure
        if not self._may_repeat(failure):
            if self._repeat is Repeat.WRITE and isinstance(failure, ConnectionBrokenError):
                raise WriteOutcomeUnknownError(failure.detail) from failure
            raise failure
        wait = self._backoff.wait_seconds(self._failed)
        told = failure.retry_after_seconds
        if told is not None and (told > 0 or self._failed == 0):
            # A little later than told, and never all clients at once.
            wait = told * (1 + 0.1 * self._jitter())
        if self._left <= 0 or self._clock() + wait > self._end:
            raise failure
        self._left -= 1
        self._failed += 1
        return wait

    def _may_repeat(self, failure: DuckDBException) -> bool:
        if self._repeat is Repeat.NEVER or failure.code == _BOXED:
            return False
        if (
            self._repeat is Repeat.WRITE
            and isinstance(failure, BatchError)
            and failure.has_kept_some
        ):
            return False
        if failure.code in _NOTHING_RAN:
            return True
        if self._repeat is Repeat.WRITE:
            return False
        if self._repeat is Repeat.KEYED and failure.code == _KEY_IN_USE:
            return True
        is_passing = failure.retryable and failure.http_status in (429, 502, 503)
        return is_passing or isinstance(failure, ConnectionBrokenError)
