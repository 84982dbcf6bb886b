"""A start over files that DuckDB does not open: by another way, with leave, or not at all."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import time
from pathlib import Path

import duckdb
import pytest

from chronoduck.engine.disk_format import transaction_ends
from chronoduck.engine.offline import side_files
from tests.damaged_wal import count_rows, crash, make_unreplayable, rename_in_wal
from tests.patience import PATIENCE_SECONDS
from tests.server import Server, free_port, run_cli, settled_text

pytestmark = pytest.mark.slow

BUG = Path(__file__).with_name("engine_bug")
SECONDS = 90.0
"""A start by another way takes several processes."""


def bug(limit: int, who: str) -> dict[str, object]:
    return {"PYTHONPATH": BUG, "CHRONODUCK_TEST_BUG": f"{limit}:{who}"}


def files(directory: Path) -> dict[str, bytes]:
    names = ("test.db", "test.db.wal")
    return {name: (directory / name).read_bytes() for name in names if (directory / name).exists()}


def refused(directory: Path, **settings: object) -> str:
    result = run_cli(directory, "serve", DUCKDB_PORT=free_port(), **settings)
    assert result.returncode == 74, result.stderr
    assert result.stderr.count("error:") == 1, result.stderr
    return " ".join(result.stderr.split())


def test_a_wal_that_replay_rejects_costs_what_it_must_and_only_with_leave(tmp_path: Path) -> None:
    database = tmp_path / "test.db"
    make_unreplayable(database, 3, 2)
    before = files(tmp_path)
    said = refused(tmp_path)
    assert "first 3 of 5 transactions" in said
    assert "DUCKDB_QUARANTINE_WAL" in said
    assert "chronoduck recover`" not in said.partition("what to do:")[2].partition("Or")[0]
    assert files(tmp_path) == before
    server = Server(tmp_path, DUCKDB_QUARANTINE_WAL="true").start(SECONDS)
    with_rows = server.query("SELECT a FROM t ORDER BY a")
    assert with_rows == [[0], [1], [2], [3]]
    server.query("INSERT INTO t VALUES (100)")
    assert server.stop() == 0
    server.__exit__()
    log = settled_text(tmp_path / "server.log")
    event = next(json.loads(line) for line in log.splitlines() if "log_quarantined" in line)
    assert (event["kept_transactions"], event["lost_transactions"]) == (3, 2)
    assert before["test.db.wal"].endswith(Path(event["file"]).read_bytes())
    assert count_rows(database) == [0, 1, 2, 3, 100]


def test_a_wal_that_kills_every_process_ends_the_start_with_74_and_changes_nothing(
    tmp_path: Path,
) -> None:
    database = tmp_path / "test.db"
    crash(database, ["CREATE TABLE t(a INTEGER)", "CHECKPOINT", "INSERT INTO t VALUES (1)"])
    size = side_files(database)[0].stat().st_size
    crash(database, ["INSERT INTO t VALUES (2)"])
    before = files(tmp_path)
    said = refused(tmp_path, **bug(size, "chronoduck"))
    assert "SIGSEGV" in said
    assert files(tmp_path) == before


def test_a_wal_that_kills_only_the_server_is_opened_by_the_next_one_another_way(
    tmp_path: Path,
) -> None:
    database = tmp_path / "test.db"
    crash(database, ["CREATE TABLE t(a INTEGER)", "CHECKPOINT", "INSERT INTO t VALUES (1)"])
    server = Server(tmp_path, **bug(0, "serve")).start(SECONDS)
    assert server.query("SELECT a FROM t") == [[1]]
    assert server.stop() == 0
    server.__exit__()
    assert not (tmp_path / "test.db.opening").exists()
    assert "database_opened_by_another_way" in settled_text(tmp_path / "server.log")


def test_a_start_right_after_the_supervisor_was_killed_waits_for_its_server(
    tmp_path: Path,
) -> None:
    server = Server(tmp_path).start()
    server.query("CREATE TABLE t AS SELECT 1 AS a")
    pid = server.server_pid
    os.kill(pid, signal.SIGSTOP)  # a process that takes its time to end
    server.process.kill()
    server.process.wait()
    with server:
        assert server.query("FROM t") == [[1]]


# --- DUCKDB_AUTO_RECOVER ----------------------------------------------------------------------


def replicated(directory: Path, *, rows: int = 5) -> Server:
    """Return a killed server with rows in its WAL that are all in the replica."""
    server = Server(
        directory,
        DUCKDB_REPLICA_URL=directory / "replica",
        DUCKDB_REPLICA_INTERVAL="100ms",
        DUCKDB_AUTO_RECOVER="true",
    ).start()
    server.query("CREATE TABLE t(a INTEGER)")
    server.query("CHECKPOINT")
    for number in range(rows):
        server.query(f"INSERT INTO t VALUES ({number})")
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end:
        with server.client() as client:
            status = client.get("/replication").json()
        if status["transactions"] >= rows and not status["lag_bytes"]:
            break
        time.sleep(0.1)
    server.kill()
    # Its replicator ships the rest before it ends; and writes where the replica is meanwhile.
    with (directory / "test.db.replicator.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
    return server


@pytest.mark.parametrize("loss", ["file", "file and wal", "header", "magic", "empty", "wal"])
def test_what_the_replica_has_whole_is_restored_by_itself(tmp_path: Path, loss: str) -> None:
    server = replicated(tmp_path)
    database = tmp_path / "test.db"
    if loss.startswith("file"):
        database.unlink()
    if loss == "file and wal":
        side_files(database)[0].unlink()
    if loss == "header":
        data = bytearray(database.read_bytes())
        data[100] ^= 1
        database.write_bytes(data)
    if loss == "magic":
        with database.open("r+b") as file:
            file.write(bytes(4096))
    if loss == "empty":
        os.truncate(database, 0)
    if loss == "wal":
        wal = side_files(database)[0]
        data = bytearray(wal.read_bytes())
        data[-120] ^= 1
        wal.write_bytes(data)
    aside = {} if loss.startswith("file") else files(tmp_path)
    try:
        server.start(SECONDS)
        assert server.query("SELECT a FROM t ORDER BY a") == [[number] for number in range(5)]
    finally:
        server.__exit__()
    kept = {path.read_bytes() for path in tmp_path.glob("test.db*.corrupt-*")}
    assert set(aside.values()) <= kept


def test_a_file_that_was_never_this_replicas_database_is_not_replaced(tmp_path: Path) -> None:
    server = replicated(tmp_path)
    server.__exit__()
    other = tmp_path / "notes.txt"
    other.write_text("not a database, and the only copy")
    other.chmod(0o640)
    result = run_cli(
        tmp_path,
        "serve",
        DUCKDB_DATABASE_PATH=other,
        DUCKDB_PORT=free_port(),
        DUCKDB_REPLICA_URL=tmp_path / "replica",
        DUCKDB_AUTO_RECOVER="true",
    )
    said = " ".join(result.stderr.split())
    assert result.returncode == 65, said
    assert "Check DUCKDB_DATABASE_PATH" in said
    assert other.read_text() == "not a database, and the only copy"
    assert not list(tmp_path.glob("*corrupt*"))


def test_a_damaged_file_that_has_seen_more_checkpoints_than_the_replica_is_not_replaced(
    tmp_path: Path,
) -> None:
    server = replicated(tmp_path)
    database = tmp_path / "test.db"
    crash(database, ["INSERT INTO t VALUES (5)", "CHECKPOINT"])  # this was never shipped
    with database.open("r+b") as file:
        file.write(bytes(4096))
    before = files(tmp_path)
    result = run_cli(
        tmp_path,
        "serve",
        DUCKDB_PORT=free_port(),
        DUCKDB_REPLICA_URL=tmp_path / "replica",
        DUCKDB_AUTO_RECOVER="true",
    )
    server.__exit__()
    assert result.returncode == 74, result.stderr
    assert "checkpoint" in result.stderr
    assert files(tmp_path) == before


@pytest.mark.parametrize("loss", ["file", "header"])
@pytest.mark.skipif(duckdb.__version__ < "2", reason="DuckDB 1.5 does not write whose WAL it is")
def test_a_wal_of_which_nothing_was_shipped_yet_is_added_to_its_checkpoint(
    tmp_path: Path, loss: str
) -> None:
    server = replicated(tmp_path, rows=0)
    server.__exit__()
    database = tmp_path / "test.db"
    crash(database, [f"INSERT INTO t VALUES ({number})" for number in range(3)])
    if loss == "file":
        database.unlink()
    else:
        with database.open("r+b") as file:
            file.write(bytes(4096))
    given = {"DUCKDB_REPLICA_URL": tmp_path / "replica"}
    recovered = run_cli(tmp_path, "recover", "--json", **given)
    assert recovered.returncode == 0, recovered.stderr
    assert json.loads(recovered.stdout)["from_local_log"] == 3
    assert count_rows(database) == [0, 1, 2]


@pytest.mark.parametrize("is_there", [True, False])
def test_quarantine_never_leaves_out_what_the_replica_holds(tmp_path: Path, is_there: bool) -> None:
    server = replicated(tmp_path)
    server.__exit__()
    database, store = tmp_path / "test.db", tmp_path / "replica"
    wal = side_files(database)[0]
    ends = transaction_ends(wal.read_bytes())
    data = bytearray(wal.read_bytes())
    data[ends[2] + 30] ^= 1  # in the fourth of five transactions, all of them shipped
    wal.write_bytes(data)
    if not is_there:
        store.rename(tmp_path / "away")
    before = files(tmp_path)
    given = {"DUCKDB_REPLICA_URL": store}
    said = refused(tmp_path, DUCKDB_QUARANTINE_WAL="true", **given)
    assert "first 3 of 5 transactions" in said
    assert str(store) in said
    assert "chronoduck recover`: it restores what the replica holds" in said
    assert files(tmp_path) == before
    if not is_there:
        (tmp_path / "away").rename(store)
    assert run_cli(tmp_path, "recover", **given).returncode == 0
    assert count_rows(database) == list(range(5))


def test_quarantine_leaves_out_what_was_never_shipped(tmp_path: Path) -> None:
    server = replicated(tmp_path)
    server.__exit__()
    database = tmp_path / "test.db"
    crash(database, [f"INSERT INTO t VALUES ({number})" for number in (5, 6, 7)])
    wal = side_files(database)[0]
    data = bytearray(wal.read_bytes())
    data[transaction_ends(bytes(data))[5] + 30] ^= 1  # rows 6 and 7 are behind
    wal.write_bytes(data)
    given = {"DUCKDB_REPLICA_URL": tmp_path / "replica", "DUCKDB_QUARANTINE_WAL": "true"}
    server = Server(tmp_path, **given).start(SECONDS)
    assert server.query("SELECT a FROM t ORDER BY a") == [[number] for number in range(6)]
    assert server.stop() == 0
    server.__exit__()


@pytest.mark.parametrize("has_replica", [True, False])
def test_what_a_start_says_about_a_lost_file_brings_every_row_back(
    tmp_path: Path, has_replica: bool
) -> None:
    server = replicated(tmp_path)
    server.__exit__()
    database = tmp_path / "test.db"
    crash(database, [f"INSERT INTO t VALUES ({number})" for number in (5, 6)])  # not shipped
    database.unlink()
    before = files(tmp_path)
    given = {"DUCKDB_REPLICA_URL": tmp_path / "replica"} if has_replica else {}
    result = run_cli(tmp_path, "serve", DUCKDB_PORT=free_port(), **given)
    said = " ".join(result.stderr.split())
    assert result.returncode == 65, said
    assert "leave the .wal where it is and run `chronoduck recover`" in said
    assert "7 transactions" in said
    assert files(tmp_path) == before
    if has_replica:
        assert run_cli(tmp_path, "recover", **given).returncode == 0
        assert count_rows(database) == list(range(7))


def test_a_database_whose_wal_holds_more_than_the_replica_is_not_replaced(tmp_path: Path) -> None:
    server = replicated(tmp_path)
    database = tmp_path / "test.db"
    crash(database, ["CREATE TABLE evil(a INTEGER)", "CHECKPOINT", "INSERT INTO evil VALUES (1)"])
    rename_in_wal(database, b"evil", b"evix")
    data = bytearray(database.read_bytes())
    data[100] ^= 1  # neither the file nor its WAL can be opened now
    database.write_bytes(data)
    before = files(tmp_path)
    result = run_cli(
        tmp_path,
        "serve",
        DUCKDB_PORT=free_port(),
        DUCKDB_REPLICA_URL=tmp_path / "replica",
        DUCKDB_AUTO_RECOVER="true",
    )
    said = " ".join(result.stderr.split())
    assert result.returncode in (65, 74), said
    assert files(tmp_path) == before
    assert not list(tmp_path.glob("*corrupt*"))
    server.__exit__()
