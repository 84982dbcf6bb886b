"""Damage in a database file: bytes that change on the disk, and an end that is cut off."""

from __future__ import annotations

from pathlib import Path

import duckdb

from chronoduck.engine.disk_format import BLOCK_BYTES, HEADER_BYTES
from tests.damaged_wal import crash

__all__ = ["block_of", "cut", "invert", "make_database", "zero"]


def make_database(path: Path, *later: str) -> None:
    """Make a file with the tables t (30,000 rows, a key) and big (60,000 rows), and no WAL.

    ``later``: statements whose transactions stay in the WAL.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    crash(
        path,
        [
            "CREATE TABLE big AS SELECT range AS i, md5(range::VARCHAR) AS v FROM range(60000)",
            "CREATE TABLE t (a INTEGER PRIMARY KEY, v VARCHAR)",
            "INSERT INTO t SELECT range, md5(range::VARCHAR) FROM range(30000)",
            "CHECKPOINT",
            *later,
        ],
    )


def block_of(path: Path, table: str) -> int:
    """Return the block in which the texts of a table begin; the file must have no WAL."""
    with duckdb.connect(str(path), read_only=True) as connection:
        row = connection.execute(
            "SELECT block_id FROM pragma_storage_info(?) WHERE segment_type = 'VARCHAR' "
            "AND block_id >= 0 ORDER BY row_group_id, segment_id LIMIT 1",
            [table],
        ).fetchone()
    assert row is not None
    return int(row[0])


def invert(path: Path, number: int, place: int = 20_000) -> None:
    """Invert four bytes in a block."""
    with path.open("r+b") as file:
        file.seek(_offset(number) + place)
        old = file.read(4)
        file.seek(-4, 1)
        file.write(bytes(byte ^ 255 for byte in old))


def zero(path: Path, number: int) -> None:
    """Write zeros over a block, its checksum included."""
    with path.open("r+b") as file:
        file.seek(_offset(number))
        file.write(bytes(BLOCK_BYTES))


def cut(path: Path, number: int) -> None:
    """Cut the file off in front of a block."""
    with path.open("r+b") as file:
        file.truncate(_offset(number))


def _offset(number: int) -> int:
    return HEADER_BYTES + number * BLOCK_BYTES
