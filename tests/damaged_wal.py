"""Databases with a WAL that DuckDB cannot replay, and what a kill inside a checkpoint leaves."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import duckdb

from chronoduck.engine.disk_format import checksum, transaction_ends
from chronoduck.engine.offline import side_files

__all__ = [
    "checkpoint_entry",
    "count_rows",
    "crash",
    "crash_in_checkpoint",
    "leave_failed_checkpoint",
    "make_unreplayable",
    "rename_in_wal",
]

_ENTRY = struct.Struct("<QQ")
_CRASH = """
import duckdb, json, os, sys
path, statements = json.loads(sys.argv[1])
config = {"wal_autocheckpoint": "1TB"}
if duckdb.__version__ >= "2":
    config["storage_compatibility_version"] = "v1.5.0"
connection = duckdb.connect(path, config=config)
for statement in statements:
    try:
        connection.execute(statement)
    except duckdb.FatalException:
        pass
os._exit(0)
"""


def crash(path: Path, statements: Sequence[str]) -> None:
    """Run the statements in a process that ends like a killed one: its WAL stays."""
    subprocess.run(
        [sys.executable, "-c", _CRASH, json.dumps([str(path), list(statements)])], check=True
    )
    path.chmod(0o640)


def crash_in_checkpoint(path: Path, statements: Sequence[str], abort: str) -> None:
    """The same, and it dies in a checkpoint: ``before_header`` or ``before_truncate``."""
    crash(path, [*statements, f"PRAGMA debug_checkpoint_abort='{abort}'", "CHECKPOINT"])


def rename_in_wal(database: Path, old: bytes, new: bytes) -> None:
    """Change a name in every entry of the WAL, with the right checksums: DuckDB believes it."""
    assert len(old) == len(new)
    wal = side_files(database)[0]
    data = bytearray(wal.read_bytes())
    position = data.index(b"\xff\xff") + 2  # behind the version record
    assert old in data
    while position + _ENTRY.size <= len(data):
        size, _ = _ENTRY.unpack_from(data, position)
        content = position + _ENTRY.size
        entry = bytes(data[content : content + size]).replace(old, new)
        data[content : content + size] = entry
        _ENTRY.pack_into(data, position, size, checksum(entry))
        position = content + size
    wal.write_bytes(data)


def make_unreplayable(path: Path, good: int, bad: int) -> None:
    """Make a database whose WAL has ``good`` transactions, then one that replay rejects, then others.

    ``bad`` is the number of transactions from the rejected one on. Table ``t`` holds 1, 2, ... of the
    good ones; the file itself holds a row 0.
    """
    crash(
        path,
        [
            "CREATE TABLE t(a INTEGER)",
            "CREATE TABLE evil(a INTEGER)",
            "INSERT INTO t VALUES (0)",
            "CHECKPOINT",
            *(f"INSERT INTO t VALUES ({number})" for number in range(1, good + 1)),
            "INSERT INTO evil VALUES (1)",
            *(f"INSERT INTO t VALUES ({good + number})" for number in range(1, bad)),
        ],
    )
    rename_in_wal(path, b"evil", b"evix")


def count_rows(path: Path, table: str = "t") -> list[int]:
    """Return the first column of a table, as DuckDB reads it from a copy of the files."""
    copy = path.with_name(path.name + ".looked-at")
    for source, target in zip((path, *side_files(path)), (copy, *side_files(copy)), strict=True):
        target.unlink(missing_ok=True)
        if source.exists():
            shutil.copy(source, target)
    connection = duckdb.connect(str(copy))
    try:
        return [a for (a,) in connection.execute(f"SELECT a FROM {table} ORDER BY a").fetchall()]
    finally:
        connection.close()
        for target in (copy, *side_files(copy)):
            target.unlink(missing_ok=True)


def checkpoint_entry(directory: Path) -> bytes:
    """Return a checkpoint's entry with the flush entry behind it, as DuckDB writes them."""
    database = directory / "of-an-entry.db"
    statements = ["CREATE TABLE t(a INTEGER)", "CHECKPOINT", "INSERT INTO t VALUES (1)"]
    crash_in_checkpoint(database, statements, "before_header")
    data = side_files(database)[0].read_bytes()
    return data[transaction_ends(data)[-1] :]


def leave_failed_checkpoint(database: Path, entry: bytes, torn: int = 0, behind: int = 1) -> bytes:
    """Put what a failed checkpoint leaves before the last transactions; return the WAL as it was.

    ``torn``: bytes of the entry that the disk took at the first attempt.
    """
    wal = side_files(database)[0]
    data = wal.read_bytes()
    place = transaction_ends(data)[-1 - behind]
    wal.write_bytes(data[:place] + entry[:torn] + entry + data[place:])
    return data
