"""The log's own database: kept, bounded, mended; nobody's failure but its own."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import duckdb
import pytest

from chronoduck.engine.query_log import QUERY_LOG_COLUMNS, QueryLogStore
from chronoduck.errors import DiskFullError, ServiceUnavailableError


def columns(count: int, at: float | None = None) -> dict[str, list[Any]]:
    """Rows that ended a microsecond apart."""
    end = int((time.time() if at is None else at) * 1e6)
    values: dict[str, list[Any]] = {name: [None] * count for name in QUERY_LOG_COLUMNS}
    values["time"] = [end + number for number in range(count)]
    values["statement"] = [f"select {number}" for number in range(count)]
    return values


def count_rows(store: QueryLogStore) -> int:
    row = store.cursor().execute("SELECT count(*) FROM chronoduck.query_log").fetchone()
    assert row is not None
    return int(row[0])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log" / "query_log.duckdb"


def opened(path: Path, keep_rows: int = 10_000, keep_days: int = 30) -> QueryLogStore:
    store = QueryLogStore(path, keep_rows, keep_days, storage_version="v1.5.0")
    store.open()
    return store


def test_rows_and_windows_outlive_a_closing(path: Path) -> None:
    store = opened(path)
    assert store.append(columns(3), [(600, "old"), (900, "a")])
    assert store.append(columns(2), [(900, "b")])
    store.close()
    store = opened(path)
    assert store.is_persistent
    assert count_rows(store) == 5
    assert store.read_windows(900) == [(900, "b")]
    assert store.read_windows(0) == [(900, "b")], "what is too old is forgotten"
    store.close()


def test_a_file_of_an_earlier_version_gets_the_columns_that_it_lacks(path: Path) -> None:
    opened(path).close()
    with duckdb.connect(str(path)) as file:
        file.execute("ALTER TABLE query_log DROP COLUMN error_type")
        file.execute("INSERT INTO query_log (time, statement) VALUES (now()::TIMESTAMP, 'old')")
    for rows in (2, 3):
        store = opened(path)
        assert store.append({**columns(1), "error_type": ["binder"]}, [])
        assert store.is_persistent
        found = store.cursor().execute("FROM chronoduck.query_log ORDER BY time")
        assert [each[0] for each in found.description] == list(QUERY_LOG_COLUMNS)
        assert [each[-1] for each in found.fetchall()] == [None, *["binder"] * (rows - 1)]
        store.close()
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_nobody_else_can_read_the_file(path: Path) -> None:
    store = opened(path)
    store.append(columns(1), [])
    for file in path.parent.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    store.close()


def test_old_rows_go_by_their_number_and_by_their_age(path: Path) -> None:
    store = opened(path, keep_rows=2_000)
    store.append(columns(10, at=time.time() - 31 * 86_400), [])
    store.prune()
    assert count_rows(store) == 0
    for _ in range(12):
        store.append(columns(500), [])
    assert count_rows(store) <= 2_000 + 1_000
    store.prune()
    newest = store.cursor().execute("SELECT count(*), max(time) FROM chronoduck.query_log")
    assert newest.fetchall()[0][0] == 2_000 + 1  # the oldest of those that are kept has company
    store.close()


def test_the_file_stays_as_large_as_what_is_kept(path: Path) -> None:
    store = opened(path, keep_rows=5_000)
    sizes = []
    for _ in range(60):
        store.append(columns(5_000), [])
        sizes.append(sum(file.stat().st_size for file in path.parent.iterdir()))
    store.close()
    assert max(sizes[30:]) < 40_000_000
    assert path.stat().st_size < 8_000_000


@pytest.mark.parametrize("damage", [b"no database at all", b"\0" * 20_000])
def test_a_damaged_file_is_set_aside(path: Path, damage: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(damage)
    store = opened(path)
    assert store.is_persistent
    assert store.append(columns(1), [])
    assert count_rows(store) == 1
    assert path.with_name("query_log.duckdb.damaged").read_bytes() == damage
    store.close()


def test_a_file_that_another_process_holds_is_left_to_it(path: Path) -> None:
    opened(path).close()
    program = (
        "import duckdb, sys; held = duckdb.connect(sys.argv[1]); print(); sys.stdout.flush(); "
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", program + "sys.stdin.read()", str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    with holder:
        holder.stdout.readline()
        store = opened(path)
        assert not store.is_persistent
        assert store.error is not None
        assert "lock" in store.error
        assert store.append(columns(2), [])
        assert count_rows(store) == 2
        holder.stdin.close()
        holder.wait()
    store._retry_at = 0.0  # a minute later
    assert store.append(columns(1), [])
    assert store.is_persistent
    assert store.error is None
    assert count_rows(store) == 3
    store.close()
    assert not path.with_name("query_log.duckdb.damaged").exists()


def test_where_no_file_can_be_made_it_goes_on_in_memory(tmp_path: Path) -> None:
    blocked = tmp_path / "a file"
    blocked.write_text("")
    store = opened(blocked / "query_log.duckdb", keep_rows=10_000_000)
    assert not store.is_persistent
    assert store.append(columns(60_000), [])
    store.prune()
    assert count_rows(store) == 50_001
    store.close()


def test_a_write_that_fails_is_told_and_the_next_one_opens_the_file_anew(path: Path) -> None:
    store = opened(path)
    store.append(columns(3), [])
    connection = store._root
    assert connection is not None
    connection.close()
    assert not store.append(columns(1), [])
    assert store.error is not None
    with pytest.raises(ServiceUnavailableError, match="query log is not open"):
        store.cursor()
    assert store.append(columns(1), [])
    assert store.error is None
    assert count_rows(store) == 4
    store.close()


def test_a_reader_of_a_failed_instance_keeps_it_from_being_opened_twice(path: Path) -> None:
    store = opened(path)
    reader = store.cursor().execute("FROM range(10_000_000)").to_arrow_reader()
    connection = store._root
    assert connection is not None
    connection.close()
    assert not store.append(columns(1), [])
    assert not store.append(columns(1), []), "two instances would spoil the file"
    del reader
    assert store.append(columns(1), [])
    store.close()


def test_readers_reach_no_file_and_no_setting(path: Path, tmp_path: Path) -> None:
    store = opened(path)
    other = tmp_path / "other.duckdb"
    duckdb.connect(str(other)).close()
    for sql in (
        f"FROM read_blob('{other}')",
        f"ATTACH '{other}'",
        f"COPY chronoduck.query_log TO '{tmp_path / 'out.csv'}'",
        "SET memory_limit = '10GB'",
        "SET enable_external_access = true",
    ):
        with pytest.raises(duckdb.Error):
            store.cursor().execute(sql).fetchall()
    assert {each.name for each in tmp_path.iterdir()} == {"log", "other.duckdb"}
    store.close()


def test_a_reader_that_takes_its_time_keeps_nobody_from_writing(path: Path) -> None:
    store = opened(path)
    store.append(columns(5_000), [])
    reader = store.cursor()
    reader.execute("BEGIN TRANSACTION READ ONLY").fetchall()
    reading = reader.execute("FROM chronoduck.query_log").to_arrow_reader(100)
    reading.read_next_batch()
    for _ in range(20):  # 10 MB, more than what is folded into the file at once
        assert store.append(columns(5_000), [])
    assert sum(batch.num_rows for batch in reading) == 4_900
    reader.execute("ROLLBACK").fetchall()
    assert store.append(columns(1), [])
    assert count_rows(store) > 10_000
    store.close()


def test_long_texts_take_no_more_than_the_space_for_them(path: Path) -> None:
    """Fails when only the number of rows bounds the file: a text may have thousands of characters."""
    space = 6_000_000  # of 60 MB
    store = QueryLogStore(path, 10**6, 30, storage_version="v1.5.0", space_bytes=space)
    start = time.time() - 1000
    for number in range(50):
        rows = columns(300, start + number)
        rows["statement"] = [os.urandom(2000).hex() for _ in range(300)]  # 1.2 MB
        assert store.append(rows, [])
        assert path.stat().st_size <= 2 * space
    assert 300 < count_rows(store) < 6000
    newest = "SELECT epoch_us(max(time)) FROM chronoduck.query_log"
    assert store.cursor().execute(newest).fetchall() == [(int((start + 49) * 1e6) + 299,)]
    store.close()


def test_below_the_floor_of_its_volume_rows_are_lost_and_told(path: Path) -> None:
    free = 10_000

    def check(count: int) -> None:
        if count > free:
            raise DiskFullError("too little is free")

    store = QueryLogStore(path, 10**6, 30, storage_version="v1.5.0", check_volume=check)
    assert store.append(columns(3), [])
    assert not store.append(columns(3000), [])
    assert store.error == "too little is free"
    assert store.append(columns(3), [])
    assert store.error is None
    assert count_rows(store) == 6
    store.close()
