"""Whom a release means: an id is an id, and a name is one only if it fits one principal."""

from __future__ import annotations

import errno
from types import SimpleNamespace
from typing import Any

import pytest

from chronoduck.assembly.accountability import Accountability
from chronoduck.errors import DiskFullError, InvalidRequestError
from chronoduck.principals import Principal, Role
from chronoduck.service.penalties import FaultKind, Penalties
from chronoduck.service.records import Caller

FAULT = FaultKind.FORCED_REPLACEMENT


def caller(party: str, name: str, sub_user: str | None = None) -> Caller:
    return Caller(name, principal=Principal(name, Role.ANALYST, party), sub_user=sub_user)


@pytest.mark.parametrize("name", ["key:5f0c", "jwt:bob", "*"])
def test_who_is_called_like_an_id_is_not_released_by_it(name: str) -> None:
    penalties = Penalties()
    penalties.note_fault(caller("jwt:ann", name), "SELECT 1", FaultKind.INTERNAL_ERROR)
    penalties.note_fault(caller("key:app", "app", name), "FROM t", FaultKind.INTERNAL_ERROR)
    assert penalties.party_called(name) is None
    assert penalties.party_called("jwt:ann") == "jwt:ann"
    assert penalties.party_called(f"key:app/{name}") == f"key:app/{name}"


def test_a_name_of_two_is_asked_for_also_if_only_one_is_held() -> None:
    penalties = Penalties()
    penalties.note_fault(caller("key:app", "app", "alice"), "SELECT 1", FAULT)
    assert penalties.party_called("alice") == "key:app/alice"
    penalties.name(caller("key:1", "alice"))
    with pytest.raises(InvalidRequestError) as refused:
        penalties.party_called("alice")
    assert "key:1, key:app/alice" in (refused.value.hint or "")


async def test_a_release_by_name_that_was_not_saved_may_be_repeated() -> None:
    penalties = Penalties()
    penalties.note_fault(caller("key:5f", "alice"), "SELECT 1", FAULT)
    failure: OSError | None = OSError(errno.ENOSPC, "No space left on device")

    async def save() -> OSError | None:
        return failure

    async def act_now(*_: object, **__: object) -> None: ...

    accounts: Any = object.__new__(Accountability)
    accounts.penalties, accounts._releasing, accounts._unsaved_releases = penalties, None, {}
    accounts._audit, accounts._usage = SimpleNamespace(act_now=act_now), SimpleNamespace(save=save)
    admin = caller("admin", "admin")
    for _ in range(2):
        with pytest.raises(DiskFullError):
            await accounts.release("alice", admin)
    failure = None
    assert await accounts.release("alice", admin) == "key:5f"
    assert await accounts.release("alice", admin) is None
