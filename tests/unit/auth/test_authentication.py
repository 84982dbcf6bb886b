"""The door: which credential is who, and how guessing is slowed without keeping others out."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from chronoduck.auth import key_ring
from chronoduck.auth.admin_token import AdminToken
from chronoduck.auth.authentication import Authenticator
from chronoduck.auth.key_file import KeyFile
from chronoduck.auth.key_ring import KeyRing
from chronoduck.auth.keys import KeyWish
from chronoduck.auth.platform_tokens import JwtTokens
from chronoduck.auth.token_file import read_token
from chronoduck.errors import AuthenticationError, TooManyAttemptsError
from chronoduck.principals import Role
from chronoduck.resilience.attempts import AttemptLimit
from chronoduck.settings import JwtSettings
from tests.platform import AUDIENCE, ISSUER, SECRET, Platform


class Door:
    """An authenticator with everything, and a clock."""

    def __init__(self, directory: Path) -> None:
        self.now = 1_800_000_000.0
        self.platform = Platform("HS256")
        self.file = KeyFile(directory / "keys.json")
        admin = AdminToken.load_or_create(directory / "admin.token")
        self.admin = read_token(directory / "admin.token")
        settings = JwtSettings(
            algorithm="HS256",
            secret=SECRET,  # type: ignore[arg-type]
            issuer=ISSUER,
            audience=AUDIENCE,
            roles={"staff": Role.ANALYST},
        )
        self.authenticator = Authenticator(
            admin,
            KeyRing(self.file),
            JwtTokens(settings),
            AttemptLimit(10, 1.0, 30.0),
            clock=lambda: self.now,
        )

    def key(self, name: str) -> str:
        return self.file.add(KeyWish(name, Role.ANALYST), self.now)[1]

    async def knock(self, token: str, address: str | None = "10.0.0.1") -> str:
        """Return the principal's id, or the code of the refusal."""
        try:
            header = f"Bearer {token}".encode()
            return (await self.authenticator.authenticate([header], address)).id
        except (AuthenticationError, TooManyAttemptsError) as error:
            assert token not in f"{error} {error.hint}" or not token
            return error.code


@pytest.fixture
def door(tmp_path: Path) -> Door:
    return Door(tmp_path)


def guess_at(key: str) -> str:
    return key[:-64] + "0" * 64


async def test_each_kind_of_credential_is_known(door: Door) -> None:
    key = door.key("k")
    assert await door.knock(door.admin) == "admin"
    assert await door.knock(key) == f"key:{key[4:16]}"
    assert await door.knock(door.platform.token(door.now)) == "jwt:ann"


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [b""],
        [b"Bearer"],
        [b"Bearer "],
        [b"Basic %s"],
        [b"%s"],
        [b"Bearer %s", b"Bearer %s"],
        [b"Bearer %s", b""],
        [b"Bearer %s %s"],
        [b"Bearer %s\t"],
        [b"Bearer\t%s"],
        [b"Bearer %s,"],
        [b"Bearer \xff\xfe"],
        [b"Bearer " + b"a" * 8193],
        [b"Bearer " + "Ж".encode()],
    ],
)
async def test_anything_but_one_header_with_one_token_is_refused(
    door: Door, headers: list[bytes]
) -> None:
    filled = [each.replace(b"%s", door.admin.encode()) for each in headers]
    with pytest.raises(AuthenticationError) as caught:
        await door.authenticator.authenticate(filled, "10.0.0.1")
    assert "Authorization: Bearer" in caught.value.hint
    assert door.admin not in f"{caught.value} {caught.value.hint}"


@pytest.mark.parametrize("header", [b"bearer %s", b"BEARER %s", b"Bearer  %s "])
async def test_the_scheme_has_no_case_and_spaces_around_do_not_count(
    door: Door, header: bytes
) -> None:
    header = header.replace(b"%s", door.admin.encode())
    assert (await door.authenticator.authenticate([header], None)).id == "admin"


KINDS: dict[str, Callable[[Door], str]] = {
    "junk": lambda door: "junk",
    "admin": lambda door: "x" * len(door.admin),
    "key": lambda door: guess_at(door.key("guessed")),
    "no key": lambda door: "dak_" + "0" * 12 + "_" + "0" * 64,
    "platform": lambda door: door.platform.token(door.now, key="x" * 32),
}


@pytest.mark.parametrize("kind", KINDS)
async def test_after_ten_failures_an_address_waits_longer_and_longer(door: Door, kind: str) -> None:
    guess = KINDS[kind](door)
    assert [await door.knock(guess) for _ in range(9)] == ["unauthenticated"] * 9
    for _ in range(600):  # two minutes with five guesses a second
        header = f"Bearer {guess}".encode()
        with pytest.raises(TooManyAttemptsError) as caught:
            await door.authenticator.authenticate([header], "10.0.0.1")
        assert 0 < (caught.value.retry_after_seconds or 0) <= 30
        door.now += 0.2
    assert await door.knock(guess, "10.0.0.2") == "unauthenticated"


async def test_while_an_address_waits_its_guesses_are_not_looked_at(door: Door) -> None:
    """Even the right one: otherwise waiting would slow nobody."""
    key = door.key("k")
    for _ in range(14):
        await door.knock(guess_at(key))
        door.now += 0.01
    assert await door.knock(key) == "too_many_attempts"
    assert await door.knock(key, "10.0.0.2") != "too_many_attempts"
    door.now += 30
    assert (await door.knock(key)).startswith("key:")


async def test_a_guesser_keeps_nobody_else_behind_the_same_address_out(door: Door) -> None:
    attacked, other, used = door.key("attacked"), door.key("other"), door.key("used")
    assert (await door.knock(used)).startswith("key:")
    for _ in range(200):
        for guess in ("junk", guess_at(attacked), guess_at(used), "dak_" + "0" * 77):
            await door.knock(guess)
        await door.knock(door.platform.token(door.now, key="x" * 32))
        door.now += 0.1
        assert (await door.knock(other)).startswith("key:")
        assert (await door.knock(used)).startswith("key:")
        assert await door.knock(door.platform.token(door.now, sub="new")) == "jwt:new"
        assert await door.knock(door.admin) == "admin"
    assert await door.knock(attacked) == "too_many_attempts"


async def test_the_addresses_of_one_ipv6_customer_are_one(door: Door) -> None:
    for number in range(10):
        await door.knock("junk", f"2001:db8:1:2::{number:x}")
    assert await door.knock("junk", "2001:db8:1:2:ffff::1") == "too_many_attempts"
    assert await door.knock("junk", "2001:db8:1:3::1") == "unauthenticated"
    for _ in range(10):
        await door.knock("junk", "::ffff:10.9.9.9")
    assert await door.knock("junk", "10.9.9.9") == "too_many_attempts"


async def test_memory_is_bounded_whatever_is_sent_from_everywhere(door: Door) -> None:
    for number in range(25_000):
        await door.knock(f"junk{number}", f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
    assert len(door.authenticator._attempts) <= 20_000


async def test_closing_makes_every_key_invalid(door: Door) -> None:
    key = door.key("k")
    assert (await door.knock(key)).startswith("key:")
    await door.authenticator.close()
    assert await door.knock(key) == "unauthenticated"


async def test_a_key_file_that_the_volume_does_not_give_fails_only_keys(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = door.key("k")
    assert (await door.knock(key)).startswith("key:")
    door.key("another")  # the file has to be read again
    load = door.file.load

    def unreadable(descriptor: int) -> NoReturn:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(door.file, "load", unreadable)
    assert await door.knock(door.admin) == "admin"
    signed = door.platform.token(door.now)
    assert (await door.knock(signed)).startswith("jwt:")
    assert await door.knock(key) == "unauthenticated"
    # The volume answers again, and the file has not changed.
    monkeypatch.setattr(door.file, "load", load)
    monkeypatch.setattr(key_ring, "_RETRY_SECONDS", 0.0)
    monkeypatch.setattr(door.authenticator.keys, "_not_before", time.monotonic())
    assert (await door.knock(key)).startswith("key:")
