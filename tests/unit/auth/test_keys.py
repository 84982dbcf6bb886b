"""API keys: issued once, narrowed with sense, valid until they expire."""

from __future__ import annotations

import dataclasses
import hashlib

import pytest

from chronoduck.auth.keys import KeyWish, digest_of, issue_key, key_id_of
from chronoduck.errors import InvalidRequestError
from chronoduck.principals import Limits, Role, Scope, TableGrant

PLAIN = KeyWish("reports", Role.ANALYST)


def test_a_key_holds_256_random_bits_and_no_record_holds_them() -> None:
    key, token = issue_key(PLAIN, now=0.0)
    prefix, key_id, secret = token.split("_")
    assert (prefix, key_id) == ("dak", key.id)
    assert len(bytes.fromhex(secret)) == 32
    assert secret not in repr(dataclasses.asdict(key))
    assert secret not in repr(key.describe(0.0))
    assert key.digest == hashlib.sha256(token.encode()).hexdigest() == digest_of(token)


def test_no_two_keys_are_alike() -> None:
    assert len({issue_key(PLAIN, now=0.0)[1] for _ in range(1000)}) == 1000


def test_the_principal_has_what_was_wished() -> None:
    wish = KeyWish(
        "p",
        Role.VIEWER,
        tables=(TableGrant("pages", row_filter="tld = 'org'"),),
        schemas=("open",),
        limits=Limits(max_rows=5),
    )
    key, _ = issue_key(wish, now=0.0)
    principal = key.principal()
    assert principal.id == f"key:{key.id}"
    assert principal.scope == Scope(wish.tables, ("open",))
    assert (principal.name, principal.role, principal.limits.max_rows) == ("p", Role.VIEWER, 5)
    assert issue_key(PLAIN, now=0.0)[0].principal().scope is None


@pytest.mark.parametrize(("now", "expired"), [(0.0, False), (159.9, False), (160.0, True)])
def test_a_key_expires_at_its_moment(now: float, expired: bool) -> None:
    key, _ = issue_key(dataclasses.replace(PLAIN, lifetime_seconds=60.0), now=100.0)
    assert key.is_expired(now) == expired
    assert key.describe(now)["state"] == ("expired" if expired else "active")


def test_a_key_without_expiry_lives_on() -> None:
    assert not issue_key(PLAIN, now=0.0)[0].is_expired(1e12)


@pytest.mark.parametrize(
    "name",
    ["", " ", "a b", "-a", "a" * 65, "ключ", "a\n", "../x", "a/b", "Admin", "local", "python"],
)
def test_names_that_would_mislead_in_a_log_are_refused(name: str) -> None:
    with pytest.raises(InvalidRequestError):
        issue_key(dataclasses.replace(PLAIN, name=name), now=0.0)


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), float("inf"), 1e12])
def test_an_expiry_must_be_in_the_nearer_future(seconds: float) -> None:
    with pytest.raises(InvalidRequestError, match="expire"):
        issue_key(dataclasses.replace(PLAIN, lifetime_seconds=seconds), now=0.0)


@pytest.mark.parametrize("limits", [Limits(max_rows=0), Limits(engine_seconds_per_hour=-1.0)])
def test_a_limit_must_be_above_zero(limits: Limits) -> None:
    with pytest.raises(InvalidRequestError, match="above 0"):
        issue_key(dataclasses.replace(PLAIN, limits=limits), now=0.0)


@pytest.mark.parametrize("role", [Role.WRITER, Role.ADMIN])
def test_a_narrowed_key_cannot_write(role: Role) -> None:
    for narrowed in (
        KeyWish("n", role, tables=(TableGrant("t"),)),
        KeyWish("n", role, schemas=("s",)),
    ):
        with pytest.raises(InvalidRequestError, match="only reads") as caught:
            issue_key(narrowed, now=0.0)
        assert "viewer or analyst" in caught.value.hint


@pytest.mark.parametrize(
    ("tables", "schemas"),
    [
        ((TableGrant("t"), TableGrant("T", row_filter="a = 1")), ()),
        ((TableGrant("t", "S", "a = 1"),), ("s",)),
        ((TableGrant("t", row_filter=" "),), ()),
        ((TableGrant("t", row_filter="x" * 4001),), ()),
        ((TableGrant(""),), ()),
        ((TableGrant("a\x00b"),), ()),
        ((), ("",)),
        (tuple(TableGrant(f"t{n}") for n in range(1001)), ()),
    ],
)
def test_a_scope_in_which_a_filter_would_not_hold_or_a_name_is_none_is_refused(
    tables: tuple[TableGrant, ...], schemas: tuple[str, ...]
) -> None:
    with pytest.raises(InvalidRequestError):
        issue_key(KeyWish("n", Role.ANALYST, tables=tables, schemas=schemas), now=0.0)


def test_only_the_exact_form_is_a_key() -> None:
    key, token = issue_key(PLAIN, now=0.0)
    assert key_id_of(token) == key.id
    for other in (token[:-1], token + "0", token.upper(), f"{token}\n", f" {token}", token[4:], ""):
        assert key_id_of(other) is None
