"""Files that were set aside are found with what they hold, and nothing else is."""

from __future__ import annotations

from pathlib import Path

from chronoduck.cli.set_aside_check import check_set_aside
from chronoduck.engine.offline import Transactions, find_set_aside, free_name, side_files
from chronoduck.engine.offline.ways import write_file
from chronoduck.monitoring.health import Status
from chronoduck.monitoring.set_aside import set_aside_finding
from tests.damaged_wal import crash


def test_the_rest_of_a_wal_and_a_replaced_database_are_named(tmp_path: Path) -> None:
    database = tmp_path / "test.db"
    inserts = [f"INSERT INTO t VALUES ({number})" for number in range(5)]
    crash(database, ["CREATE TABLE t(a INTEGER)", "CHECKPOINT", *inserts])
    wal = side_files(database)[0]
    assert find_set_aside(database) == []
    assert set_aside_finding(find_set_aside(database)).reason == ""
    for kept in (0, 3):
        write_file(free_name(wal, "rest"), Transactions.of(database).rest(kept))
    (tmp_path / "test.db.corrupt-20261128T000000Z").write_bytes(database.read_bytes())
    (tmp_path / "test.db.wal.corrupt-20261128T000000Z").write_bytes(wal.read_bytes())
    (tmp_path / "test.db.wal.torn-20261128T000000Z").write_bytes(b"never acknowledged")
    (tmp_path / "other.db.corrupt-20261128T000000Z").write_bytes(b"of somebody else")
    (tmp_path / "test.db.corrupt-by-me").write_bytes(b"not ours")
    found = find_set_aside(database)
    assert [each.is_rest for each in found] == [False, False, True, True]
    assert sorted(each.count_transactions() for each in found if each.is_wal) == [2, 5, 5]
    health = set_aside_finding(find_set_aside(database))
    assert health.status is Status.HEALTHY
    assert "2 with transactions that a start left out, 2 of a database" in health.reason
    assert str(tmp_path) not in health.reason + health.hint
    told = [check.finding for check in check_set_aside(database)]
    assert sum("2 whole transactions" in text for text in told) == 1
    assert sum("which the database lacks" in text for text in told) == 2
    for each in found:
        each.path.unlink()
    assert list(check_set_aside(database)) == []
