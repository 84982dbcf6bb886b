"""Statements that do not listen to their interrupt, and when to give the whole process up for them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from chronoduck.engine.cancellation import CancelReason, CancelToken
from chronoduck.errors import DuckDBException, StatementCancelledError, StatementTimeoutError
from chronoduck.logs import get_logger
from chronoduck.service.records import RunningStatement

__all__ = ["StuckStatements", "unheard"]

_LOOK_SECONDS = 0.1
_STARVING_SECONDS = 1.0
_CHARGED_SECONDS = 1.0
"""A worker that is stuck for longer is charged, once this process has used so much CPU time meanwhile: a
commit that waits for a slow disk uses none."""
_QUIET_FACTOR = 6
"""How much longer than its patience a read is waited for while others have statements here."""
_READS = frozenset({"select", "explain"})


class StuckStatements:
    """Knows which workers did not come back. Use from the event loop.

    Some of DuckDB's loops never look whether they are interrupted, and a thread cannot be ended: only
    a new process frees such a worker. ``give_up`` is called with the reason

    - at once when every worker is stuck,
    - when callers have waited for a place for a second while one is,
    - when one has been stuck for ``patience_seconds``. One that reads takes nothing but a core: while
      others run statements, which a new process would cost them, it has six times that.

    ``charge`` is called once for each statement that goes on for more than a second after that, so that
    nobody can send such statements again and again, each one a little shorter than the patience.
    """

    def __init__(
        self,
        workers: int,
        patience_seconds: float,
        waiting: Callable[[], int],
        give_up: Callable[[str], None],
        charge: Callable[[RunningStatement], None] = lambda running: None,
        is_quiet: Callable[[], bool] = lambda: True,
    ) -> None:
        """``waiting`` returns how many callers wait for a place.

        ``is_quiet``: whether only stuck statements run.
        """
        self._workers = workers
        self._patience_seconds = patience_seconds
        self._waiting = waiting
        self._give_up = give_up
        self._charge = charge
        self._is_quiet = is_quiet
        self._since: dict[str, tuple[RunningStatement, float]] = {}
        self._uncharged: dict[str, tuple[RunningStatement, float, float]] = {}
        """With the times, of the clock and of the processor, from which on they count."""
        self._is_watching = False
        self._log = get_logger("service")
        self.total = 0
        """Since the database was opened."""

    def __len__(self) -> int:
        return len(self._since)

    @property
    def has_checkpoint(self) -> bool:
        """Whether one of them is a CHECKPOINT: it may block every write."""
        return any(running.kind == "checkpoint" for running, _ in self._since.values())

    def add(self, running: RunningStatement, *, is_charged: bool = True) -> None:
        """Note a statement whose worker has not come back after its interrupt.

        ``is_charged``: it is its caller's doing if that lasts.
        """
        now = time.monotonic()
        self._since[running.id] = (running, now)
        if is_charged and running.kind != "checkpoint":
            self._uncharged[running.id] = (running, now, time.process_time())
        self.total += 1
        self._log.warning(
            "statement_stuck",
            statement_id=running.id,
            request_id=running.caller.request_id,
            query_hash=running.query_hash,
            kind=running.kind,
            user=running.caller.name,
            elapsed_seconds=round(time.perf_counter() - running.started, 3),
        )
        if len(self._since) >= self._workers:
            self._give_up(
                f"every worker is held by a statement that does not listen to its interrupt, "
                f"the last one by {_name(running)}"
            )
        if not self._is_watching:
            self._is_watching = True
            self._watch(time.monotonic())

    def remove(self, running: RunningStatement) -> None:
        """Note that the worker came back after all."""
        _, since = self._since.pop(running.id)
        self._charge_late()
        self._uncharged.pop(running.id, None)
        self._log.info(
            "statement_unstuck",
            statement_id=running.id,
            query_hash=running.query_hash,
            stuck_seconds=round(time.monotonic() - since, 3),
        )

    def _watch(self, nobody_waited: float) -> None:
        """Look again and again while a worker is stuck; somebody has waited since ``nobody_waited``."""
        if not self._since:
            self._is_watching = False
            return
        self._charge_late()
        now = time.monotonic()
        oldest, since = min(self._since.values(), key=lambda entry: entry[1])
        if not self._waiting():
            nobody_waited = now
        given_up = [
            each for each in self._since.values() if now - each[1] >= self._patience(each[0])
        ]
        if given_up:
            oldest, since = given_up[0]
            self._give_up(
                f"{_name(oldest)} has not listened to its interrupt for {now - since:.1f} s"
            )
        elif now - nobody_waited >= _STARVING_SECONDS:
            self._give_up(
                f"callers wait for workers, of which {len(self._since)} do not listen to their "
                f"interrupt, the first one since {now - since:.1f} s with {_name(oldest)}"
            )
        asyncio.get_running_loop().call_later(_LOOK_SECONDS, self._watch, nobody_waited)

    def _patience(self, running: RunningStatement) -> float:
        is_alone = running.kind not in _READS or self._is_quiet()
        return self._patience_seconds * (1 if is_alone else _QUIET_FACTOR)

    def _charge_late(self) -> None:
        now, used = time.monotonic(), time.process_time()
        for running, since, used_before in list(self._uncharged.values()):
            if min(now - since, used - used_before) >= _CHARGED_SECONDS:
                del self._uncharged[running.id]
                self._charge(running)


def _name(running: RunningStatement) -> str:
    """Name a statement in a report that everybody may read: not by its text, not by its user."""
    return f"statement {running.query_hash}"


def unheard(token: CancelToken, reason: CancelReason) -> DuckDBException:
    """Return what a caller is told whose statement was interrupted and still runs."""
    if token.has_own_error:
        return token.error()
    fate = "and has not listened to its interrupt yet; a write may still be applied"
    hint = "Look at GET queries before you send a write again."
    if reason is CancelReason.DEADLINE:
        passed = f"the statement passed its deadline of {token.timeout_seconds:g} s"
        return StatementTimeoutError(f"{passed} {fate}", hint=hint)
    return StatementCancelledError(f"the statement was cancelled {fate}", hint=hint)
