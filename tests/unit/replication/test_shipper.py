"""What the replica does with a log that is not the one it shipped."""

from __future__ import annotations

import itertools
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from chronoduck.replication.archive import Archive
from chronoduck.replication.envelope import Envelope
from chronoduck.replication.failures import ReplicaMismatchError
from chronoduck.replication.restore_plan import plan_restore
from chronoduck.replication.shipper import Shipper, Step
from chronoduck.storage import MemoryBlobStore

COMMITS = 20


def make_database_with_log(path: Path) -> None:
    """Leave a file and a log as a killed process does."""
    script = f"""
import duckdb, os
c = duckdb.connect({str(path)!r}, config={{"wal_autocheckpoint": "1TB"}})
c.execute("CREATE TABLE t (a INTEGER)"); c.execute("CHECKPOINT")
for number in range({COMMITS}): c.execute(f"INSERT INTO t VALUES ({{number}})")
os._exit(0)
"""
    subprocess.run([sys.executable, "-c", script], check=True)


def ship_all(shipper: Shipper) -> None:
    for _ in range(30):
        if shipper.step() is Step.IDLE:
            return
    raise AssertionError("the replica does not catch up")


def test_a_log_that_is_changed_after_the_service_died_is_not_shipped(tmp_path: Path) -> None:
    database = tmp_path / "test.db"
    make_database_with_log(database)
    log = tmp_path / "test.db.wal"
    ticks = itertools.count(1)
    with ThreadPoolExecutor(2) as executor:
        archive = Archive(MemoryBlobStore(), Envelope())
        shipper = Shipper(database, archive, executor, now_us=lambda: next(ticks))
        ship_all(shipper)
        assert shipper.total_commits == COMMITS
        whole = log.read_bytes()
        with log.open("r+b") as file:
            file.truncate(len(whole) // 2)
        shipper.may_start_over = False
        with pytest.raises(ReplicaMismatchError, match="after the service died"):
            shipper.step()
        assert plan_restore(archive, archive.listing(), executor).point.commits == COMMITS
        # A commit that DuckDB took back is another thing: it goes on from there.
        shipper.may_start_over = True
        ship_all(shipper)
        assert len(archive.listing().generations) == 2
        shipper.close()
