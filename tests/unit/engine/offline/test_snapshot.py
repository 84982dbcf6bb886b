"""One function copies a database: what the copy holds is what DuckDB itself makes of the files."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from chronoduck.engine.disk_format import HEADER_BYTES
from chronoduck.engine.offline import copy_database, join_wal, side_files, snapshot
from chronoduck.errors import DamagedLogError
from tests.damaged_wal import count_rows, crash, crash_in_checkpoint

BASE = ["CREATE TABLE t(a INTEGER)", "INSERT INTO t VALUES (0)", "CHECKPOINT"]
FIRST = ["INSERT INTO t VALUES (1)", "INSERT INTO t VALUES (2)"]
SECOND = ["INSERT INTO t VALUES (3)", "INSERT INTO t VALUES (4)"]


def copied(database: Path) -> list[int]:
    target = database.with_name("copy.db")
    copy_database(database, target)
    assert not any(path.exists() for path in side_files(target)[1:])
    return count_rows(target)


@pytest.mark.parametrize("abort", ["none", "before_header", "before_truncate"])
def test_a_copy_of_a_killed_service_holds_each_row_once(tmp_path: Path, abort: str) -> None:
    database = tmp_path / "a.db"
    if abort == "none":
        crash(database, [*BASE, *FIRST])
    else:
        crash_in_checkpoint(database, [*BASE, *FIRST], abort)
    assert side_files(database)[0].exists()
    assert copied(database) == [0, 1, 2] == count_rows(database)


@pytest.mark.parametrize("has_header", [True, False])
def test_what_committed_during_a_checkpoint_that_was_killed_is_in_the_copy(
    tmp_path: Path, has_header: bool
) -> None:
    # The WAL of the next checkpoint, which is what DuckDB names `.wal.checkpoint` until it is done.
    later = tmp_path / "later.db"
    crash(later, [*BASE, *FIRST])
    identity = shutil.copy(later, tmp_path / "a.db")
    shutil.copy(side_files(later)[0], tmp_path / "a.db.wal")
    crash(later, ["CHECKPOINT", *SECOND])
    database = Path(identity)
    crash_in_checkpoint(database, [], "before_truncate" if has_header else "before_header")
    shutil.copy(side_files(later)[0], side_files(database)[1])
    assert copied(database) == [0, 1, 2, 3, 4] == count_rows(database)


def test_a_second_wal_that_no_checkpoint_entry_leads_to_does_not_count() -> None:
    assert join_wal(b"", b"anything", None) == b""


def test_a_copy_is_refused_when_transactions_behind_damage_would_be_missing(
    tmp_path: Path,
) -> None:
    database = tmp_path / "a.db"
    crash(database, [*BASE, *FIRST, *SECOND])
    wal = side_files(database)[0]
    data = bytearray(wal.read_bytes())
    data[-120] ^= 1
    wal.write_bytes(data)
    with pytest.raises(DamagedLogError, match=r"at least [1-9]"):
        copy_database(database, tmp_path / "copy.db")


def test_free_blocks_beyond_the_end_of_the_file_spare_no_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = tmp_path / "a.db"
    crash(database, BASE)
    side_files(database)[0].unlink(missing_ok=True)
    size = database.stat().st_size
    # A checkpoint lists blocks as free, and cuts them off.
    beyond = (size - HEADER_BYTES) // snapshot.BLOCK_BYTES + 3
    monkeypatch.setattr(snapshot, "_free_blocks", lambda *_: frozenset({beyond}))
    needed: list[int] = []
    monkeypatch.setattr(snapshot, "_check_space", lambda _, size: needed.append(size))
    copy_database(database, tmp_path / "copy.db", skips_free=True)
    assert needed == [size]
