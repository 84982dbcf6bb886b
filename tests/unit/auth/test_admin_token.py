"""The admin token: made once, closed to others, compared without a hint."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from chronoduck.auth.admin_token import AdminToken
from chronoduck.auth.token_file import read_token
from chronoduck.errors import AuthenticationError, DatabasePermissionError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "admin.token"


def test_the_first_start_makes_a_token_that_only_its_owner_reads(path: Path) -> None:
    token = AdminToken.load_or_create(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert token.matches(read_token(path))


def test_later_starts_keep_the_token(path: Path) -> None:
    AdminToken.load_or_create(path)
    text = path.read_text()
    assert AdminToken.load_or_create(path).matches(text.strip())
    assert path.read_text() == text


def test_two_databases_have_different_tokens(tmp_path: Path) -> None:
    tokens = set()
    for name in ("one", "two"):
        AdminToken.load_or_create(tmp_path / name)
        tokens.add(read_token(tmp_path / name))
    assert len(tokens) == 2
    assert min(map(len, tokens)) >= 43  # 256 bits


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_token_that_others_may_read_is_refused_with_the_fix(path: Path, mode: int) -> None:
    AdminToken.load_or_create(path)
    path.chmod(mode)
    with pytest.raises(DatabasePermissionError, match=f"mode {mode:04o}") as caught:
        AdminToken.load_or_create(path)
    assert f"chmod 600 {path}" in str(caught.value.hint)


def test_an_empty_file_is_no_token(path: Path) -> None:
    path.touch(mode=0o600)
    with pytest.raises(DatabasePermissionError, match="is empty"):
        AdminToken.load_or_create(path)


async def test_a_directory_in_its_place_is_no_token(path: Path) -> None:
    token = AdminToken.load_or_create(path)
    text = read_token(path)
    path.unlink()
    path.mkdir()
    await token.follow()
    assert not token.matches(text)
    with pytest.raises(DatabasePermissionError, match="is a directory"):
        AdminToken.load_or_create(path)


def test_a_directory_that_is_missing_is_told(tmp_path: Path) -> None:
    with pytest.raises(DatabasePermissionError, match="cannot be written"):
        AdminToken.load_or_create(tmp_path / "missing" / "admin.token")


def test_starts_at_the_same_time_agree(path: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        for token in threads.map(lambda _: AdminToken.load_or_create(path), range(50)):
            assert token.matches(read_token(path))
    assert [file.name for file in path.parent.iterdir()] == ["admin.token"]


def test_a_crash_while_it_is_written_leaves_no_token(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", crash)
    with pytest.raises(KeyboardInterrupt):
        AdminToken.load_or_create(path)
    assert not path.exists()
    monkeypatch.undo()
    assert AdminToken.load_or_create(path).matches(read_token(path))


@pytest.mark.parametrize("text", ["", "x", " {}", "{}x", "{}\n", "\udcff"])
def test_anything_but_the_token_is_refused(path: Path, text: str) -> None:
    token = AdminToken.load_or_create(path)
    assert not token.matches(text.replace("{}", read_token(path)))


def test_a_token_file_that_cannot_be_read_is_told(path: Path) -> None:
    with pytest.raises(AuthenticationError, match=str(path)) as caught:
        read_token(path)
    assert "CHRONODUCK_TOKEN" in str(caught.value.hint)
