"""A full disk, a crash or a careless hand leaves no secret that is empty or short and still believed."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from chronoduck.assembly.authentication import check_credentials, open_links
from chronoduck.auth.admin_token import AdminToken
from chronoduck.auth.key_file import KeyFile
from chronoduck.auth.keys import KeyWish
from chronoduck.auth.signed_links import SignedLinks
from chronoduck.errors import AuthenticationError, DatabasePermissionError
from chronoduck.principals import Role
from chronoduck.settings import Settings

LATER = 4_000_000_000


@contextmanager
def a_full_disk(room: int = 0) -> Iterator[None]:
    """Let no file of this process grow beyond so many bytes, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def sign(path: Path) -> object:
    return SignedLinks(path).sign(["job", "file"], LATER)


def issue(path: Path) -> object:
    return KeyFile(path).add(KeyWish("a", Role.VIEWER), time.time())


@pytest.mark.parametrize("make", [sign, AdminToken.load_or_create, issue])
@pytest.mark.parametrize("room", [0, 7])
def test_a_full_disk_leaves_no_secret_and_the_next_try_makes_one(
    tmp_path: Path, make: Callable[[Path], object], room: int
) -> None:
    path = tmp_path / "secret"
    with a_full_disk(room), pytest.raises(DatabasePermissionError):
        make(path)
    assert [file.name for file in tmp_path.iterdir() if file.name != "secret.lock"] == []
    make(path)
    assert path.stat().st_size >= 32
    assert path.stat().st_mode & 0o777 == 0o600


def test_checking_a_link_never_makes_the_key(tmp_path: Path) -> None:
    links = SignedLinks(tmp_path / "links.key")
    for token in ("a.b", "", ".", "é.é", "a.\udc80"):
        with pytest.raises(AuthenticationError):
            links.check(token, 0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"\n", b"short", b"x" * 31])
def test_a_short_key_signs_and_checks_nothing(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "links.key"
    path.touch(mode=0o600)
    path.write_bytes(content)
    links = SignedLinks(path)
    with pytest.raises(DatabasePermissionError, match=r"is empty|has .* bytes") as refused:
        links.check_key()
    assert f"delete {path}" in str(refused.value.hint)
    for use in (lambda: links.sign(["x"], LATER), lambda: links.check("a.b", 0)):
        with pytest.raises((DatabasePermissionError, AuthenticationError)) as caught:
            use()
        assert str(path) not in f"{caught.value} {caught.value.hint}"
    assert path.read_bytes() == content


def test_a_signed_link_is_what_it_was(tmp_path: Path) -> None:
    links = SignedLinks(tmp_path / "links.key")
    assert links.check(links.sign(["job", "file"], LATER), 0) == ["job", "file"]


@pytest.mark.parametrize("name", ["token_path", "links"])
def test_a_start_refuses_an_empty_secret_and_says_what_to_do(settings: Settings, name: str) -> None:
    path = settings.token_path if name == "token_path" else settings.jobs_path / "links.key"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    with pytest.raises(DatabasePermissionError, match="is empty") as caught:
        check_credentials(settings)
    assert f"delete {path}" in str(caught.value.hint)
    path.unlink()
    check_credentials(settings)
    open_links(settings).check_key()
