"""A database that is written while a shadow looks on, and WAL entries that no replay accepts."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import duckdb

from chronoduck.engine.disk_format import checksum, read_header, version_end
from chronoduck.engine.opening_options import OPENING_OPTIONS
from chronoduck.engine.proving import WalPosition

__all__ = ["LiveDatabase", "append_rejected_entry"]


class LiveDatabase:
    """A database file that this process has open."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.wal = path.with_name(path.name + ".wal")
        self._connection = duckdb.connect(str(path), config=OPENING_OPTIONS)

    def run(self, *statements: str) -> None:
        for statement in statements:
            self._connection.execute(statement)

    @property
    def position(self) -> WalPosition:
        """Where the WAL ends now."""
        header = read_header(self.path.read_bytes()[: 3 * 4096])
        return WalPosition(header.iteration, self.wal.stat().st_size if self.wal.exists() else 0)

    def close(self) -> None:
        self._connection.close()


def append_rejected_entry(wal: Path, scratch: Path) -> None:
    """Append a whole transaction, every checksum right, that changes a table which does not exist.

    DuckDB appends to the file, so that transactions behind it are as whole as before.
    """
    other = scratch / "other.db"
    child = os.fork()
    if child == 0:
        connection = duckdb.connect(str(other), config=OPENING_OPTIONS)
        connection.execute("CREATE TABLE nowhere_to_be_found (a INTEGER)")
        connection.execute("CHECKPOINT")
        connection.execute("INSERT INTO nowhere_to_be_found VALUES (1)")
        os._exit(0)
    os.waitpid(child, 0)
    data = Path(f"{other}.wal").read_bytes()
    entries = data[version_end(data) :]
    size, expected = struct.unpack_from("<QQ", entries)
    assert checksum(entries[16 : 16 + size]) == expected
    with wal.open("ab") as file:
        file.write(entries)
