"""What an enclosed process cannot do: each attempt is made, by a process behind each wall alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from chronoduck.engine.analyzers.messages import HEADER
from chronoduck.engine.analyzers.nursery_link import Nursery
from chronoduck.engine.kernel.enclosure import KernelWalls
from chronoduck.engine.kernel.landlock import landlock_absence
from chronoduck.engine.kernel.seccomp import seccomp_absence

_TRIES = """
import ctypes, mmap, os, platform, resource, signal, socket, sys
from pathlib import Path
from chronoduck.engine.kernel import enclosure
from chronoduck.engine.kernel.enclosure import KernelWalls, enclose, end_with_parent

scratch, walls = Path(sys.argv[1]), sys.argv[2]
libc = ctypes.CDLL(None, use_errno=True)
if "landlock" not in walls:
    enclosure.restrict = lambda allowed: False
if "syscalls" not in walls:
    enclosure.filter_calls = lambda may_open: False
if "limits" not in walls:
    resource.setrlimit = lambda limit, bounds: None
TRACE, READ_MEMORY, RING, BPF, UNSHARE = {
    "x86_64": (101, 310, 425, 321, 272), "aarch64": (117, 270, 425, 280, 97)
}[platform.machine()]
listener = socket.create_server(("127.0.0.1", 0))
spare = socket.socket()
parent = os.getpid()
victim = os.fork()
if victim == 0:
    end_with_parent(parent)
    signal.pause()
stood = enclose(3, 50_000_000)
for name, wall in (("landlock", KernelWalls.LANDLOCK), ("syscalls", KernelWalls.SYSCALLS)):
    if name in walls and wall not in stood:
        print("absent", name)

def attempt(what, call):
    try:
        call()
    except (OSError, MemoryError, ValueError):
        return
    print("could", what, flush=True)

def call(*arguments):
    if libc.syscall(*arguments) < 0:
        raise OSError(ctypes.get_errno(), "refused")

def fork():
    if os.fork() == 0:
        os._exit(0)

def read_memory():
    place = ctypes.create_string_buffer(8)
    vector = (ctypes.c_size_t * 2)(ctypes.addressof(place), 8)
    call(READ_MEMORY, victim, ctypes.byref(vector), 1, ctypes.byref(vector), 1, 0)

attempt("read a file", lambda: os.open("/etc/hostname", os.O_RDONLY))
attempt("list a directory", lambda: os.listdir("/"))
attempt("write a file", lambda: os.open(scratch / "written", os.O_CREAT | os.O_WRONLY))
attempt("change a file", lambda: os.open(scratch / "kept", os.O_RDWR))
attempt("make a directory", lambda: os.mkdir(scratch / "directory"))
attempt("rename a file", lambda: os.rename(scratch / "kept", scratch / "moved"))
attempt("delete a file", lambda: os.unlink(scratch / "spare"))
attempt("open a socket", socket.socket)
attempt("open a unix socket", lambda: socket.socket(socket.AF_UNIX))
attempt("make a pair of sockets", socket.socketpair)
attempt("connect", lambda: spare.connect(listener.getsockname()))
attempt("raise its limit", lambda: resource.prlimit(0, resource.RLIMIT_NOFILE, (64, 64)))
attempt("take memory", lambda: bytearray(200_000_000))
attempt("fork", fork)
attempt("trace another process", lambda: call(TRACE, 0x4206, victim, 0, 0))
attempt("read its memory", read_memory)
attempt("end another process", lambda: os.kill(victim, 0))
attempt("run memory", lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_EXEC))
attempt("open a ring", lambda: call(RING, 8, ctypes.create_string_buffer(248)))
attempt("make a file in memory", lambda: os.memfd_create("x"))
attempt("load a program into the kernel", lambda: call(BPF, 0, ctypes.create_string_buffer(
    b"\\x01\\0\\0\\0\\x04\\0\\0\\0\\x04\\0\\0\\0\\x01" + bytes(100)), 72))
attempt("leave its namespaces", lambda: call(UNSHARE, 0x04000000))
if walls:
    attempt("run a program", lambda: os.execv("/bin/echo", ["echo", "could run a program"]))
os._exit(0)
"""
_FILES = {
    *("read a file", "list a directory", "write a file", "change a file", "make a directory"),
    *("rename a file", "delete a file"),
}
_EVERYTHING = _FILES | {
    *("open a socket", "open a unix socket", "make a pair of sockets", "connect", "take memory"),
    *("fork", "trace another process", "read its memory", "end another process", "run memory"),
    *("make a file in memory",),
}


def tried(scratch: Path, *walls: str) -> set[str]:
    """Run all attempts behind some of the walls; return what was possible all the same."""
    for name in ("kept", "spare"):
        (scratch / name).write_text("kept")
    done = subprocess.run(
        [sys.executable, "-c", _TRIES, str(scratch), " ".join(walls)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (
        "Traceback" not in done.stderr
    )  # a program that was run and finds no library may complain
    lines = set(done.stdout.splitlines())
    for line in lines:
        if line.startswith("absent"):
            pytest.skip(f"on this kernel {line}")
    return {line.removeprefix("could ") for line in lines}


def test_each_attempt_works_without_walls(tmp_path: Path) -> None:
    """What cannot be done anyhow proves nothing of a wall."""
    assert tried(tmp_path) >= _EVERYTHING - {"trace another process", "read its memory"}


def test_an_enclosed_process_can_do_nothing_of_it(tmp_path: Path) -> None:
    done = tried(tmp_path, "limits", "landlock", "syscalls")
    assert done == set()
    assert {each.name for each in tmp_path.iterdir()} == {"kept", "spare"}


def test_the_limits_alone_leave_no_descriptor_and_no_memory(tmp_path: Path) -> None:
    done = tried(tmp_path, "limits")
    opening = {"read a file", "write a file", "change a file", "open a socket", "take memory"}
    assert not done & opening


def test_landlock_alone_takes_all_files_and_the_network(tmp_path: Path) -> None:
    done = tried(tmp_path, "landlock")
    assert not done & (_FILES | {"trace another process", "read its memory", "run a program"})


def test_the_filter_alone_takes_everything_but_memory(tmp_path: Path) -> None:
    assert tried(tmp_path, "syscalls") <= {"take memory"}


def test_a_reading_process_opens_files_of_its_directory_to_read_them(tmp_path: Path) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    for directory in (inside, outside):
        directory.mkdir()
        (directory / "file").write_text("text")
    done = subprocess.run(
        [sys.executable, "-c", _READS, str(inside), str(outside)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stderr, done.stdout.split()) == ("", ["text", *["refused"] * 3])


_READS = """
import os, sys
from pathlib import Path
from chronoduck.engine.kernel.enclosure import KernelWalls, enclose
inside, outside = Path(sys.argv[1]), Path(sys.argv[2])
walls = enclose(16, 50_000_000, [inside], may_open=True)
print(os.read(os.open(inside / "file", os.O_RDONLY), 9).decode())
for path, flags, wall in (
    (outside / "file", os.O_RDONLY, KernelWalls.LANDLOCK),
    (inside / "file", os.O_RDWR, KernelWalls.SYSCALLS),
    (inside / "new", os.O_CREAT | os.O_WRONLY, KernelWalls.SYSCALLS),
):
    try:
        os.open(path, flags)
        print("opened" if wall in walls else "refused")
    except OSError:
        print("refused")
"""


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
            (walls,) = HEADER.unpack(connection.recv(4))
            assert bool(walls & KernelWalls.LANDLOCK) is not bool(landlock_absence())
            assert bool(walls & KernelWalls.SYSCALLS) is not bool(seccomp_absence())
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
        assert len(connection.recv(4)) == 4
        nursery.close()
        assert connection.recv(1) == b""
    assert not Path(f"/proc/{pid}").exists()


def test_without_a_nursery_there_is_no_analyzer(nursery: Nursery) -> None:
    with pytest.raises(OSError, match="no nursery"):
        nursery.order()
