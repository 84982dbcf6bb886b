"""What is read of the WAL: kinds of entries, positions for a prover, and DuckDB's locks left alone."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from chronoduck.engine.disk_format import version_end
from chronoduck.engine.disk_format.wal_entries import WalWork, walk
from chronoduck.engine.wal_watch import WalWatch

MANY = 200_000
"""Rows that DuckDB writes past the WAL."""


class Database:
    def __init__(self, path: Path, version: str | None) -> None:
        self.path = path
        config = {"wal_autocheckpoint": "1TB"}
        if version is not None:
            config["storage_compatibility_version"] = version
        self.connection = duckdb.connect(str(path), config=config)
        self.indexed = {"keyed"}
        self.watch = WalWatch(path, lambda schema, name: name in self.indexed)

    def run(self, *statements: str) -> None:
        for statement in statements:
            self.connection.execute(statement).fetchall()


@pytest.fixture(params=[None, "v1.5.0"])
def database(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Database]:
    database = Database(tmp_path / "a.db", request.param)
    database.run(
        "CREATE TABLE plain (a BIGINT, b VARCHAR)",
        "CREATE TABLE keyed (a BIGINT, b VARCHAR)",
        "CREATE SEQUENCE numbers",
        "CHECKPOINT",
    )
    yield database
    database.connection.close()
    database.watch.close()


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO plain VALUES (1, 'x')",
        "INSERT INTO plain VALUES (nextval('numbers'), 'x')",
        f"INSERT INTO plain SELECT range, 'x' FROM range({MANY})",
        "INSERT INTO keyed SELECT range, 'x' FROM range(5000)",
        "UPDATE plain SET b = 'y'",
        "DELETE FROM plain",
    ],
)
def test_plain_changes_of_rows_need_no_proof(database: Database, statement: str) -> None:
    database.run("INSERT INTO plain SELECT range, 'x' FROM range(10)", statement)
    assert database.watch.look() is None


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE t (a INTEGER)",
        "CREATE TABLE t AS SELECT 1 AS a",
        "CREATE SCHEMA s",
        "CREATE VIEW v AS SELECT 1",
        "CREATE MACRO m(x) AS x",
        "CREATE TYPE e AS ENUM ('a')",
        "CREATE INDEX i ON plain (a)",
        "CREATE SEQUENCE s",
        "ALTER TABLE plain ADD COLUMN c INTEGER",
        "COMMENT ON TABLE plain IS 'x'",
        "DROP TABLE keyed",
        f"INSERT INTO keyed SELECT range, 'x' FROM range({MANY})",
    ],
)
def test_all_else_needs_one_until_it_is_settled(database: Database, statement: str) -> None:
    database.run("INSERT INTO plain VALUES (1, 'x')", statement)
    suspect = database.watch.look()
    assert suspect is not None
    position = database.watch.position(suspect)
    assert position is not None
    assert position.offset == database.path.with_name("a.db.wal").stat().st_size
    database.run("INSERT INTO plain (a) VALUES (2)")
    again = database.watch.look()
    assert again is not None
    assert again.end == suspect.end
    database.watch.settle(suspect)
    assert database.watch.look() is None
    assert suspect.is_settled


def test_a_checkpoint_settles_what_it_took_into_the_file(database: Database) -> None:
    database.run("CREATE TABLE t (a INTEGER)")
    suspect = database.watch.look()
    assert suspect is not None
    database.run("CHECKPOINT", "INSERT INTO plain VALUES (1, 'x')")
    assert database.watch.look() is None
    assert suspect.is_settled


def test_positions_name_the_checkpoint_that_the_header_counts(database: Database) -> None:
    database.run("INSERT INTO plain VALUES (1, 'x')", "CHECKPOINT", "CREATE TABLE t (a INTEGER)")
    suspect = database.watch.look()
    assert suspect is not None
    position = database.watch.position(suspect)
    assert position is not None
    read = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; from chronoduck.engine.disk_format.database_file import read_header;"  # noqa: ISC004
            "print(read_header(open(sys.argv[1], 'rb').read(12288)).iteration)",
            str(database.path),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert position.iteration == int(read.stdout) > 0


def test_duckdb_keeps_its_locks(database: Database) -> None:
    def locks() -> int:
        lines = Path("/proc/locks").read_text().splitlines()
        return sum(f" {os.getpid()} " in line for line in lines)

    database.run("CREATE TABLE t (a INTEGER)")
    before = locks()
    for number in range(3):
        suspect = database.watch.look()
        assert suspect is not None
        assert database.watch.position(suspect) is not None
        assert locks() == before
        database.run("CHECKPOINT")
        assert database.watch.look() is None
        database.run(f"CREATE TABLE t{number} (a INTEGER)")
    other = subprocess.run(
        [sys.executable, "-c", f"import duckdb; duckdb.connect({str(database.path)!r})"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "lock" in other.stderr


def test_counts_are_those_of_the_statements(database: Database) -> None:
    database.run(
        "INSERT INTO plain SELECT range, 'x' FROM range(5000)",
        "UPDATE plain SET b = 'y' WHERE a < 3000",
        "DELETE FROM plain WHERE a < 700",
    )
    data = database.path.with_name("a.db.wal").read_bytes()
    work = WalWork()
    for size in (*range(0, len(data), 997), len(data)):  # as it grows, cut anywhere
        walk(lambda offset, count: data[offset : offset + count], size, work)
    assert work.offset == len(data)
    assert work.transactions == 3
    assert (work.rows_inserted, work.rows_updated, work.rows_deleted) == (5000, 3000, 700)
    assert work.replay_seconds > 0


def test_a_checkpoint_that_renames_its_wal_meanwhile_hides_no_transaction(tmp_path: Path) -> None:
    """What was committed beside a checkpoint moves from one name to the other between two looks."""
    source = Database(tmp_path / "source.db", None)
    source.run("CREATE TABLE t (a INTEGER)", "CHECKPOINT", "INSERT INTO t VALUES (1)")
    rows = source.path.with_name("source.db.wal").read_bytes()
    source.run("CHECKPOINT", "CREATE TABLE u (a INTEGER)")
    ddl = source.path.with_name("source.db.wal").read_bytes()
    wal, second = tmp_path / "a.db.wal", tmp_path / "a.db.wal.checkpoint"
    (tmp_path / "a.db").touch()
    for number in range(300):
        wal.unlink(missing_ok=True)
        wal.write_bytes(rows)
        watch = WalWatch(tmp_path / "a.db", lambda schema, name: False)
        assert watch.look() is None
        second.write_bytes(ddl)
        ready = threading.Event()

        def end_checkpoint(ready: threading.Event = ready, pause: int = number) -> None:
            ready.set()
            for _ in range(pause):
                pass
            second.rename(wal)

        checkpoint = threading.Thread(target=end_checkpoint)
        checkpoint.start()
        ready.wait()
        suspect = watch.look()
        checkpoint.join()
        assert suspect is not None, number
        assert not suspect.is_settled
        watch.close()
    source.connection.close()


@pytest.mark.parametrize("length", ["shorter", "equal", "longer"])
def test_what_comes_in_place_of_a_transaction_that_was_cut_off_is_not_proven_yet(
    tmp_path: Path, length: str
) -> None:
    """DuckDB cuts a transaction off whose sync failed; somebody may have had it proven before."""
    source = Database(tmp_path / "a.db", None)
    source.run("CREATE TABLE t (a INTEGER)", "CHECKPOINT", "INSERT INTO t VALUES (1)")
    wal = tmp_path / "a.db.wal"
    kept = wal.stat().st_size
    source.run("CREATE TABLE some_name (a INTEGER)")
    suspect = source.watch.look()
    assert suspect is not None
    source.watch.settle(suspect)
    other = Database(tmp_path / "b.db", None)  # a WAL names its database
    columns = ", ".join(f"c{n} INTEGER" for n in range(20)) if length == "longer" else "a INTEGER"
    other.run(f"CREATE TABLE {'next_name' if length == 'equal' else 'n'} ({columns})")
    data = (tmp_path / "b.db.wal").read_bytes()
    os.truncate(wal, kept)
    with wal.open("ab") as file:
        file.write(data[version_end(data) :])
    size = wal.stat().st_size
    assert length == (
        "equal" if size == suspect.end else "shorter" if size < suspect.end else "longer"
    )
    again = source.watch.look()
    assert again is not None
    assert again.end == wal.stat().st_size
    source.connection.close()
    other.connection.close()
