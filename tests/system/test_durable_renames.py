"""Every file that gets its name is on the disk before, and its name after: a whole service, traced.

``strace`` shows what a power cut would find. The rules know no file by its name: a rename that is new
is judged as all others are.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.patience import PATIENCE_SECONDS
from tests.server import environment, free_port, settled_text

pytestmark = pytest.mark.slow

API = "/api/v1/duckdb"
CALLS = (
    "rename,renameat,renameat2,link,linkat,fsync,fdatasync,"
    "write,pwrite64,writev,pwritev,ftruncate,copy_file_range"
)
_LINE = re.compile(r"(?P<time>\d+\.\d+) (?P<call>\w+)\((?P<arguments>.*)\) += (?P<result>-?\d+)")
_DESCRIPTOR = re.compile(r"(?:\d+|AT_FDCWD)<(?P<path>[^>]*)>")
_TEXT = re.compile(r'"((?:[^"\\]|\\.)*)"')


@dataclass
class File:
    written: float = 0.0
    synced: float = 0.0

    @property
    def is_on_disk(self) -> bool:
        return self.synced >= self.written


@dataclass
class Trace:
    """What the calls of all processes say of files below one directory, in their order."""

    root: Path
    files: dict[str, File] = field(default_factory=dict)
    named: list[tuple[float, str, str, str]] = field(default_factory=list)
    """When, by which thread, from what, to what."""
    wrong: list[str] = field(default_factory=list)
    directories: list[tuple[float, str, str]] = field(default_factory=list)
    """When, by which thread, which."""

    def read(self, calls: list[tuple[float, str, str, str]]) -> None:
        for at, thread, call, arguments in sorted(calls):
            if call in ("fsync", "fdatasync"):
                path = self._descriptor(arguments)
                self._file(path).synced = at
                self.directories.append((at, thread, path))
            elif call.startswith(("rename", "link")):
                self._name(at, thread, call, arguments)
            else:
                self._file(self._descriptor(arguments)).written = at

    @staticmethod
    def _descriptor(arguments: str) -> str:
        found = _DESCRIPTOR.match(arguments)
        return "" if found is None else found["path"].removesuffix(" (deleted)")

    def _file(self, path: str) -> File:
        return self.files.setdefault(path, File())

    def _name(self, at: float, thread: str, call: str, arguments: str) -> None:
        bases = [found["path"] for found in _DESCRIPTOR.finditer(arguments)]
        names = _TEXT.findall(arguments)
        old, new = (
            os.path.normpath(Path(bases[index] if len(bases) > index else "/", name))
            for index, name in enumerate(names[:2])
        )
        if not new.startswith(str(self.root)):
            return
        self.named.append((at, thread, old, new))
        for path in [path for path in self.files if path == old or path.startswith(old + "/")]:
            state = self.files[path] if call.startswith("link") else self.files.pop(path)
            if not state.is_on_disk:
                self.wrong.append(f"{path} was not synced before it became {new}")
            self.files[new + path.removeprefix(old)] = state

    def check(self) -> None:
        """Find the names whose directory was not synced by the thread that gave them."""
        for at, thread, old, new in self.named:
            parent = str(Path(new).parent)
            if not any(
                by == thread and later > at and directory == parent
                for later, by, directory in self.directories
            ):
                self.wrong.append(f"{parent} was not synced after {old} became {new}")


def read_trace(directory: Path, root: Path) -> Trace:
    calls = []
    for path in directory.glob("trace.*"):
        for line in path.read_text(errors="replace").splitlines():
            found = _LINE.match(line)
            if found and int(found["result"]) >= 0:
                calls.append((float(found["time"]), path.name, found["call"], found["arguments"]))
    trace = Trace(root)
    trace.read(calls)
    trace.check()
    return trace


class Traced:
    """Commands under strace, all into one trace."""

    def __init__(self, directory: Path) -> None:
        self.home = directory / "home"
        self.traces = directory / "traces"
        self.home.mkdir()
        self.traces.mkdir()
        self.port = free_port()
        self.environment = environment(
            self.home,
            DUCKDB_PORT=self.port,
            DUCKDB_REPLICA_URL=self.home / "replica",
            DUCKDB_REPLICA_INTERVAL="200ms",
            DUCKDB_BACKUP_DIR=self.home / "backups",
            DUCKDB_EXPORT_URL=self.home / "exports",
            DUCKDB_AUDIT_MAX_SIZE="100KB",
            DUCKDB_TEMP_DIRECTORY=directory
            / "temp",  # what lies there need not outlive a power cut
        )

    def command(self, *arguments: str) -> list[str]:
        trace = ["strace", "-ff", "-ttt", "-y", "-s", "4096", "-e", f"trace={CALLS}"]
        quick = ["--seccomp-bpf"]
        output = ["-o", str(self.traces / "trace")]
        return [*trace, *quick, *output, sys.executable, "-m", "chronoduck", *arguments]

    def run(self, *arguments: str) -> None:
        done = subprocess.run(
            self.command(*arguments),
            env=self.environment,
            cwd=self.home,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        assert done.returncode == 0, (arguments, done.stderr[-2000:])

    def start(self) -> subprocess.Popen[bytes]:
        with (self.home / "server.log").open("ab") as log:
            process = subprocess.Popen(
                self.command("serve"), env=self.environment, cwd=self.home, stderr=log
            )
        end = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < end:
            assert process.poll() is None, settled_text(self.home / "server.log")[-2000:]
            try:
                ready = httpx2.get(f"http://127.0.0.1:{self.port}{API}/health/ready")
                if ready.status_code == 200:
                    return process
            except httpx2.TransportError:
                time.sleep(0.1)
        raise AssertionError("the service does not start")


def finished(client: httpx2.Client, response: httpx2.Response) -> dict[str, Any]:
    """Wait for the end of a job, which must succeed."""
    assert response.status_code == 202, response.text
    job = response.json()
    end = time.monotonic() + PATIENCE_SECONDS
    while job["state"] == "running" and time.monotonic() < end:
        time.sleep(0.1)
        job = client.get(f"/jobs/{job['id']}").json()
    assert job["state"] == "succeeded", job
    return dict(job)


def use(client: httpx2.Client) -> list[str]:
    """Have the service do everything that it does with files; return the ids of statements' jobs."""

    def query(sql: str) -> None:
        response = client.post("/query", json={"query": sql})
        assert response.status_code == 200, response.text

    query("CREATE TABLE t AS SELECT range AS a, range % 3 AS part FROM range(10000)")
    for number in range(3):
        response = client.post(
            "/tables/t/rows",
            content=f'{{"a":{number},"part":0}}\n',
            headers={"Content-Type": "application/x-ndjson", "Idempotency-Key": str(number)},
        )
        assert response.status_code == 200, response.text
    ids = [
        finished(client, client.post("/jobs", json={"query": sql}))["id"]
        for sql in ("SELECT * FROM t", "SELECT 1", "UPDATE t SET part = 1 WHERE a < 10")
    ]
    for body in ({"query": "FROM t"}, {"query": "FROM t", "partition_by": ["part"]}):
        finished(client, client.post("/exports", json=body))
    finished(client, client.post("/backups", json={}))
    finished(client, client.post("/backups", json={"tables": ["t"]}))
    finished(client, client.post("/compact", json={}))
    query("CHECKPOINT")
    query("INSERT INTO t VALUES (1, 1)")
    time.sleep(1)
    finished(client, client.post("/replication/drill", json={}))
    for _ in range(400):  # the audit trail fills its file, which is rotated and compressed
        query("SELECT 1")
    return ids


def _end(process: subprocess.Popen[bytes]) -> None:
    """Have the traced supervisor end: strace passes nothing on."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    for child in children:
        os.kill(int(child), signal.SIGTERM)
    process.wait(PATIENCE_SECONDS)


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Any:
    if shutil.which("strace") is None:
        if os.environ.get("CI"):
            pytest.fail("strace is not installed")
        pytest.skip("needs strace")
    directory = tmp_path_factory.mktemp("traced")
    service = Traced(directory)
    process = service.start()
    try:
        token = (service.home / "admin.token").read_text().strip()
        with httpx2.Client(
            base_url=f"http://127.0.0.1:{service.port}{API}",
            headers={"Authorization": f"Bearer {token}"},
            timeout=PATIENCE_SECONDS,
        ) as client:
            ids = use(client)
    finally:
        _end(process)
    service.run("restore", "--output", str(service.home / "restored.db"))
    service.run("keys", "create", "--name", "ann", "--role", "analyst")
    (service.home / "test.db").write_bytes(b"no database")
    service.run("recover")
    return service, ids, read_trace(service.traces, service.home)


def test_no_file_gets_its_name_before_it_is_on_the_disk(traced: Any) -> None:
    _, _, trace = traced
    assert trace.wrong == []
    # That all of it was seen: each of these is renamed by another part of the service.
    names = "\n".join(new for *_, new in trace.named)
    for part in (
        *("replica/generations/", "replica/packs/", ".jobs/", "exports/", "backups/2"),
        *(".parquet/manifest.json", "latest/", "test.db\n", "test.db.drill", "restored.db"),
        *("keys.json", "audit", ".zst"),
    ):
        assert part in names, f"nothing was named {part}"


def test_a_jobs_result_is_on_the_disk_before_it_is_told_to_be_there(traced: Any) -> None:
    _, ids, trace = traced
    for job in ids:
        told = max(at for at, _, _, new in trace.named if new.endswith(f"{job}.json"))
        [result] = [
            (path, state) for path, state in trace.files.items() if path.endswith(f"{job}.parquet")
        ]
        path, state = result
        assert state.written < state.synced < told, path
        parent = str(Path(path).parent)
        assert any(
            state.synced < at < told and directory == parent
            for at, _, directory in trace.directories
        ), "the directory was not synced in between"
