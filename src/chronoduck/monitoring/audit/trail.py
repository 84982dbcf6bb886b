"""The audit trail as the rest of the service sees it: takes events at once, writes them soon.

A statement never waits for the trail. While the disk is full or slow the events wait in memory, up to
``DUCKDB_AUDIT_QUEUE_SIZE``. From half of that on requests are refused (``check``), so that the rest is
enough for what runs already; what comes after that is dropped and counted, and an ``events_dropped``
event in the trail says how many and from when to when. Health is degraded meanwhile.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from chronoduck.errors import QueueFullError, QuotaExceededError, SettingsError
from chronoduck.errors.system import reason_of
from chronoduck.logs import get_logger
from chronoduck.monitoring.audit.budget import AUDIT_WINDOW_SECONDS, AuditBudget
from chronoduck.monitoring.audit.event import (
    MAX_TEXT_CHARACTERS,
    Act,
    AuditedStatement,
    Caller,
    Principal,
    act_fields,
    statement_fields,
    time_text,
)
from chronoduck.monitoring.audit.folding import FailureFolding
from chronoduck.monitoring.audit.writer import AuditWriter
from chronoduck.monitoring.health import Finding, Status
from chronoduck.settings import AuditSettings

__all__ = ["AuditTrail", "audit_finding"]

_GATHER_SECONDS = 0.05
"""Events of so long a time are written together."""
_RETRY_SECONDS = 0.25
_IDLE_SECONDS = 1.0
"""At least so often the thread looks: for what must be synced, told of floods, pruned."""
_CLOSE_SECONDS = 5.0
_EVENT_BYTES = 500
_STALLED_SECONDS = 5.0
_ACT_SECONDS = 2.0
"""So long the answer to an act waits for its line; an operator must be heard with a broken disk, too."""

_MISPLACED = (
    BlockingIOError,  # the trail of another service
    PermissionError,
    IsADirectoryError,
    NotADirectoryError,
    FileExistsError,
)


class AuditTrail:
    """Takes events from any thread; ``open`` and ``close`` block for the disk."""

    def __init__(
        self,
        path: Path,
        settings: AuditSettings,
        *,
        mask_statement: Callable[[str], str],
        mask_message: Callable[[str], str],
    ) -> None:
        self.is_enabled = settings.enabled
        self._path = path
        self._settings = settings
        self._mask_text = mask_statement if settings.text else None
        self._mask_fact = mask_message
        self._log = get_logger("audit")
        self._writer = AuditWriter(path, settings)
        self._lock = threading.Lock()
        self._queue: list[Act | AuditedStatement] = []
        self._queue_bytes = 0
        self._folding = FailureFolding()
        self._budget = AuditBudget(settings.hourly)
        self._gap = 0
        self._gap_since = self._gap_until = 0.0
        self._dropped = 0
        self._failure: OSError | None = None
        self._busy_since: float | None = None
        self._due = threading.Event()
        self._is_urgent = threading.Event()
        self._waiting_acts: list[Future[None]] = []
        self._thread: threading.Thread | None = None
        self._is_closing = False

    # --- taking -------------------------------------------------------------------------------

    def statement(self, statement: AuditedStatement) -> None:
        """Record a statement that has ended."""
        size = _EVENT_BYTES + (
            0 if self._mask_text is None else min(len(statement.sql), MAX_TEXT_CHARACTERS)
        )
        self._take(
            statement,
            statement.ended_at,
            _EVENT_BYTES + len(statement.sql),
            size,
            statement.caller.principal,
        )

    def record(
        self,
        event: str,
        principal: Principal | None,
        address: str | None = None,
        request_id: str | None = None,
        **facts: Any,
    ) -> None:
        """Record an act; ``facts`` are JSON values and become members of its line.

        ``verdict`` and ``code`` among them say how it ended; without them it was done.
        """
        now = time.time()
        act = Act(event, now, principal, address, request_id, facts)
        self._take(act, now, _EVENT_BYTES, _EVENT_BYTES, principal)

    def check(self, principal: Principal) -> None:
        """Refuse a request of a principal whose lines take all that they may; never the lines.

        The refusals are told in one line a minute: a flood of them fills nothing.

        Raises:
            QuotaExceededError: the principal has written as much within an hour as it may.
            QueueFullError: so much waits for the disk that lines of further requests might be lost.
        """
        if not self.is_enabled or principal.role == "admin":
            return
        if self._waiting_bytes() > self._settings.queue_size // 2:
            raise QueueFullError(
                "the audit trail waits for its disk, and what is asked for now might go unrecorded",
                hint="Retry in a while. Operators: GET health tells why the trail is not written.",
            )
        now = time.monotonic()
        with self._lock:
            seconds = self._budget.seconds_until_free(principal, now)
            count = self._budget.note_refusal(principal, now) if seconds else 0
        if not seconds:
            return
        if count:
            self.record("audit_budget_used", principal, verdict="refused", count=count)
        error = QuotaExceededError(
            f"what {principal.name} did within an hour fills its part of the audit trail",
            hint="Wait, or send fewer and larger requests. DUCKDB_AUDIT_HOURLY is the limit.",
        )
        error.retry_after_seconds = seconds
        error.is_recorded = True
        raise error

    def used_by(self, principal_id: str, role: str) -> dict[str, Any]:
        """Return what a principal's lines took within an hour, as ``GET me`` shows it; times in seconds.

        Admins have no limit, and nothing is counted for them.
        """
        with self._lock:
            used, resets = self._budget.used_by(principal_id, time.monotonic())
        limit = None if role == "admin" or not self.is_enabled else self._settings.hourly
        return {
            "used": used,
            "limit": limit,
            "remaining": None if limit is None else max(0.0, limit - used),
            "window_seconds": AUDIT_WINDOW_SECONDS,
            "resets_in_seconds": round(resets, 3),
        }

    def act(self, event: str, caller: Caller, **facts: Any) -> None:
        """Record an act of the caller; its line is written within 0.2 s."""
        self.record(event, caller.principal, caller.address, caller.request_id, **facts)

    async def act_now(self, event: str, caller: Caller, **facts: Any) -> None:
        """Record an act of the caller, and return when its line is in the file.

        So the end of the process after the answer loses no act that was answered. It returns after
        2 s at most: while the disk takes nothing the event waits in memory as all others do.
        """
        self.act(event, caller, **facts)
        if self._thread is None or self._failure is not None:
            return
        written: Future[None] = Future()
        with self._lock:
            self._waiting_acts.append(written)
        self._is_urgent.set()
        self._due.set()
        await asyncio.wait([asyncio.wrap_future(written)], timeout=_ACT_SECONDS)

    def authentication_failed(
        self, reason: str, address: str | None, request_id: str | None, key_id: str | None = None
    ) -> None:
        """Record that a credential was refused; never hand the credential over.

        A flood from one address is counted: its first events of a minute come singly, the others as
        one event with their ``count``. It could push everything else out of the trail otherwise.
        """
        now = time.time()
        if self._folding.admits(address, now):
            facts = {"verdict": "refused", "reason": reason, "key": key_id}
            act = Act("authentication_failed", now, None, address, request_id, facts)
            self._take(act, now, _EVENT_BYTES)

    def _take(
        self,
        event: Act | AuditedStatement,
        at: float,
        size: int,
        line_bytes: int = 0,
        principal: Principal | None = None,
    ) -> None:
        """``size``: of the event in memory; ``line_bytes``: about what its line takes on the disk."""
        if not self.is_enabled:
            return
        with self._lock:
            self._budget.spend(principal, line_bytes, time.monotonic())
            if self._waiting_bytes() + size > self._settings.queue_size:
                self._gap_since = self._gap_since if self._gap else at
                self._gap_until = at
                self._gap += 1
                self._dropped += 1
                return
            self._queue.append(event)
            self._queue_bytes += size
        if not self._due.is_set():
            self._due.set()

    def _waiting_bytes(self) -> int:
        return self._queue_bytes + self._writer.waiting_bytes

    # --- life ---------------------------------------------------------------------------------

    def open(self) -> None:
        """Find the end of the trail and begin to write; a full disk is waited for, by the thread.

        Raises:
            SettingsError: the file cannot be what the setting names.
        """
        if not self.is_enabled or self._thread is not None:
            return
        try:
            self._writer.open()
        except _MISPLACED as error:
            raise SettingsError(
                f"the audit trail cannot be written: {reason_of(error)}",
                operator_detail=f"the audit trail {self._path} cannot be written: {reason_of(error)}",
                hint="DUCKDB_AUDIT_FILE names a file that this process alone may write.",
            ) from error
        except OSError as error:
            self._note_failure(error)
        self._is_closing = False
        self._thread = threading.Thread(target=self._write, name="audit-writer", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Write what waits, bring it to the disk and end; gives up on a disk that does not answer."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        self._is_closing = True
        self._due.set()
        thread.join(_CLOSE_SECONDS)
        if thread.is_alive() or self._failure is not None:
            self._log.error("audit_events_lost", waiting_bytes=self._waiting_bytes())
        else:
            self._log.info(
                "audit_closed", seq=self._writer.kept_head[0], head=self._writer.kept_head[1]
            )

    # --- writing, in the thread ---------------------------------------------------------------

    def _write(self) -> None:
        while not self._is_closing:
            self._due.wait(_IDLE_SECONDS)
            if not self._is_closing:
                self._is_urgent.wait(_GATHER_SECONDS if self._failure is None else _RETRY_SECONDS)
            self._write_once()
        self._write_once()
        self._writer.close()

    def _write_once(self) -> None:
        self._due.clear()
        self._is_urgent.clear()
        with self._lock:
            acts, self._waiting_acts = self._waiting_acts, []
        self._busy_since = time.monotonic()
        try:
            self._writer.open()
            self._format()
            self._writer.flush()
            self._record_gap()
            self._writer.prune()
            if self._failure is not None:
                self._log.warning("audit_goes_on", dropped=self._dropped)
                self._failure = None
        except OSError as error:
            self._note_failure(error)
            self._due.set()
        finally:
            self._busy_since = None
            for each in acts:
                if each.set_running_or_notify_cancel():
                    each.set_result(None)

    def _format(self) -> None:
        """Turn the events that wait into lines."""
        with self._lock:
            events, self._queue, self._queue_bytes = self._queue, [], 0
        now = time.time()
        for address, facts in self._folding.due(now, everything=self._is_closing):
            events.append(Act("authentication_failed", now, None, address, None, facts))
        for event in events:
            if isinstance(event, Act):
                self._writer.add(act_fields(event, self._mask_fact))
            else:
                self._writer.add(statement_fields(event, self._mask_text))

    def _record_gap(self) -> None:
        """Write where events are missing, once lines are written again."""
        with self._lock:
            count, self._gap = self._gap, 0
        if count:
            since, until = time_text(self._gap_since), time_text(self._gap_until)
            facts = {"verdict": "failed", "count": count, "since": since, "until": until}
            self._writer.add(act_fields(Act("events_dropped", time.time(), facts=facts), str))
            self._writer.flush()

    def _note_failure(self, error: OSError) -> None:
        if self._failure is None:
            self._log.error("audit_not_written", error=str(error))
        self._failure = error

    # --- reports ------------------------------------------------------------------------------

    def get_status(self) -> dict[str, Any]:
        """Return counters, the head of the chain, and whether the disk takes the events."""
        busy_since, thread = self._busy_since, self._thread
        with self._lock:
            waiting = self._budget.count_waiting(time.monotonic())
        is_stalled = busy_since is not None and time.monotonic() - busy_since > _STALLED_SECONDS
        return {
            "enabled": self.is_enabled,
            "written": self._writer.written,
            "dropped": self._dropped,
            "waiting_bytes": self._waiting_bytes(),
            "principals_waiting": waiting,
            "budget_refused": self._budget.total_refused,
            "is_failing": self._failure is not None
            or is_stalled
            or (thread is not None and not thread.is_alive()),
            "error": "" if self._failure is None else reason_of(self._failure),
            "head": dict(zip(("seq", "hash"), self._writer.kept_head, strict=True)),
        }


def audit_finding(status: dict[str, Any]) -> Finding:
    """Return whether events reach the disk."""
    if not status.get("is_failing"):
        return Finding("audit", Status.HEALTHY)
    missing = f"; {status['dropped']} are missing" if status["dropped"] else ""
    why = status["error"] or "the disk does not answer"
    return Finding(
        "audit",
        Status.DEGRADED,
        f"Audit events cannot be written ({why}){missing}",
        "Free space on the volume of the audit trail; events that wait are then written.",
    )
