"""One statement's steps in the engine: noted for the supervisor, alone where that is asked for."""

from __future__ import annotations

import asyncio
import threading
import time

from chronoduck.service.alone import ALONE_SECONDS, AloneGate
from chronoduck.service.penalties import Penalties, party_of
from chronoduck.service.records import Caller, RunningStatement
from chronoduck.supervision.running_record import RunningRecord, encode_work

__all__ = ["ON_LOOP", "EngineTurn", "work_of"]

ON_LOOP = "loop"
"""The kind of work on the event loop: there is one at a time, and if the loop hangs it is this one."""


def work_of(
    caller: Caller, kind: str, text: str, statement_id: str = "", query_hash: str = ""
) -> bytes:
    """Return what the supervisor is told of work that begins now; it makes the hash if there is none."""
    principal = caller.principal
    return encode_work(
        kind,
        statement_id,
        caller.request_id or "",
        principal.id,
        caller.name,
        principal.role,
        caller.sub_user or "",
        caller.address or "",
        query_hash,
        str(time.time()),
        text,
    )


class EngineTurn:
    """``enter`` and ``leave`` on the event loop, ``begin`` and ``end`` in the worker, for each step."""

    def __init__(
        self,
        running: RunningStatement,
        record: RunningRecord,
        gate: AloneGate,
        penalties: Penalties,
    ) -> None:
        self._running = running
        self._record = record
        self._gate = gate
        self._penalties = penalties
        self._slot = 0
        self._encoded = b""
        self._encoded_text: str | None = None
        self._is_inside = False
        self._was_suspect = False
        self._has_turn = False
        self._timer: asyncio.TimerHandle | None = None

    async def enter(self, timeout: float) -> None:
        """Pass the gate, alone if the statement is a suspect.

        Raises:
            StatementTimeoutError: others were alone for too long.
        """
        gate, running = self._gate, self._running
        if self._penalties.must_run_alone(running.caller, running.sql):
            self._was_suspect = True
            is_alone = await gate.enter_alone(party_of(running.caller), timeout)
            self._has_turn = True
            if is_alone:
                loop = asyncio.get_running_loop()
                self._timer = loop.call_later(ALONE_SECONDS, self._let_others_in)
            else:
                self._end_turn()  # it would prove nothing, and the others have waited
        elif gate.is_shut:
            await gate.enter(timeout)
        else:
            gate.inside += 1
        self._is_inside = running.is_in_engine = True

    def _let_others_in(self) -> None:
        if self._slot:  # it has begun
            self._record.flag_proved(self._slot)
            running = self._running
            self._penalties.note_survived(running.caller, running.sql, has_ended=False)
        self._end_turn()

    def _end_turn(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._has_turn:
            self._has_turn = False
            self._gate.end_turn()

    def begin(self) -> None:
        """Note that the worker begins."""
        running = self._running
        running.clock = time.pthread_getcpuclockid(threading.get_ident())
        if self._encoded_text is not running.sql:
            self._encoded_text = running.sql
            self._encoded = work_of(
                running.caller,
                running.kind,
                running.sql,
                running.id,
                running.query_hash,
            )
        self._slot = self._record.begin(self._encoded)

    def end(self) -> None:
        """Note that the worker has ended."""
        slot, self._slot = self._slot, 0
        self._record.end(slot)

    def flag_stuck(self) -> None:
        """Note that the worker works on after its interrupt: it is this statement's doing."""
        self._record.flag_stuck(self._slot)

    def leave(self) -> None:
        """Go out. Idempotent."""
        self._end_turn()
        if not self._is_inside:
            return
        self._is_inside = self._running.is_in_engine = False
        self._gate.leave()
        if self._was_suspect:
            self._was_suspect = False
            self._penalties.note_survived(self._running.caller, self._running.sql)
