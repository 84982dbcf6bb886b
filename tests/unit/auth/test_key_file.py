"""The file of keys: whole, closed to others, changed by one at a time; and the ring that follows it."""

from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import orjson
import pytest

from chronoduck.auth.key_file import KeyFile
from chronoduck.auth.key_ring import KeyRing
from chronoduck.auth.keys import ApiKey, KeyWish
from chronoduck.errors import (
    AuthenticationError,
    DatabasePermissionError,
    InvalidRequestError,
    NotFoundError,
)
from chronoduck.principals import Limits, Principal, Role, TableGrant, claims_of

NARROW = KeyWish(
    "narrow",
    Role.VIEWER,
    lifetime_seconds=60.0,
    tables=(TableGrant("pages", "main", "tld = 'org'"),),
    schemas=("open",),
    limits=Limits(max_rows=10, engine_seconds_per_hour=1.5),
)


@pytest.fixture
def file(tmp_path: Path) -> KeyFile:
    return KeyFile(tmp_path / "keys.json")


def wish(name: str = "k") -> KeyWish:
    return KeyWish(name, Role.ANALYST)


def test_what_was_stored_is_read_again(file: KeyFile) -> None:
    assert file.read() == []
    stored = [file.add(each, now=5.0)[0] for each in (wish(), NARROW)]
    assert file.read() == stored
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    assert sorted(each.name for each in file.path.parent.iterdir()) == [
        "keys.json",
        "keys.json.lock",
    ]


@pytest.mark.parametrize("number", [float("inf"), float("-inf"), float("nan")])
def test_a_claim_that_json_cannot_hold_does_not_end_the_file(file: KeyFile, number: float) -> None:
    granted = (TableGrant("pages", "main", "status = $claim.n"),)
    file.add(wish("before"), now=0.0)
    claims = claims_of({"n": number, "all": [1.0, number]})
    file.add(KeyWish("odd", Role.ANALYST, tables=granted, claims=claims), now=0.0)
    assert [key.name for key in file.read()] == ["before", "odd"]


def test_a_secret_is_not_in_the_file(file: KeyFile) -> None:
    _, token = file.add(wish(), now=0.0)
    assert token.split("_")[2].encode() not in file.path.read_bytes()


def test_a_name_is_given_once_and_free_again_after_its_key_is_revoked(file: KeyFile) -> None:
    key, _ = file.add(wish(), now=0.0)
    with pytest.raises(InvalidRequestError, match="already"):
        file.add(wish(), now=0.0)
    assert file.remove("k") == key
    again, _ = file.add(wish(), now=0.0)
    assert again.id != key.id
    assert file.remove(again.id) == again
    with pytest.raises(NotFoundError):
        file.remove("k")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610])
def test_a_file_that_others_may_use_is_refused_with_the_fix(file: KeyFile, mode: int) -> None:
    file.add(wish(), now=0.0)
    file.path.chmod(mode)
    for touch in (file.read, lambda: file.add(wish("b"), now=0.0), lambda: file.remove("k")):
        with pytest.raises(DatabasePermissionError, match=f"mode {mode:04o}") as caught:
            touch()
        assert f"chmod 600 {file.path}" in caught.value.hint


def test_a_link_or_a_directory_is_no_key_file(file: KeyFile, tmp_path: Path) -> None:
    other = KeyFile(tmp_path / "other.json")
    other.add(wish(), now=0.0)
    file.path.symlink_to(other.path)
    with pytest.raises(DatabasePermissionError):
        file.read()
    file.path.unlink()
    file.path.mkdir(mode=0o700)
    with pytest.raises(DatabasePermissionError):
        file.read()
    file.path.rmdir()
    os.mkfifo(file.path, 0o600)
    with pytest.raises(DatabasePermissionError):
        file.read()


def test_each_flipped_bit_is_noticed(file: KeyFile) -> None:
    file.add(wish(), now=0.0)
    whole = file.path.read_bytes()
    keys = file.read()
    for position in range(len(whole)):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << (position % 8)
        file.path.write_bytes(damaged)
        try:
            assert file.read() == keys  # "format" 1 spelled otherwise, at best
        except DatabasePermissionError as error:
            assert "not used" in error.detail
    for length in range(len(whole)):
        file.path.write_bytes(whole[:length])
        with pytest.raises(DatabasePermissionError):
            file.read()


def test_a_file_of_a_newer_form_is_not_half_understood(file: KeyFile) -> None:
    file.add(wish(), now=0.0)
    document = orjson.loads(file.path.read_bytes())
    file.path.write_bytes(orjson.dumps({**document, "format": 3}))
    with pytest.raises(DatabasePermissionError, match="format is 3"):
        file.read()


def test_many_writers_lose_nothing(file: KeyFile) -> None:
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda n: file.add(wish(f"k{n}"), now=0.0), range(40)))
        list(threads.map(lambda n: file.remove(f"k{n}"), range(0, 40, 2)))
    assert {key.name for key in file.read()} == {f"k{n}" for n in range(1, 40, 2)}


def test_what_a_killed_writer_left_is_swept(file: KeyFile) -> None:
    (file.path.parent / ".keys.json.abc123").write_bytes(b"half")
    file.add(wish(), now=0.0)
    assert not list(file.path.parent.glob(".keys*"))


def test_a_directory_that_is_missing_is_told(tmp_path: Path) -> None:
    with pytest.raises(DatabasePermissionError, match="cannot be written"):
        KeyFile(tmp_path / "missing" / "keys.json").add(wish(), now=0.0)


async def checked(ring: KeyRing, token: str, now: float) -> Principal:
    """Check a key as each request does."""
    await ring.follow()
    return ring.check(token, now=now)


async def listed(ring: KeyRing) -> list[tuple[ApiKey, float | None]]:
    await ring.follow()
    return ring.list()


async def test_the_ring_knows_a_key_from_the_moment_it_is_issued_until_it_is_revoked(
    file: KeyFile,
) -> None:
    ring = KeyRing(file)
    for round_ in range(200):  # also when both versions are of one size and made in one tick
        key, token = file.add(wish(f"k{round_ % 2}"), now=0.0)
        assert (await checked(ring, token, now=1.0)).id == f"key:{key.id}"
        file.remove(key.id)
        with pytest.raises(AuthenticationError):
            await checked(ring, token, now=1.0)
    ring.close()


async def test_the_ring_refuses_a_key_that_has_expired(file: KeyFile) -> None:
    ring = KeyRing(file)
    _, token = file.add(NARROW, now=100.0)
    assert (await checked(ring, token, now=159.0)).scope is not None
    with pytest.raises(AuthenticationError, match="narrow has expired"):
        await checked(ring, token, now=160.0)
    ring.close()


async def test_the_ring_remembers_when_a_key_was_last_used(file: KeyFile) -> None:
    ring = KeyRing(file)
    _, token = file.add(wish(), now=0.0)
    assert [used for _, used in await listed(ring)] == [None]
    await checked(ring, token, now=7.0)
    file.add(wish("other"), now=0.0)
    assert [used for _, used in await listed(ring)] == [7.0, None]
    ring.close()


async def test_a_right_id_with_a_wrong_secret_is_refused(file: KeyFile) -> None:
    ring = KeyRing(file)
    key, token = file.add(wish(), now=0.0)
    _, other = file.add(wish("other"), now=0.0)
    for forged in (
        f"dak_{key.id}_{'0' * 64}",
        f"dak_{key.id}_{other.split('_')[2]}",
        token[:-1] + ("0" if token[-1] != "0" else "1"),
        f"dak_{key.id}_{key.digest}",
    ):
        with pytest.raises(AuthenticationError, match="not valid"):
            await checked(ring, forged, now=0.0)
    ring.close()


async def test_a_file_that_cannot_be_trusted_any_more_means_no_key_is_valid(file: KeyFile) -> None:
    ring = KeyRing(file)
    _, token = file.add(wish(), now=0.0)
    await checked(ring, token, now=0.0)
    file.path.chmod(0o644)
    with pytest.raises(AuthenticationError):
        await checked(ring, token, now=0.0)
    file.path.chmod(0o600)
    await checked(ring, token, now=0.0)
    text = file.path.read_bytes()
    file.path.write_bytes(text[:-1])
    with pytest.raises(AuthenticationError):
        await checked(ring, token, now=0.0)
    file.path.write_bytes(text)
    await checked(ring, token, now=0.0)
    file.path.unlink()
    with pytest.raises(AuthenticationError):
        await checked(ring, token, now=0.0)
    ring.close()


def test_a_service_does_not_start_on_a_damaged_file(file: KeyFile) -> None:
    file.path.write_bytes(b"{}")
    file.path.chmod(0o600)
    with pytest.raises(DatabasePermissionError):
        KeyRing(file)
