"""The copy of the WAL, beside an engine that cuts off what it could not commit."""

from __future__ import annotations

import os
import time
from pathlib import Path

import duckdb

from chronoduck.engine.disk_format import BLOCK_BYTES, HEADER_BYTES, DatabaseFile, checksum
from chronoduck.shadow.held_wal import HeldWal
from chronoduck.shadow.private_copy import PrivateCopy


def test_a_wal_that_was_cut_off_while_it_was_copied_ends_the_attempt(tmp_path: Path) -> None:
    path, wal = tmp_path / "a.db", tmp_path / "a.db.wal"
    with duckdb.connect(str(path), config={"wal_autocheckpoint": "1TB"}) as connection:
        connection.execute("CREATE TABLE t (a INTEGER)")
        kept = wal.stat().st_size
        connection.execute("INSERT INTO t VALUES (1)")
        copy, held = PrivateCopy(path, tmp_path / "a.shadow"), HeldWal(wal)
        assert copy.continue_wal(held)
        copy.cut_wal()
        os.truncate(wal, kept)
        assert not copy.continue_wal(held)
        assert held.was_taken_back()
        held.close()
        copy.remove()
        wal.unlink()


def test_another_look_finds_blocks_that_the_time_of_the_file_hides(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with duckdb.connect(str(path), config={"wal_autocheckpoint": "1TB"}) as connection:
        connection.execute("CREATE TABLE t AS SELECT hash(range) AS a FROM range(300000)")
        connection.execute("CHECKPOINT")
    copy = PrivateCopy(path, tmp_path / "a.shadow")
    time.sleep(0.05)  # longer than the grain of the file's time
    with DatabaseFile(path) as file:
        list(copy.copy_blocks(file))
        before = path.stat()
        changed = bytearray(file.block(1))
        changed[100] ^= 1
        changed[:8] = checksum(bytes(changed[8:])).to_bytes(8, "little")
        with path.open("r+b") as target:
            target.seek(HEADER_BYTES + BLOCK_BYTES)
            target.write(changed)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        list(copy.copy_blocks(file))
        assert copy.path.read_bytes()[HEADER_BYTES:] != path.read_bytes()[HEADER_BYTES:]
        copy.look_again()
        list(copy.copy_blocks(file))
        assert copy.path.read_bytes()[HEADER_BYTES:] == path.read_bytes()[HEADER_BYTES:]
    copy.remove()
