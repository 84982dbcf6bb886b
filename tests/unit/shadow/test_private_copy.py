"""The copy of the WAL, beside an engine that cuts off what it could not commit."""

from __future__ import annotations

import os
from pathlib import Path

import duckdb

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
