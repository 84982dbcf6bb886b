"""One owner per database file, who says where it serves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from chronoduck.engine.ownership import DatabaseOwnership, Owner, current_owner, lock_path
from chronoduck.errors import DatabaseLockedError, DatabasePermissionError


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "test.db"


def test_a_second_owner_is_refused_and_told_where_the_first_serves(database: Path) -> None:
    first = DatabaseOwnership(database)
    first.acquire()
    first.announce("http://127.0.0.1:8000")
    assert current_owner(database) == Owner(os.getpid(), "http://127.0.0.1:8000")
    with pytest.raises(DatabaseLockedError) as caught:
        DatabaseOwnership(database).acquire()
    assert f"process {os.getpid()}" in str(caught.value)
    assert "http://127.0.0.1:8000" in str(caught.value)
    # The refusal took nothing from the first.
    assert current_owner(database) == Owner(os.getpid(), "http://127.0.0.1:8000")
    first.release()


def test_release_is_idempotent_and_makes_room_for_the_next(database: Path) -> None:
    first = DatabaseOwnership(database)
    first.acquire()
    first.release()
    first.release()
    assert current_owner(database) is None
    second = DatabaseOwnership(database)
    second.acquire()
    first.release()  # an owner that has gone cannot release another's lock
    assert current_owner(database) == Owner(os.getpid())
    second.release()


def test_the_lock_of_a_killed_process_is_free(database: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; "
        "from chronoduck.engine.ownership import DatabaseOwnership; "
        "o = DatabaseOwnership(Path(sys.argv[1])); o.acquire(); o.announce('http://gone'); "
        "print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(database)], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert current_owner(database) == Owner(holder.pid, "http://gone")
        with pytest.raises(DatabaseLockedError, match=f"process {holder.pid}"):
            DatabaseOwnership(database).acquire()
        holder.send_signal(signal.SIGKILL)
    assert "gone" in lock_path(database).read_text()  # what it wrote is still there, and harmless
    assert current_owner(database) is None
    owner = DatabaseOwnership(database)
    owner.acquire()
    assert current_owner(database) == Owner(os.getpid())
    owner.release()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\x00", b'{"pid": "x"}'])
def test_a_lock_file_with_anything_in_it_is_no_obstacle(database: Path, content: bytes) -> None:
    lock_path(database).write_bytes(content)
    assert current_owner(database) is None
    owner = DatabaseOwnership(database)
    owner.acquire()
    lock_path(database).write_bytes(content)  # an owner is told even when its words are spoilt
    assert current_owner(database) == Owner(0)
    owner.release()


def test_a_lock_file_that_cannot_be_made_is_told_with_the_fix(tmp_path: Path) -> None:
    blocked = tmp_path / "test.db"
    lock_path(blocked).mkdir()
    with pytest.raises(DatabasePermissionError, match="is not writable"):
        DatabaseOwnership(blocked).acquire()
