"""Files and directories before the engine touches them."""

from pathlib import Path

import duckdb
import pytest

from chronoduck.engine.paths import (
    check_database_file,
    clear_temp_directory,
    prepare_directory,
    private_temp_directory,
    restrict_mode,
)
from chronoduck.errors import DatabaseFormatError, DatabasePermissionError


def test_a_missing_directory_is_made_with_its_mode(tmp_path: Path) -> None:
    prepare_directory(tmp_path / "a" / "b", mode=0o750, setting="X")
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o750


def test_a_world_writable_directory_is_refused_with_owner_mode_and_fix(tmp_path: Path) -> None:
    directory = tmp_path / "open"
    directory.mkdir()
    directory.chmod(0o777)
    with pytest.raises(DatabasePermissionError) as caught:
        prepare_directory(directory, mode=0o755, setting="DUCKDB_TEMP_DIRECTORY")
    assert str(directory) in caught.value.detail
    assert "0777" in caught.value.detail
    assert "owner" in caught.value.detail
    assert f"chmod 755 {directory}" in caught.value.hint


def test_a_file_in_the_place_of_a_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DatabasePermissionError):
        prepare_directory(tmp_path / "file", mode=0o750, setting="X")


def test_each_database_has_its_own_private_temp_directory(tmp_path: Path) -> None:
    one = private_temp_directory(tmp_path / "t", tmp_path / "a" / "x.db")
    two = private_temp_directory(tmp_path / "t", tmp_path / "b" / "x.db")
    assert one != two
    assert one.stat().st_mode & 0o777 == 0o700


def test_a_database_that_others_may_change_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    duckdb.connect(str(path)).close()
    path.chmod(0o646)
    with pytest.raises(DatabasePermissionError) as caught:
        check_database_file(path)
    assert "0646" in caught.value.detail
    assert f"chmod 640 {path}" in caught.value.hint
    path.chmod(0o644)  # as DuckDB makes it: opening restricts it
    check_database_file(path)


@pytest.mark.parametrize("content", [b"", b"garbage" * 1000, b"SQLite format 3\x00" + b"\x00" * 90])
def test_a_file_that_is_no_database_is_refused_and_left_alone(
    tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "a.db"
    path.write_bytes(content)
    path.chmod(0o640)
    with pytest.raises(DatabaseFormatError, match=r"is empty|is not a DuckDB database"):
        check_database_file(path)
    assert path.read_bytes() == content


@pytest.mark.parametrize("name", ["a.db.wal", "a.db.wal.checkpoint"])
def test_a_log_without_its_database_is_refused_and_stays(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(DatabaseFormatError, match="with 0 transactions: a new database") as caught:
        check_database_file(tmp_path / "a.db")
    assert "chronoduck recover" in caught.value.hint
    assert "move" not in caught.value.hint  # then the next start would begin an empty database


@pytest.mark.parametrize("damage", [b"", b"garbage" * 1000])
@pytest.mark.parametrize("name", ["a.db.wal", "a.db.replica", "a.db.engine"])
def test_a_file_that_was_a_database_is_to_be_recovered_and_not_moved(
    tmp_path: Path, name: str, damage: bytes
) -> None:
    path = tmp_path / "a.db"
    path.write_bytes(damage)
    path.chmod(0o640)
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(DatabaseFormatError) as caught:
        check_database_file(path)
    assert caught.value.hint.startswith("Leave its files where they are")
    assert "chronoduck recover`" in caught.value.hint
    assert ("a.db.wal beside it" in caught.value.detail) == (name == "a.db.wal")


def test_the_mode_of_database_and_log_is_restricted(tmp_path: Path) -> None:
    for name in ("a.db", "a.db.wal"):
        (tmp_path / name).write_bytes(b"")
        (tmp_path / name).chmod(0o646)
    restrict_mode(tmp_path / "a.db")
    assert (tmp_path / "a.db").stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "a.db.wal").stat().st_mode & 0o777 == 0o640


def test_what_a_killed_process_left_in_the_temp_directory_goes(tmp_path: Path) -> None:
    ours = private_temp_directory(tmp_path / "temp", tmp_path / "a.db")
    (ours / "spool" / "87da").mkdir(parents=True)
    for name in ("spool/87da/chunk-1", "spool/result", "duckdb_temp_block-1.block"):
        (ours / name).touch()
    (ours / "of_the_caller.parquet").touch()
    clear_temp_directory(ours)
    assert sorted(path.name for path in ours.rglob("*")) == ["of_the_caller.parquet", "spool"]
