"""What the reports say of a replica: the sentence and health, in every state of its store."""

from __future__ import annotations

from typing import Any

import pytest

from chronoduck.monitoring.durability import replica_finding, replica_report
from chronoduck.monitoring.health import Status
from chronoduck.replication.messages import ReplicaState, ReplicaStatus

TIME_US = 1_893_456_000_000_000


def _status(**values: Any) -> dict[str, Any]:
    return {**ReplicaStatus(**values).as_dict(), "restarts": 0}


def _sentence(**values: Any) -> str:
    return str(replica_report(_status(**values), {}, {})["sentence"])


def test_a_replica_that_is_not_in_its_place_saves_nothing() -> None:
    for known in ({}, {"caught_up_us": TIME_US}):
        status = {"state": ReplicaState.FAILING, "is_gone": True, **known}
        assert "lose everything since the last backup" in _sentence(**status)
        found = replica_finding(_status(**status))
        assert found.status is not Status.HEALTHY
        assert "not in its place" in found.reason


@pytest.mark.parametrize("state", [ReplicaState.FAILING, ReplicaState.REFUSED])
def test_a_store_that_was_never_asked_is_no_first_copy(state: ReplicaState) -> None:
    assert "first copy" not in _sentence(state=state)
    assert "everything that is not in it" in _sentence(state=state)


def test_what_was_shipped_before_the_start_is_told() -> None:
    assert "2030-01-01" in _sentence(state=ReplicaState.SYNCING, last_point_us=TIME_US)
    assert "first copy" in _sentence(state=ReplicaState.SYNCING)
