"""What the process before worked on when it ended: into the audit trail, and held against its authors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chronoduck.logs import get_logger
from chronoduck.monitoring.audit import AuditTrail
from chronoduck.principals import LOCAL, Principal, Role
from chronoduck.resilience.penalty_records import FaultKind, Suspect
from chronoduck.service.engine_turn import ON_LOOP
from chronoduck.service.penalties import EXEMPT, Penalties, party_of, shape_of
from chronoduck.service.records import Caller
from chronoduck.sql.masking import mask_statement
from chronoduck.supervision.running_record import LostWork, RunningWork

__all__ = ["take_in_lost"]

_MANY_STUCK = 3
"""So many parties whose statements do not listen at the same time: it may be the disk."""


def take_in_lost(
    lost: LostWork,
    last: Mapping[str, Any] | None,
    audit: AuditTrail,
    penalties: Penalties,
    *,
    shows_text: bool,
) -> None:
    """Record what was lost, and box or suspect whose it was.

    A process that ended on purpose has answered everybody, and only what did not listen is to blame.
    """
    if not lost.works:
        return
    # Also if the supervisor had to end it because it did not get so far.
    was_on_purpose = last is not None and bool(last.get("gave_up"))
    works = [work for work in lost.works if work.is_stuck or not was_on_purpose]
    for work in works:
        _record(work, last, audit, running=len(works), shows_text=shows_text)
    for work in works:
        penalties.name(_caller(work))
    on_loop = [_suspect(work) for work in works if work.kind == ON_LOOP]
    suspects = [_suspect(work) for work in _in_engine(works)]
    if last is not None and last.get("was_silent"):
        # The loop hangs by what is on it, or by who holds the interpreter; most statements do neither.
        penalties.note_death(on_loop or suspects, is_complete=bool(on_loop))
    elif not was_on_purpose:
        penalties.note_death(suspects, is_complete=lost.is_complete)
    elif len({each.party for each in suspects}) >= _MANY_STUCK:
        penalties.note_death(suspects, is_complete=False)
    else:
        for each in suspects:
            if not each.is_exempt:
                penalties.note_party(each.party, each.shape, FaultKind.FORCED_REPLACEMENT)


def _in_engine(works: list[RunningWork]) -> list[RunningWork]:
    """Leave out bodies that were only read, if there is more, and what the service asks of its keys.

    Nothing of it is a user's, and those whose requests it is for are there, too.
    """
    more = [work for work in works if work.kind not in (ON_LOOP, "request")] or works
    return [work for work in more if (work.principal, work.name) != (LOCAL.id, "ingest")] or more


def _caller(work: RunningWork) -> Caller:
    principal = Principal(work.name, Role(work.role), work.principal)
    return Caller(
        work.name,
        work.request_id or None,
        principal,
        work.address or None,
        sub_user=work.sub_user or None,
    )


def _suspect(work: RunningWork) -> Suspect:
    return Suspect(
        party_of(_caller(work)),
        shape_of(work.text),
        is_proved=work.is_proved,
        is_exempt=work.principal in EXEMPT,
    )


def _record(
    work: RunningWork,
    last: Mapping[str, Any] | None,
    audit: AuditTrail,
    *,
    running: int,
    shows_text: bool,
) -> None:
    caller = _caller(work)
    facts: dict[str, Any] = {
        "kind": work.kind,
        "statement": work.id or None,
        "query_hash": work.query_hash or None,
        "fingerprint": shape_of(work.text) or None,
        "sub_user": caller.sub_user,
        "running": running,
        "reason": str(last.get("reason")) if last else None,
    }
    get_logger("service").error("statement_lost", principal=work.principal, **facts)
    if shows_text:
        facts["text"] = mask_statement(work.text)
    audit.act("statement_lost", caller, verdict="failed", **facts)
