"""A database whose index answers wrongly although every checksum is right, as an engine bug leaves it."""

from __future__ import annotations

from pathlib import Path

import duckdb

from chronoduck.engine.disk_format import BLOCK_BYTES, HEADER_BYTES

__all__ = ["ROWS", "broken_index_database"]

ROWS = 4_000
_KEY_A, _KEY_B = 7, 8


def broken_index_database(path: Path) -> Path:
    """Write a database ``t (k BIGINT)`` whose index ``t_k`` has two keys swapped.

    The file of a table in which two rows changed places gives the index's blocks.
    """
    other = path.with_name(f"{path.name}.other")
    _write(path, _KEY_A, _KEY_B)
    _write(other, _KEY_B, _KEY_A)
    donor, original = other.read_bytes(), path.read_bytes()
    other.unlink()
    for start in range(HEADER_BYTES, min(len(donor), len(original)), BLOCK_BYTES):
        block = slice(start, start + BLOCK_BYTES)
        if donor[block] == original[block]:
            continue
        path.write_bytes(original[: block.start] + donor[block] + original[block.stop :])
        if _scan(path) == _keys(_KEY_A, _KEY_B) and _look_up(path) != [_KEY_A]:
            return path
    raise AssertionError("no block belongs to the index alone")


def _keys(first: int, second: int) -> list[int]:
    return [first if i == _KEY_A else second if i == _KEY_B else i for i in range(ROWS)]


def _write(path: Path, first: int, second: int) -> None:
    with duckdb.connect(str(path)) as connection:
        connection.execute("CREATE TABLE t (k BIGINT)")
        connection.execute("INSERT INTO t SELECT unnest(?)", [_keys(first, second)])
        connection.execute("CREATE INDEX t_k ON t (k)")
        connection.execute("CHECKPOINT")


def _scan(path: Path) -> list[int]:
    return _read(path, "SELECT k FROM t")


def _look_up(path: Path) -> list[int]:
    return _read(path, f"SELECT k FROM t WHERE k = {_KEY_A}")


def _read(path: Path, query: str) -> list[int]:
    try:
        with duckdb.connect(str(path), read_only=True) as connection:
            return [row[0] for row in connection.execute(query).fetchall()]
    except duckdb.Error:
        return []
