"""Statements that do not listen to their interrupt, and when to give the whole process up for them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from chronoduck.engine.cancellation import CancelReason, CancelToken
from chronoduck.errors import DuckDBException, StatementCancelledError, StatementTimeoutError
from chronoduck.logs import get_logger
from chronoduck.service.records import RunningStatement

__all__ = ["StuckStatements", "unheard"]

_LOOK_SECONDS = 0.1
_STARVING_SECONDS = 1.0
_DEAF_SECONDS = 1.0
"""Of the processor: a statement that has used so much since its interrupt does not listen. One that waits
for a lock or for a slow disk uses none."""
_QUIET_FACTOR = 6
"""How much longer than its patience a read is waited for while others have statements here, and a
write that waits for another one's commit."""
_READS = frozenset({"select", "explain"})


@dataclass
class _Stuck:
    """A worker that did not come back, and what was so when that was noted."""

    running: RunningStatement
    flag: Callable[[], None]
    is_charged: bool
    since: float
    own_seconds: float
    process_seconds: float
    """Of the whole process, when it was last not the only one."""
    is_deaf: bool = False
    """Whether it is proved to work on, so that it is its own doing."""

    @property
    def is_read(self) -> bool:
        return self.running.kind in _READS

    def look(self, *, is_only: bool) -> bool:
        """Return whether it is proved by now.

        ``is_only``: whether nothing else runs whose doing the processor's time may be. DuckDB's own
        threads may be those that work.
        """
        used = self.running.processor_seconds() - self.own_seconds
        if is_only:
            used = max(used, time.process_time() - self.process_seconds)
        else:  # what was used until now may have been another's doing
            self.process_seconds = time.process_time()
        self.is_deaf = self.is_deaf or min(used, time.monotonic() - self.since) >= _DEAF_SECONDS
        return self.is_deaf


class StuckStatements:
    """Knows which workers did not come back. Use from the event loop.

    Some of DuckDB's loops never look whether they are interrupted, and a thread cannot be ended: only
    a new process frees such a worker. ``give_up`` is called with the reason

    - at once when every worker is stuck,
    - when callers have waited for a place for a second while one is,
    - when one has been stuck for ``patience_seconds``. One that reads takes nothing but a core: while
      others run statements, which a new process would cost them, it has six times that.

    A write may only wait for the commit of another one, under DuckDB's one lock: then it is not its
    doing, and the other one is ended by ``end_holder``, after six times the patience, or a second if
    callers wait for a place.

    ``charge`` is called once for each statement that is proved to go on, so that nobody can send such
    statements again and again, each one a little shorter than the patience.
    """

    def __init__(
        self,
        workers: int,
        patience_seconds: float,
        waiting: Callable[[], int],
        give_up: Callable[[str], None],
        charge: Callable[[RunningStatement], None] = lambda running: None,
        is_quiet: Callable[[], bool] = lambda: True,
        end_holder: Callable[[], bool] = lambda: False,
    ) -> None:
        """``waiting`` returns how many callers wait for a place.

        ``is_quiet``: whether only stuck statements run. ``end_holder`` ends the write that works while
        others wait for it, and says whether there is one.
        """
        self._workers = workers
        self._patience_seconds = patience_seconds
        self._waiting = waiting
        self._give_up = give_up
        self._charge = charge
        self._is_quiet = is_quiet
        self._end_holder = end_holder
        self._stuck: dict[str, _Stuck] = {}
        self._is_watching = False
        self._log = get_logger("service")
        self.total = 0
        """Since the database was opened."""

    def __len__(self) -> int:
        return len(self._stuck)

    @property
    def has_checkpoint(self) -> bool:
        """Whether one of them is a CHECKPOINT: it may block every write."""
        return any(each.running.kind == "checkpoint" for each in self._stuck.values())

    def add(
        self,
        running: RunningStatement,
        flag: Callable[[], None] = lambda: None,
        *,
        is_charged: bool = True,
    ) -> None:
        """Note a statement whose worker has not come back after its interrupt.

        ``flag`` is called when that is proved to be its doing. ``is_charged``: its caller's, too.
        """
        self._stuck[running.id] = _Stuck(
            running,
            flag,
            is_charged and running.kind != "checkpoint",
            time.monotonic(),
            running.processor_seconds(),
            time.process_time(),
        )
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
        if len(self._stuck) >= self._workers:
            self._give_up(
                f"every worker is held by a statement that does not listen to its interrupt, "
                f"the last one by {_name(running)}"
            )
        if not self._is_watching:
            self._is_watching = True
            self._watch(time.monotonic())

    def remove(self, running: RunningStatement) -> None:
        """Note that the worker came back after all."""
        self._prove()
        stuck = self._stuck.pop(running.id)
        self._log.info(
            "statement_unstuck",
            statement_id=running.id,
            query_hash=running.query_hash,
            stuck_seconds=round(time.monotonic() - stuck.since, 3),
        )

    def _watch(self, nobody_waited: float) -> None:
        """Look again and again while a worker is stuck; somebody has waited since ``nobody_waited``."""
        if not self._stuck:
            self._is_watching = False
            return
        self._prove()
        now = time.monotonic()
        if not self._waiting():
            nobody_waited = now
        is_starving = now - nobody_waited >= _STARVING_SECONDS
        held = [each for each in self._stuck.values() if not each.is_read and not each.is_deaf]
        oldest = min(self._stuck.values(), key=lambda each: each.since)
        if held and len(held) == len(self._stuck) and self._waits_for_another(held, is_starving):
            pass
        elif late := [e for e in self._stuck.values() if now - e.since >= self._patience(e)]:
            if late[0].is_read:
                late[0].flag()  # no lock keeps a read waiting
            self._give_up(
                f"{_name(late[0].running)} has not listened to its interrupt for "
                f"{now - late[0].since:.1f} s"
            )
        elif is_starving:
            self._give_up(
                f"callers wait for workers, of which {len(self._stuck)} do not listen to their "
                f"interrupt, the first one since {now - oldest.since:.1f} s with {_name(oldest.running)}"
            )
        asyncio.get_running_loop().call_later(_LOOK_SECONDS, self._watch, nobody_waited)

    def _waits_for_another(self, held: list[_Stuck], is_starving: bool) -> bool:
        """Whether stuck writes only wait for one that works; it is ended when they have waited enough."""
        waited = time.monotonic() - min(each.since for each in held)
        if is_starving or waited >= self._patience_seconds * _QUIET_FACTOR:
            return self._end_holder()
        return not self._is_quiet()

    def _patience(self, stuck: _Stuck) -> float:
        is_alone = not stuck.is_read or self._is_quiet()
        return self._patience_seconds * (1 if is_alone else _QUIET_FACTOR)

    def _prove(self) -> None:
        is_quiet = self._is_quiet()
        writes = sum(not each.is_read for each in self._stuck.values())
        for each in self._stuck.values():
            if not each.is_deaf and each.look(is_only=is_quiet and (each.is_read or writes == 1)):
                self._flag(each)

    def _flag(self, stuck: _Stuck) -> None:
        stuck.is_deaf = True
        stuck.flag()
        if stuck.is_charged:
            stuck.is_charged = False
            self._charge(stuck.running)


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
