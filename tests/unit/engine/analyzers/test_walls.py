"""What an analyzer cannot do, whatever is done to the parser in it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from chronoduck.engine.analyzers.nursery_link import Nursery

_TRY = """
import os, resource, socket, sys
from chronoduck.engine.analyzers.walls import enclose
os.closerange(3, 256)
enclose(3, 50_000_000)
def attempt(what, call):
    try:
        call()
    except (OSError, MemoryError, ValueError):
        return
    print("could", what)
attempt("read a file", lambda: os.open("/etc/hostname", os.O_RDONLY))
attempt("write a file", lambda: os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY))
attempt("open a socket", socket.socket)
attempt("raise its limit", lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64)))
attempt("take memory", lambda: bytearray(200_000_000))
"""


def test_an_enclosed_process_reaches_nothing(tmp_path: Path) -> None:
    target = tmp_path / "written"
    done = subprocess.run(
        [sys.executable, "-c", _TRY, str(target)], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)
    assert not target.exists()


@pytest.fixture
def nursery(monkeypatch: pytest.MonkeyPatch) -> Nursery:
    monkeypatch.setenv("DUCKDB_ADMIN_TOKEN", "hunter2")
    return Nursery(has_stores=False)


def test_an_analyzer_inherits_no_secret_and_has_its_limits(nursery: Nursery) -> None:
    nursery.start()
    try:
        _, connection = nursery.order()
        with connection:
            connection.setblocking(True)
            assert connection.recv(4) == bytes(4)
            assert nursery.pid is not None
            environment = Path(f"/proc/{nursery.pid}/environ").read_bytes()
            assert b"DUCKDB" not in environment
            if not duckdb.__version__.startswith("1."):  # which starts some when it is imported
                assert len(list(Path(f"/proc/{nursery.pid}/task").iterdir())) == 1
            children = Path(f"/proc/{nursery.pid}/task/{nursery.pid}/children").read_text()
            limits = Path(f"/proc/{children.split()[0]}/limits").read_text()
        for line in limits.splitlines():
            if line.startswith(("Max open files", "Max file size", "Max core file size")):
                assert int(line.split()[-3]) <= 4, line
            if line.startswith("Max address space"):
                assert int(line.split()[-3]) < 3_000_000_000, line
    finally:
        nursery.close()


def test_analyzers_end_with_the_service(nursery: Nursery) -> None:
    nursery.start()
    pid = nursery.pid
    _, connection = nursery.order()
    connection.setblocking(True)
    with connection:
        assert connection.recv(4) == bytes(4)
        nursery.close()
        assert connection.recv(1) == b""
    assert not Path(f"/proc/{pid}").exists()


def test_without_a_nursery_there_is_no_analyzer(nursery: Nursery) -> None:
    with pytest.raises(OSError, match="no nursery"):
        nursery.order()
