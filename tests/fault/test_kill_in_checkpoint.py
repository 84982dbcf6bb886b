"""Kill -9 while a checkpoint runs and others commit: the replica gets all of it from what is left.

``CHRONODUCK_CHECKPOINT_KILLS`` sets how many (4).
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb
import pytest

from chronoduck.engine.offline import side_files
from chronoduck.replication.archive import Archive
from chronoduck.replication.envelope import Envelope
from chronoduck.replication.recovery import restore_database
from chronoduck.replication.shipper import Shipper, Step
from chronoduck.storage import MemoryBlobStore
from tests.patience import PATIENCE_SECONDS

pytestmark = pytest.mark.slow
KILLS = int(os.environ.get("CHRONODUCK_CHECKPOINT_KILLS", "4"))
_WRITER = """
import duckdb, sys, threading

connection = duckdb.connect(sys.argv[1], config={"wal_autocheckpoint": "1TB", "threads": "2"})
connection.execute("CREATE TABLE wide AS SELECT range AS a, md5(range::VARCHAR) AS b FROM range(400000)")
connection.execute("CREATE TABLE t (a INTEGER)")

def checkpoint(own):
    while True:
        try:
            return own.execute("CHECKPOINT")
        except duckdb.TransactionException:  # one of the others is just about to commit
            pass

def checkpoints():
    own = connection.cursor()
    for number in range(1000):
        own.execute(f"UPDATE wide SET b = md5(b || '{number}')")
        checkpoint(own)

threading.Thread(target=checkpoints, daemon=True).start()
for number in range(10**9):
    connection.execute(f"INSERT INTO t VALUES ({number})")
    print(number, flush=True)
"""


def _kill_in_checkpoint(database: Path, shipper: Shipper) -> list[int]:
    """Ship while a process writes; kill it once something is in the second WAL; what it acknowledged."""
    second = side_files(database)[1]
    with (
        (database.parent / "acknowledged").open("w+b") as told,
        subprocess.Popen([sys.executable, "-c", _WRITER, str(database)], stdout=told) as writer,
    ):
        try:
            end = time.monotonic() + PATIENCE_SECONDS
            while not (second.exists() and second.stat().st_size > 400):
                assert time.monotonic() < end, "nothing commits while a checkpoint runs"
                assert writer.poll() is None
                if os.fstat(told.fileno()).st_size:  # before, the file may be half made
                    shipper.step()
                time.sleep(0.002)
        finally:
            writer.kill()
            writer.wait()
        told.seek(0)
        return [int(line) for line in told.read().splitlines(keepends=True) if line[-1:] == b"\n"]


@pytest.mark.parametrize("number", range(KILLS))
def test_the_replica_holds_what_committed_during_a_checkpoint(tmp_path: Path, number: int) -> None:
    database, restored = tmp_path / "test.db", tmp_path / "restored.db"
    with ThreadPoolExecutor(2) as executor:
        archive = Archive(MemoryBlobStore(), Envelope())
        shipper = Shipper(database, archive, executor, now_us=lambda: time.time_ns() // 1000)
        acknowledged = _kill_in_checkpoint(database, shipper)
        shipper.take_as_final()
        end = time.monotonic() + PATIENCE_SECONDS
        while shipper.step() is not Step.IDLE:
            assert time.monotonic() < end
            time.sleep(0.01)
        shipper.close()
        restore_database(archive, restored, verify="full")
    found = []
    for path in (restored, database):
        with duckdb.connect(str(path)) as connection:
            rows = connection.execute("SELECT a FROM t ORDER BY a").fetchall()
        found.append([row[0] for row in rows])
    assert found[0] == found[1], f"kill {number}"
    assert found[0][: len(acknowledged)] == acknowledged
    assert len(found[0]) <= len(acknowledged) + 1
