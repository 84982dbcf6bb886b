"""What a checkpoint is expected to write, beside what DuckDB then writes."""

from __future__ import annotations

import errno
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import duckdb
import pytest

from chronoduck.engine import checkpoint_room
from chronoduck.engine.checkpoint_room import CheckpointRoom, LoggedRows, written_bytes
from tests.patience import PATIENCE_SECONDS

BLOCK = 262_144
LISTS = 4 * BLOCK
"""Room for lists of what is where: they are written in whole blocks."""
ROWS = 1_000_000
CHANGES = {
    "the oldest half": f"DELETE FROM t WHERE i < {ROWS // 2}",
    "the newest half": f"DELETE FROM t WHERE i >= {ROWS // 2}",
    "every second row": "DELETE FROM t WHERE i % 2 = 0",
    "two of three rows": "DELETE FROM t WHERE i % 3 > 0",
    "a tenth of each": "DELETE FROM t WHERE i % 10 = 0",
    "every second in the middle": "DELETE FROM t WHERE i % 2 = 0 AND i BETWEEN 300000 AND 700000",
    "all but one": "DELETE FROM t WHERE i <> 700000",
    "a few new rows": "INSERT INTO t SELECT i, sha256(i::VARCHAR) FROM range(1000) r(i)",
    "a dropped table": "DROP TABLE other",
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_checkpoint_writes_no_more_than_was_expected(tmp_path: Path, change: str) -> None:
    path, wal = tmp_path / "a.db", tmp_path / "a.db.wal"
    with duckdb.connect(str(path), config={"checkpoint_threshold": "1TB"}) as connection:
        connection.execute(
            f"CREATE TABLE t AS SELECT i, sha256(i::VARCHAR) v FROM range({ROWS}) r(i)"
        )
        connection.execute("CREATE TABLE other AS SELECT hash(i) h FROM range(300_000) r(i)")
        connection.execute("CHECKPOINT")
        row = connection.execute(change).fetchone()
        count = int(row[0]) if row else 0
        rows = LoggedRows(deleted=count if change.startswith("DELETE") else 0)
        found = connection.execute(
            "SELECT used_blocks, free_blocks FROM pragma_database_size()"
        ).fetchone()
        assert found is not None
        used, free = found
        assert free == 0
        expected = written_bytes(connection, wal.stat().st_size, rows, used * BLOCK)
        before = path.stat().st_size
        connection.execute("CHECKPOINT")
        assert expected is not None
        # The file has no free block: whatever is written makes it grow, before it is cut.
        assert path.stat().st_size - before <= expected + LISTS
        if "half" in change or change.startswith(("DROP", "INSERT")):
            assert (
                expected < used * BLOCK / 2
            )  # not all of it: else nobody gets out below the floor


class Volume:
    """A small database on a volume with as much space as a test says."""

    def __init__(self, path: Path) -> None:
        self.connection = duckdb.connect(str(path))
        self.connection.execute(
            "CREATE TABLE t AS SELECT range a, hash(range) b FROM range(300000)"
        )
        self.connection.execute("CHECKPOINT")
        self.instance: Any = SimpleNamespace(
            settings=SimpleNamespace(disk_floor=30_000_000, database_path=path),
            cursor=self.connection.cursor,
            generation=1,
        )
        self.room = CheckpointRoom(self.instance, lambda: LoggedRows(updated=5))


@pytest.fixture
def volume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Volume]:
    monkeypatch.setattr(checkpoint_room, "_free_on_volume", lambda instance: 1_000_000)
    volume = Volume(tmp_path / "a.db")
    yield volume
    volume.connection.close()


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1",
        "CREATE TABLE mine (rowid VARCHAR)",
        'CREATE TABLE mine ("RowID" STRUCT(a INTEGER))',
        'CREATE TABLE mine (a INTEGER, "ROWID" INTEGER GENERATED ALWAYS AS (a + 1))',
        'CREATE TABLE "rowid" (a INTEGER)',
        'CREATE TABLE "a""b\'c.{}" (a INTEGER)',
    ],
)
def test_no_table_of_a_user_makes_a_checkpoint_fit(volume: Volume, sql: str) -> None:
    volume.connection.execute(sql)
    assert not volume.room.fits(5_000_000)
    assert volume.room.fits(1000)  # and none keeps a small one off that does fit


def test_a_column_called_rowid_makes_no_row_groups(volume: Volume) -> None:
    volume.connection.execute("CREATE TABLE mine AS SELECT range * 122880 rowid FROM range(200000)")
    looked = written_bytes(Watched(volume.connection), 1000, LoggedRows(), 10**6)  # type: ignore[arg-type]
    assert looked is not None


class Watched:
    """A connection that refuses to have anything grouped by a user's column."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection

    def execute(self, sql: str) -> duckdb.DuckDBPyConnection:
        assert "GROUP BY rowid" not in sql or '"mine"' not in sql
        return self._connection.execute(sql)


def test_a_look_that_fails_says_that_there_is_no_room(
    volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = []

    def fail(*_: object) -> None:
        looks.append(1)
        raise duckdb.CatalogException("Table with name gone does not exist!")

    monkeypatch.setattr(checkpoint_room, "_tables_written", fail)
    assert not volume.room.fits(5_000_000)
    assert not volume.room.fits(5_000_000)
    assert len(looks) == 1  # not again at once

    def unreadable(instance: object) -> int:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(checkpoint_room, "_free_on_volume", unreadable)
    assert not volume.room.fits(5_000_000)


def test_a_look_is_interrupted_and_only_one_runs(
    volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    endless = "SELECT sum(a.range * b.range) FROM range(10000000) a, range(10000000) b"
    began = threading.Event()

    def look(connection: duckdb.DuckDBPyConnection) -> None:
        began.set()
        connection.execute(endless).fetchall()

    monkeypatch.setattr(checkpoint_room, "_tables_written", look)
    answers: list[bool] = []
    first = threading.Thread(
        target=lambda: answers.append(volume.room.fits(5_000_000)), daemon=True
    )
    first.start()
    assert began.wait(PATIENCE_SECONDS)
    assert not volume.room.fits(6_000_000)
    first.join(PATIENCE_SECONDS)
    assert answers == [False]


def test_a_rescue_needs_only_the_space_of_the_wal(volume: Volume) -> None:
    assert not volume.room.fits(900_000)
    assert volume.room.fits(900_000, is_rescue=True)
    assert not volume.room.fits(50_000_000, is_rescue=True)
