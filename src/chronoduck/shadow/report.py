"""What the shadow reports to the service: its status, the levels it reached, and answers to requests."""

from __future__ import annotations

import time
from collections.abc import Callable

from chronoduck.engine.file_damage import Damage
from chronoduck.shadow.attempt import Attempt, Outcome
from chronoduck.shadow.commands import Commands
from chronoduck.shadow.messages import Mark, Request, ShadowState, ShadowStatus

__all__ = ["Emit", "Report"]

Emit = Callable[..., None]

_STATUS_SECONDS = 5.0
_VERDICTS = {Outcome.PASSED: "proven", Outcome.FAILED: "refuted"}


class Report:
    """Holds the status, and sends it; one thread uses it."""

    def __init__(self, commands: Commands, emit: Emit, cpu_share: Callable[[], float]) -> None:
        self._commands = commands
        self._emit = emit
        self._cpu_share = cpu_share
        self._emitted_at = 0.0
        self.status = ShadowStatus()

    def conclude(self, attempt: Attempt, mark: Mark, *, is_proof: bool) -> None:
        """Report the result of an attempt up to ``mark``, and answer the requests that it settles."""
        status = self.status
        if attempt.outcome is Outcome.PASSED:
            self._conclude_passed(mark, is_proof=is_proof)
        else:
            self._conclude_failed(attempt, mark)
        self.emit_status()  # before the answers: their receivers may read the status
        verdict = _VERDICTS.get(attempt.outcome, "not_judged")
        if is_proof or verdict != "proven":
            for request in self._take_requests(mark):
                self._answer(request, verdict, mark, status.reason, attempt.seconds)

    def _conclude_passed(self, mark: Mark, *, is_proof: bool) -> None:
        status = self.status
        status.replayed = mark
        self._emit("level", level="replayed", iteration=mark.iteration, offset=mark.offset)
        if is_proof:
            status.proven, status.refuted = mark, None
            status.file_damage, status.damaged_blocks = "", 0
            self._emit("level", level="proven", iteration=mark.iteration, offset=mark.offset)
        if status.refuted is None:
            self._note(ShadowState.FOLLOWING, "proven", "")

    def _conclude_failed(self, attempt: Attempt, mark: Mark) -> None:
        status = self.status
        status.failures += 1
        tries = "tried twice" if attempt.outcome.is_judgment else "tried"
        reason = f"the replay was {tries}, and failed while {attempt.phase}: {attempt.reason}"
        if attempt.outcome is Outcome.FAILED:
            status.refuted = mark
            self._note(ShadowState.FOLLOWING, "refuted", reason)
        elif status.refuted is None:
            self._note(ShadowState.FOLLOWING, "not_judged", reason)

    def note_damage(self, damage: Damage) -> None:
        """Report that the database file is damaged; nothing is judged until a proof goes well.

        That refutes no WAL. A checkpoint would not help: it meets the same damage, and ends the instance.
        """
        status = self.status
        status.failures += 1
        status.refuted = None
        status.file_damage = str(damage)
        status.damaged_blocks = len(damage.blocks | damage.missing)
        self.give_up(ShadowState.FOLLOWING, f"the file itself is damaged: {damage}")

    def answer_settled(self, iteration: int, *, is_refutation_recent: bool) -> None:
        """Answer the requests whose verdict is known already; ``iteration``: the live checkpoint."""
        proven, refuted = self.status.proven, self.status.refuted
        for request in list(self._commands.requests):
            wanted = Mark(request.iteration, request.offset, 0, 0)
            if request.iteration < iteration or (
                proven and request.position <= (proven.iteration, proven.offset)
            ):
                self._commands.requests.remove(request)
                self._answer(request, "proven", wanted)
            elif (
                refuted
                and refuted.iteration == request.iteration <= iteration
                and refuted.offset <= request.offset
                and is_refutation_recent
            ):
                self._commands.requests.remove(request)
                self._answer(request, "refuted", wanted, self.status.reason)

    def give_up(self, state: ShadowState, reason: str) -> None:
        """Report that nothing can be judged now."""
        self._note(state, "not_judged", reason)
        for request in self._take_requests():
            wanted = Mark(request.iteration, request.offset, 0, 0)
            self._answer(request, "not_judged", wanted, reason)
        self.emit_status()

    def follow_time(self) -> None:
        """Report from time to time that nothing new was written."""
        self.status.state = ShadowState.FOLLOWING
        if time.monotonic() - self._emitted_at > _STATUS_SECONDS:
            self.emit_status()

    def emit_status(self) -> None:
        """Send the status."""
        self._emitted_at = time.monotonic()
        self.status.cpu_share = self._cpu_share()
        self._emit("status", status=self.status.as_dict())

    def _take_requests(self, mark: Mark | None = None) -> list[Request]:
        """Remove and return the requests that a mark settles; without a mark, all of them."""
        taken = [
            request
            for request in self._commands.requests
            if mark is None or request.position <= (mark.iteration, mark.offset)
        ]
        for request in taken:
            self._commands.requests.remove(request)
        return taken

    def _answer(
        self, request: Request, verdict: str, until: Mark, reason: str = "", seconds: float = 0.0
    ) -> None:
        self._emit(
            "proof",
            id=request.id,
            verdict=verdict,
            iteration=until.iteration,
            offset=until.offset,
            reason=reason if verdict != "proven" else "",
            seconds=seconds,
        )

    def _note(self, state: ShadowState, verdict: str, reason: str) -> None:
        status = self.status
        status.state, status.verdict, status.reason = state, verdict, reason
