"""What a dead process worked on: who is named, who waits, who is only a suspect."""

from __future__ import annotations

from typing import Any

import pytest

from chronoduck.assembly.lost_statements import take_in_lost
from chronoduck.principals import LOCAL
from chronoduck.resilience.penalty_records import FaultKind
from chronoduck.service.engine_turn import ON_LOOP
from chronoduck.service.penalties import Penalties
from chronoduck.service.records import Caller
from chronoduck.supervision.running_record import LostWork, RunningWork

DIED = {"code": 139, "reason": "it was ended by SIGSEGV"}
REPLACED = {"code": 86, "reason": "it has not listened to its interrupt", "gave_up": True}
SILENT = {"code": 137, "reason": "its event loop was silent for 5 s", "was_silent": True}


class Trail:
    def __init__(self) -> None:
        self.events: list[tuple[str, Caller, dict[str, Any]]] = []

    def act(self, event: str, caller: Caller, **facts: Any) -> None:
        self.events.append((event, caller, facts))


def work(name: str, text: str = "SELECT 1", **more: Any) -> RunningWork:
    fields: dict[str, Any] = {
        "kind": "select",
        "id": "1",
        "request_id": f"req-{name}",
        "principal": f"key:{name}",
        "name": name,
        "role": "analyst",
        "sub_user": "",
        "address": "10.0.0.7",
        "query_hash": "abcd",
        "started_at": "1.5",
        "text": text,
        **more,
    }
    return RunningWork(**fields)


def local(name: str, text: str = "-- load of a file") -> RunningWork:
    return work(name, text, principal=LOCAL.id, role="admin", kind="load")


def take_in(
    *works: RunningWork, last: dict[str, Any] = DIED, is_complete: bool = True
) -> tuple[Trail, dict[str, Any]]:
    trail, penalties = Trail(), Penalties()
    lost = LostWork(works, is_complete=is_complete)
    take_in_lost(lost, last, trail, penalties, shows_text=False)  # type: ignore[arg-type]
    return trail, penalties.describe()


def waiting(found: dict[str, Any]) -> set[str]:
    """Return the parties that wait; a shape that waits for everybody is none."""
    return {each["party"] for each in found["waiting"] if each["fingerprint"] is None}


def alone(found: dict[str, Any]) -> set[str]:
    return {each["party"] for each in found["alone"] if each["fingerprint"] is not None} - {"*"}


def test_every_statement_is_in_the_trail_with_its_author_and_without_its_text() -> None:
    trail, _ = take_in(work("eve", "SELECT 'secret'"), work("bob", sub_user="amy"))
    assert [event for event, _, _ in trail.events] == ["statement_lost"] * 2
    _, caller, facts = trail.events[0]
    assert (caller.principal.id, caller.request_id, caller.address) == (
        "key:eve",
        "req-eve",
        "10.0.0.7",
    )
    assert (facts["query_hash"], facts["running"], facts["verdict"]) == ("abcd", 2, "failed")
    assert facts["reason"] == DIED["reason"]
    assert "secret" not in str(facts)
    assert trail.events[1][2]["sub_user"] == "amy"


def test_after_a_replacement_only_what_did_not_listen_is_to_blame() -> None:
    trail, found = take_in(work("eve", is_stuck=True), work("bob"), last=REPLACED)
    assert [caller.name for _, caller, _ in trail.events] == ["eve"]  # bob was answered
    assert waiting(found) == {"key:eve"}
    assert found["waiting"][0]["reason"] == FaultKind.FORCED_REPLACEMENT
    assert alone(found) == set()


def test_two_that_do_not_listen_are_both_to_blame_and_many_are_the_disk() -> None:
    _, found = take_in(*(work(name, is_stuck=True) for name in ("a", "b")), last=REPLACED)
    assert waiting(found) == {"key:a", "key:b"}
    _, found = take_in(*(work(name, is_stuck=True) for name in ("a", "b", "c")), last=REPLACED)
    assert waiting(found) == set()
    assert alone(found) == {"key:a", "key:b", "key:c"}


def test_when_the_loop_hung_it_is_what_was_on_it() -> None:
    _, found = take_in(work("eve", "", kind=ON_LOOP), work("bob"), last=SILENT)
    assert waiting(found) == {"key:eve"}
    assert alone(found) == set()


def test_when_the_loop_hung_by_itself_the_only_statement_is_no_more_than_a_suspect() -> None:
    _, found = take_in(work("bob"), last=SILENT)
    assert waiting(found) == set()
    assert alone(found) == {"key:bob"}


def test_the_services_own_transaction_hides_nobody_whose_rows_it_carries() -> None:
    _, found = take_in(local("ingest"), work("eve", "", kind="load"))
    assert waiting(found) == {"key:eve"}
    _, found = take_in(local("ingest"), work("eve", "", kind="load"), work("bob"))
    assert waiting(found) == set()


@pytest.mark.parametrize("who", ["admin", "local"])
def test_the_local_admin_is_named_and_does_not_wait(who: str) -> None:
    trail, found = take_in(work(who, principal=who, role="admin"))
    assert len(trail.events) == 1
    assert found["waiting"] == []


def test_more_than_could_be_noted_leaves_everybody_a_suspect() -> None:
    _, found = take_in(work("eve"), is_complete=False)
    assert waiting(found) == set()
    assert alone(found) == {"key:eve"}


def test_one_that_had_proved_itself_is_no_suspect() -> None:
    trail, penalties = Trail(), Penalties()
    for other in ("eve", "mal"):
        lost = LostWork((work("bob", "SELECT 1 + 1", is_proved=True), work(other, "SELECT 2")))
        take_in_lost(lost, DIED, trail, penalties, shows_text=True)  # type: ignore[arg-type]
    found = penalties.describe()
    assert waiting(found) == set()
    assert "key:bob" not in {each["party"] for each in found["alone"] if not each["fingerprint"]}
    assert trail.events[0][2]["text"] == "SELECT 1 + 1"


def test_a_process_that_worked_on_nothing_blames_nobody() -> None:
    trail, found = take_in()
    assert trail.events == []
    assert (found["waiting"], found["alone"]) == ([], [])
