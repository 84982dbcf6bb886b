"""What a checkpoint is expected to write, beside what DuckDB then writes."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from chronoduck.engine.checkpoint_room import LoggedRows, written_bytes

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
