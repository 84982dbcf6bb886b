"""A directory that is deleted as a whole: only one that a shadow made."""

from __future__ import annotations

from pathlib import Path

import pytest

from chronoduck.shadow import owned_directory


def test_what_an_earlier_shadow_left_goes_and_the_mode_is_private(tmp_path: Path) -> None:
    path = tmp_path / "a.shadow"
    owned_directory.create(path)
    (path / "a.db").write_text("old")
    owned_directory.create(path)
    assert not (path / "a.db").exists()
    assert path.stat().st_mode & 0o777 == 0o700


def test_what_no_shadow_made_stays(tmp_path: Path) -> None:
    path = tmp_path / "a.shadow"
    path.mkdir()
    (path / "mine").write_text("mine")
    owned_directory.remove(path)
    with pytest.raises(FileExistsError):
        owned_directory.create(path)
    assert (path / "mine").read_text() == "mine"


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    other = tmp_path / "other"
    owned_directory.create(other)
    (tmp_path / "a.shadow").symlink_to(other)
    owned_directory.remove(tmp_path / "a.shadow")
    assert other.exists()


def test_a_successors_directory_is_not_taken_away(tmp_path: Path) -> None:
    path = tmp_path / "a.shadow"
    owned_directory.create(path)
    (path / "chronoduck-shadow").write_text("1")
    owned_directory.remove_own(path)
    assert path.exists()
