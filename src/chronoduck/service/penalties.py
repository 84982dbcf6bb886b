"""The penalty box as the service uses it: callers in, refusals out.

Whoever meets a fault that one statement caused tells it by ``note_fault``; use it from the event loop.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from chronoduck.errors import InvalidRequestError, PenaltyBoxError
from chronoduck.logs import get_logger
from chronoduck.principals import LOCAL
from chronoduck.resilience.deadly_shapes import EVERYBODY
from chronoduck.resilience.penalty_box import NO_TEXT, PenaltyBox
from chronoduck.resilience.penalty_records import FaultKind, Penalty, Suspect
from chronoduck.service.records import Caller, RunningStatement
from chronoduck.sql.masking import MASK
from chronoduck.sql.normalizing import fingerprint, normalize_statement

__all__ = ["EXEMPT", "FaultKind", "Penalties", "party_of", "shape_of"]

EXEMPT = frozenset({LOCAL.id, "admin"})
"""Principals that are never boxed: this process itself and the bearer of the admin token."""
_WHAT = {
    FaultKind.PROCESS_DEATH: "the server's process died while it ran",
    FaultKind.FORCED_REPLACEMENT: "the server's process had to be replaced, because it did not listen "
    "to its interrupt",
    FaultKind.IGNORED_INTERRUPT: "it went on for long after it was interrupted",
    FaultKind.ENGINE_LOST: "it met an internal error of the engine, which had to be reopened",
    FaultKind.INTERNAL_ERROR: "it met internal errors of the engine",
    FaultKind.ANALYZER_KILLED: "its text ended the process that judges statements",
}
_REMEMBERED_NAMES = 5_000
_ID_PREFIXES = ("key:", "jwt:")
_NAMED = 10
"""Parties of one name that an error names."""
_HINT = (
    "Wait as long as Retry-After says; do not send the statement again as it is. An admin sees the "
    "reason with `chronoduck penalties list` and can release you."
)


def party_of(caller: Caller) -> str:
    """Return what is boxed: the principal's id, with the sub-user that its key named."""
    principal = caller.principal.id
    return principal if caller.sub_user is None else f"{principal}/{caller.sub_user}"


def shape_of(sql: str) -> str:
    """Return the hash of the normalized text, as the statement statistics show it.

    What has none of its own is one shape: the label of a load, and a text that cannot be read.
    """
    normalized = normalize_statement(sql)
    return NO_TEXT if normalized in ("", MASK) else fingerprint(normalized)


class Penalties:
    """Counts faults by caller and refuses those who must wait. For one event loop."""

    def __init__(
        self,
        box: PenaltyBox | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        on_boxed: Callable[[Penalty], None] = lambda penalty: None,
    ) -> None:
        """``on_boxed`` is told of everybody who has to wait from now on."""
        self.box = PenaltyBox() if box is None else box  # an empty one is false
        self._clock = clock
        self._on_boxed = on_boxed
        self.names: OrderedDict[str, str] = OrderedDict()
        """What people call the parties."""
        self.total_refused = 0
        self._log = get_logger("penalties")

    def note_fault(self, caller: Caller, sql: str, kind: FaultKind) -> None:
        """Count what one statement of this caller broke; an exempt caller is only logged."""
        party, shape = party_of(caller), shape_of(sql)
        self._log.warning(
            "statement_fault",
            kind=kind.value,
            party=party,
            fingerprint=shape,
            request_id=caller.request_id,
        )
        if caller.principal.id not in EXEMPT:
            self.name(caller)
            self.note_party(party, shape, kind)

    def note_ignored_interrupt(self, running: RunningStatement) -> None:
        """Count a statement that went on for long after its interrupt; it may still run."""
        self.note_fault(running.caller, running.sql, FaultKind.IGNORED_INTERRUPT)

    def name(self, caller: Caller) -> None:
        """Remember what people call this party."""
        party = party_of(caller)
        self.names[party] = caller.principal.name if caller.sub_user is None else caller.sub_user
        self.names.move_to_end(party)
        if len(self.names) > _REMEMBERED_NAMES:
            self.names.popitem(last=False)

    def note_party(self, party: str, shape: str, kind: FaultKind) -> None:
        """Count a fault of a party; ``shape`` is empty if its statement has none."""
        self._tell(self.box.note_fault(self._clock(), party, shape, kind))

    def note_death(self, suspects: Sequence[Suspect], *, is_complete: bool) -> None:
        """Take in the death of the process before, in which these statements ran."""
        self._tell(self.box.note_death(self._clock(), suspects, is_complete=is_complete))

    def _tell(self, boxed: list[Penalty]) -> None:
        """Log who has to wait from now on, and pass it on."""
        for penalty in boxed:
            self._log.warning(
                "penalty_boxed",
                party=penalty.party,
                fingerprint=penalty.shape or None,
                kind=penalty.kind.value,
                seconds=round(penalty.seconds, 3),
                faults=penalty.faults,
            )
            self._on_boxed(penalty)

    def check(self, caller: Caller, sql: str = "") -> None:
        """Refuse a caller, or a statement of it, that has to wait.

        Raises:
            PenaltyBoxError: with the reason, and when it may come again.
        """
        if not len(self.box) or caller.principal.id in EXEMPT:
            return
        penalty = self.box.penalty(self._clock(), party_of(caller), partial(shape_of, sql))
        if penalty is not None:
            self.total_refused += 1
            raise _refusal(caller, penalty)

    def must_run_alone(self, caller: Caller, sql: str) -> bool:
        """Whether nothing else may be in the engine when this statement begins."""
        if not len(self.box) or caller.principal.id in EXEMPT:
            return False
        return self.box.must_run_alone(self._clock(), party_of(caller), partial(shape_of, sql))

    def note_survived(self, caller: Caller, sql: str, *, has_ended: bool = True) -> None:
        """Note that a statement ended, or ran alone for its while, and the process lives."""
        if len(self.box):
            self.box.note_survived(party_of(caller), shape_of(sql), has_ended=has_ended)

    def party_called(self, name: str) -> str | None:
        """Return the party of that id, or that people call so, if anything is held against it.

        What looks like an id is only taken as one: names are chosen by those who bear them.

        Raises:
            InvalidRequestError: several are called so, also if nothing is held against some of them.
        """
        held = self.box.parties()
        if name in held:
            return name
        if name == EVERYBODY or name.startswith(_ID_PREFIXES):
            return None
        known = [party for party, called in self.names.items() if called == name]
        if not held.intersection(known):
            return None
        if len(known) > 1:
            raise InvalidRequestError(
                f"{len(known)} principals are called {name[:80]}",
                hint=f"Name one of them: {', '.join(sorted(known)[:_NAMED])}.",
            )
        return known[0]

    def release(self, party: str) -> bool:
        """Forget all that is held against a party; whether there was anything."""
        return self.box.release(party)

    def describe(self) -> dict[str, Any]:
        """Return who waits and what runs alone as JSON values, for admins; times in seconds."""
        now = self._clock()
        return {
            "waiting": [self._describe(each) for each in self.box.penalties(now)],
            "alone": [self._describe(each) for each in self.box.watched(now)],
            **self.get_status(),
        }

    def get_status(self) -> dict[str, Any]:
        """Return how many wait, and counters since the start: nothing that names anybody."""
        now = self._clock()
        waiting = self.box.penalties(now)
        return {
            "principals_waiting": sum(not each.shape for each in waiting),
            "statements_waiting": sum(bool(each.shape) for each in waiting),
            "running_alone": len(self.box.watched(now)),
            "faults": {kind.value: number for kind, number in self.box.total_faults.items()},
            "total_boxed": self.box.total_boxings,
            "total_refused": self.total_refused,
        }

    def _describe(self, penalty: Penalty) -> dict[str, Any]:
        return {
            "party": penalty.party,
            "name": self.names.get(penalty.party),
            "fingerprint": penalty.shape or None,
            "reason": penalty.kind.value,
            "seconds": round(penalty.seconds, 1),
            "faults": penalty.faults,
        }


def _refusal(caller: Caller, penalty: Penalty) -> PenaltyBoxError:
    who = caller.principal.name if caller.sub_user is None else caller.sub_user
    what = "this statement" if penalty.shape else f"statements of {who}"
    error = PenaltyBoxError(
        f"{what} must wait {penalty.seconds:.0f} s: {_WHAT[penalty.kind]} "
        f"({penalty.faults} within an hour)",
        hint=_HINT,
        reason=penalty.kind.value,
    )
    error.retry_after_seconds = penalty.seconds
    return error
