"""A transaction that stands behind the entry of a failed checkpoint is committed, and is there."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from chronoduck.assembly import DuckDBService
from chronoduck.engine.database import DuckDBInstance
from chronoduck.engine.disk_format import (
    WalCursor,
    read_wal,
    transaction_ends,
    version_end,
    without_failed_checkpoints,
)
from chronoduck.engine.offline import (
    Transactions,
    copy_database,
    drop_failed_checkpoints,
    replayed_wal,
    side_files,
)
from chronoduck.engine.quarantine import check_log
from chronoduck.settings import Settings
from chronoduck.shadow.held_wal import HeldWal
from tests.damaged_wal import (
    checkpoint_entry,
    count_rows,
    crash,
    crash_in_checkpoint,
    leave_failed_checkpoint,
)
from tests.fault.test_engine_failures import provoke_fatal_error

BASE = ["CREATE TABLE t(a INTEGER)", "INSERT INTO t VALUES (0)", "CHECKPOINT"]
TRANSACTIONS = [f"INSERT INTO t VALUES ({n})" for n in range(1, 6)]
TORN = [0, 1, 16, 39, 45, 59]


@pytest.fixture
def entry(tmp_path: Path) -> bytes:
    found = checkpoint_entry(tmp_path)
    assert len(found) > max(TORN)
    return found


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "a.db"
    crash(path, [*BASE, *TRANSACTIONS])
    return path


def test_what_a_failed_checkpoint_left_is_taken_out(database: Path, entry: bytes) -> None:
    wal = side_files(database)[0]
    for torn, behind in itertools.product(range(len(entry)), range(1, 5)):
        data = leave_failed_checkpoint(database, entry, torn, behind)
        assert without_failed_checkpoints(wal.read_bytes()) == data
        wal.write_bytes(data)


@pytest.mark.parametrize("torn", [0, 16, 45])
def test_several_of_them_are_taken_out(database: Path, entry: bytes, torn: int) -> None:
    wal = side_files(database)[0]
    data = wal.read_bytes()
    for behind in (1, 2, 3):
        place = transaction_ends(data)[-1 - behind]
        content = wal.read_bytes()
        wal.write_bytes(content[:place] + entry[:torn] + entry + content[place:])
    assert without_failed_checkpoints(wal.read_bytes()) == data


def test_the_entry_of_a_checkpoint_that_may_have_run_stays(database: Path, entry: bytes) -> None:
    data = side_files(database)[0].read_bytes()
    for end in range(len(entry) + 1):
        whole = data + entry[:end]
        assert without_failed_checkpoints(whole) is whole


@pytest.mark.parametrize("torn", [0, 20, 45])
async def test_a_kill_while_the_transaction_behind_it_was_written_keeps_no_start_away(
    make_settings: Callable[..., Settings], database: Path, entry: bytes, torn: int
) -> None:
    wal = side_files(database)[0]
    data = wal.read_bytes()
    place = transaction_ends(data)[-2]
    for written in (0, 1, 17, len(data) - place - 1) if torn else (1, 17, len(data) - place - 1):
        killed = data[:place] + entry[:torn] + entry + data[place : place + written]
        assert without_failed_checkpoints(killed) == data[: place + written]
    wal.write_bytes(killed)
    async with DuckDBService(make_settings(database_path=database)) as service:
        found = await service.execute_query("SELECT a FROM t ORDER BY a")
    assert [row[0] for row in found.data] == list(range(len(TRANSACTIONS)))


async def test_what_commits_after_a_checkpoint_that_did_not_happen_can_be_read(
    make_settings: Callable[..., Settings], database: Path
) -> None:
    """DuckDB 1.5 keeps the entry of a checkpoint that was killed, and goes on behind it."""
    crash_in_checkpoint(database, [], "before_header")
    wal = side_files(database)[0]
    assert read_wal(wal.read_bytes(), WalCursor()).checkpoint is not None
    async with DuckDBService(make_settings(database_path=database)) as service:
        await service.execute_query("INSERT INTO t VALUES (-1)")
        data = wal.read_bytes()
        assert read_wal(data, WalCursor()) == WalCursor(len(data), len(TRANSACTIONS) + 1)


def test_a_value_that_looks_like_one_is_a_value(tmp_path: Path, entry: bytes) -> None:
    database = tmp_path / "a.db"
    literal = "".join(f"\\x{byte:02X}" for byte in entry)
    crash(
        database,
        [
            *("CREATE TABLE b(a BLOB)", "CHECKPOINT"),
            *(f"INSERT INTO b VALUES ('{value}'::BLOB)" for value in (literal, literal * 3, "x")),
        ],
    )
    data = side_files(database)[0].read_bytes()
    assert entry in data
    assert without_failed_checkpoints(data) is data


@pytest.mark.parametrize("torn", TORN)
def test_every_reader_of_the_files_sees_each_transaction(
    database: Path, entry: bytes, torn: int
) -> None:
    wal = side_files(database)[0]
    before = leave_failed_checkpoint(database, entry, torn)
    everything = [0, *range(1, len(TRANSACTIONS) + 1)]
    check_log(database)
    held = HeldWal(wal)
    assert held.advance() + before[held.cursor.offset :] == before
    assert held.damage() is None
    held.close()
    assert replayed_wal(database) == before
    found = Transactions.of(database)
    assert (len(found.ends), found.hidden) == (len(TRANSACTIONS), 0)
    copy_database(database, database.with_name("copy.db"))
    assert count_rows(database.with_name("copy.db")) == everything
    assert drop_failed_checkpoints(database) == len(entry) + torn
    assert wal.read_bytes() == before
    assert drop_failed_checkpoints(database) == 0
    assert count_rows(database) == everything


def test_reading_stops_before_it_so_that_nothing_is_shipped_which_is_mended_later(
    database: Path, entry: bytes
) -> None:
    wal = side_files(database)[0]
    data = leave_failed_checkpoint(database, entry, 0)
    cursor = read_wal(wal.read_bytes(), WalCursor())
    assert cursor.commits == len(TRANSACTIONS) - 1
    assert data[: cursor.offset] == wal.read_bytes()[: cursor.offset]
    assert version_end(data) < cursor.offset


@pytest.mark.parametrize("torn", [0, 16, 45])
async def test_a_start_has_them(
    make_settings: Callable[..., Settings], database: Path, entry: bytes, torn: int
) -> None:
    leave_failed_checkpoint(database, entry, torn)
    settings = make_settings(database_path=database)
    service = DuckDBService(settings)
    await service.initialize()
    try:
        found = await service.execute_query("SELECT a FROM t ORDER BY a")
    finally:
        await service.shutdown()
    assert [row[0] for row in found.data] == list(range(len(TRANSACTIONS) + 1))
    assert not list(database.parent.glob("*.torn-*"))


@pytest.mark.parametrize("torn", [0, 16, 45])
async def test_so_has_the_instance_that_is_opened_again(
    service: DuckDBService,
    settings: Settings,
    entry: bytes,
    torn: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    close = DuckDBInstance._close_root

    def close_and_insert(self: DuckDBInstance) -> None:
        close(self)
        leave_failed_checkpoint(settings.database_path, entry, torn)

    await service.execute_query("CREATE TABLE late (a INTEGER)")
    await service.execute_query("CHECKPOINT")
    monkeypatch.setattr(DuckDBInstance, "_close_root", close_and_insert)
    await provoke_fatal_error(service, settings)
    monkeypatch.undo()
    assert (await service.execute_query("SELECT count(*) FROM t")).data == [(101_000,)]
    assert (await service.health_check())["healing"]["count"] == 1


_RACE = """
import json, resource, signal, sys, threading, time
import duckdb
path, extra, wait = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
c = duckdb.connect(path, config={"checkpoint_threshold": "1TB"})
c.execute("PRAGMA disable_checkpoint_on_shutdown")
c.execute("CREATE TABLE a(n BIGINT); CREATE TABLE b(s VARCHAR)")
c.execute("CHECKPOINT")
for i in range(30):
    c.execute("INSERT INTO b SELECT 'x' || range || repeat('y', 50) FROM range(2000)")
with open(path + ".wal", "rb") as wal:
    size = wal.seek(0, 2)
other, done = c.cursor(), []
def write():
    time.sleep(wait)
    try:
        other.execute("INSERT INTO a VALUES (1)")
        done.append(1)
    except duckdb.Error:
        pass
thread = threading.Thread(target=write)
most = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (size + extra, most))
thread.start()
try:
    c.execute("CHECKPOINT")
except duckdb.Error:
    pass
resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
thread.join()
print(json.dumps(len(done)), flush=True)
import os
os._exit(0)
"""


@pytest.mark.slow
@pytest.mark.parametrize("extra", [0, 30, 45])
def test_the_engine_itself_leaves_them_and_nothing_that_it_acknowledged_is_missing(
    tmp_path: Path, extra: int
) -> None:
    """The race is won by chance, so that a round without one proves nothing and fails nothing."""
    for number in range(12):
        database = tmp_path / f"{number}.db"
        done = subprocess.run(
            [sys.executable, "-c", _RACE, str(database), str(extra), str(number % 6 * 0.0003)],
            capture_output=True,
            text=True,
            check=True,
        )
        check_log(database)
        drop_failed_checkpoints(database)
        with duckdb.connect(str(database)) as connection:
            found = connection.execute("SELECT count(*) FROM a").fetchone()
        assert found is not None
        assert found[0] >= json.loads(done.stdout)
