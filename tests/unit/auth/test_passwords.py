"""A token as the password of basic authentication, and a new admin token without a restart."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from chronoduck.auth.admin_token import AdminToken, rotate_admin_token
from chronoduck.auth.authentication import Authenticator
from chronoduck.auth.key_file import KeyFile
from chronoduck.auth.key_ring import KeyRing
from chronoduck.auth.keys import KeyWish
from chronoduck.auth.token_file import read_token
from chronoduck.errors import AuthenticationError, TooManyAttemptsError
from chronoduck.principals import Role, WriteGrants
from chronoduck.resilience.attempts import AttemptLimit


class Door:
    def __init__(self, directory: Path) -> None:
        self.path = directory / "admin.token"
        self.file = KeyFile(directory / "keys.json")
        admin = AdminToken.load_or_create(self.path)
        limit = AttemptLimit(10, 1.0, 30.0)
        self.authenticator = Authenticator(admin, KeyRing(self.file), None, limit, lambda: 1.8e9)

    async def knock(self, header: bytes) -> str:
        """Return who it is, or the code of the refusal."""
        try:
            return (await self.authenticator.authenticate([header], "10.0.0.1")).id
        except (AuthenticationError, TooManyAttemptsError) as error:
            assert "hunter2" not in f"{error.detail}{error.hint}"
            return error.code


def basic(name: str, password: str) -> bytes:
    return b"Basic " + base64.b64encode(f"{name}:{password}".encode())


@pytest.fixture
def door(tmp_path: Path) -> Door:
    return Door(tmp_path)


async def test_the_password_says_who_asks_whatever_the_name_is(door: Door) -> None:
    key, token = door.file.add(KeyWish("ann", Role.ANALYST), 1.8e9)
    admin = read_token(door.path)
    for name in ("", "ann", "bob", "admin", "a:b".replace(":", "")):
        assert await door.knock(basic(name, token)) == f"key:{key.id}"
        assert await door.knock(basic(name, admin)) == "admin"
    door.file.remove("ann")
    assert await door.knock(basic("ann", token)) == "unauthenticated"


@pytest.mark.parametrize(
    "header",
    [
        *(b"Basic", b"Basic ", b"Basic !!!", b"Basic " + b"A" * 30_000, b"Basic aHVudGVyMg=="),
        *(
            basic("hunter2", ""),
            basic("", "hunter2"),
            basic("a", "\u00e9hunter2"),
            b"Basic \xff\xfe",
        ),
    ],
)
async def test_what_is_no_password_is_refused(door: Door, header: bytes) -> None:
    assert await door.knock(header) == "unauthenticated"


async def test_guesses_of_passwords_are_slowed_like_guesses_of_tokens(door: Door) -> None:
    answers = [await door.knock(basic("ann", "cd_" + "x" * 43)) for _ in range(12)]
    assert answers[-1] == "too_many_attempts"
    assert await door.knock(b"Bearer cd_" + b"x" * 43) == "too_many_attempts"


async def test_a_new_admin_token_holds_at_once(door: Door) -> None:
    old = read_token(door.path)
    assert await door.knock(f"Bearer {old}".encode()) == "admin"
    inode = door.path.stat().st_ino
    rotate_admin_token(door.path)
    new = read_token(door.path)
    assert new != old
    assert door.path.stat().st_mode & 0o777 == 0o600
    assert door.path.stat().st_ino != inode
    assert [each.name for each in door.path.parent.iterdir()] == [door.path.name]
    assert await door.knock(f"Bearer {old}".encode()) == "unauthenticated"
    assert await door.knock(f"Bearer {new}".encode()) == "admin"


async def test_without_a_file_that_can_be_trusted_no_admin_token_is_valid(door: Door) -> None:
    old = read_token(door.path)
    door.path.chmod(0o644)
    assert await door.knock(f"Bearer {old}".encode()) == "unauthenticated"
    door.path.chmod(0o600)
    assert await door.knock(f"Bearer {old}".encode()) == "admin"
    door.path.unlink()
    assert await door.knock(f"Bearer {old}".encode()) == "unauthenticated"
    assert await door.knock(b"Bearer ") == "unauthenticated"


def test_an_earlier_release_reads_no_file_with_narrowed_writers(tmp_path: Path) -> None:
    file = KeyFile(tmp_path / "keys.json")
    file.add(KeyWish("all", Role.WRITER), 1.8e9)
    assert b'"format":1' in file.path.read_bytes()
    file.add(KeyWish("some", Role.WRITER, write=("anna", "main.notes", '"a.b"."c d"')), 1.8e9)
    assert b'"format":2' in file.path.read_bytes()
    found = {key.name: key.principal().writes for key in file.read()}
    assert found["all"] is None
    assert found["some"] == WriteGrants(("anna",), (("main", "notes"), ("a.b", "c d")))
    described = next(key.describe(1.8e9) for key in file.read() if key.name == "some")
    assert described["write"] == ["anna", "main.notes", '"a.b".c d']
