"""Analyzers of a real server: they die, hang and are flooded, and nobody else notices."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.patience import PATIENCE_SECONDS
from tests.server import Server

LONG = "SELECT " + ", ".join(f"(a{n} + {n}) * b{n}" for n in range(3_800))
"""100 KB that an analyzer reads for some hundred milliseconds."""
NAMES = [f"c{n}" for n in range(400)]
ROLLUP = (
    f"SELECT 1 FROM t GROUP BY ROLLUP({', '.join(NAMES[:200])}), ROLLUP({', '.join(NAMES[200:])})"
)
Key = Callable[[str], httpx2.Client]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    directory = tmp_path_factory.mktemp("analyzers")
    # A wait that hangs ends after ten times that.
    with Server(directory, DUCKDB_ANALYSIS_TIMEOUT="0.8", DUCKDB_ANALYZERS="2") as started:
        yield started


@pytest.fixture(scope="module")
def key(server: Server) -> Key:
    def make(name: str) -> httpx2.Client:
        with server.client() as admin:
            wish = {"name": f"{name}-{time.monotonic_ns()}", "role": "analyst"}
            token = admin.post("/keys", json=wish).json()["key"]
        return httpx2.Client(
            base_url=f"{server.url}/api/v1/duckdb",
            headers={"Authorization": f"Bearer {token}"},
            timeout=PATIENCE_SECONDS,
        )

    return make


def children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def analyzers(server: Server) -> list[int]:
    """Return the analyzers' processes: the children of the server's nursery."""
    nurseries = [
        child
        for task in Path(f"/proc/{server.server_pid}/task").iterdir()
        for child in map(int, (task / "children").read_text().split())
        if b"nursery" in Path(f"/proc/{child}/cmdline").read_bytes()
    ]
    return [analyzer for nursery in nurseries for analyzer in children(nursery)]


def cpu_seconds(pid: int) -> float:
    with contextlib.suppress(OSError):
        return _cpu_seconds(pid)
    return 0.0


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def ask(client: httpx2.Client, sql: str) -> dict[str, Any]:
    answer = client.post("/query", json={"query": sql})
    return {"status": answer.status_code, **answer.json()}


@pytest.fixture(autouse=True)
def same_process(server: Server) -> Iterator[None]:
    """The server must not be replaced, whatever is done to its analyzers."""
    before = server.server_pid
    yield
    assert server.server_pid == before
    with server.client() as admin:
        assert admin.get("/health").json()["restarts"]["count"] == 0


def test_grouping_sets_that_stopped_the_service_are_refused(key: Key) -> None:
    with key("eve") as eve, key("ann") as ann:
        refused = ask(eve, ROLLUP)
        assert (refused["status"], refused["rule"]) == (403, "expansion")
        assert ask(ann, "SELECT 1")["data"] == [[1]]


def test_a_statement_whose_analyzer_dies_is_refused_and_counted(server: Server, key: Key) -> None:
    with key("eve") as eve, key("ann") as ann:
        ask(eve, "SELECT 'warm'")
        before = eve.get("/me").json()["usage"]["engine_seconds"]["used"]
        stop = threading.Event()

        def kill() -> None:
            known: dict[int, float] = {}
            while not stop.is_set():
                for pid in analyzers(server):
                    used = cpu_seconds(pid)
                    if used > known.setdefault(pid, used) + 0.02:
                        with contextlib.suppress(ProcessLookupError):
                            os.kill(pid, signal.SIGSEGV)
                time.sleep(0.002)

        killer = threading.Thread(target=kill)
        killer.start()
        try:
            refused = ask(eve, LONG)
        finally:
            stop.set()
            killer.join()
        assert (refused["status"], refused["rule"]) == (403, "analysis")
        assert refused["hint"]
        assert ask(ann, "SELECT 'ann'")["data"] == [["ann"]]
        assert eve.get("/me").json()["usage"]["engine_seconds"]["used"] > before


def test_an_analyzer_that_hangs_costs_its_own_statement_alone(server: Server, key: Key) -> None:
    with key("eve") as eve, key("ann") as ann:
        ask(eve, "SELECT 'warm too'")
        for pid in analyzers(server):
            os.kill(pid, signal.SIGSTOP)
        refused = ask(eve, "SELECT 'it hangs'")
        assert (refused["status"], refused["rule"]) == (403, "analysis")
        for pid in analyzers(server):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        assert ask(ann, "SELECT 'it does not'")["data"] == [["it does not"]]


def test_a_flood_of_one_principal_leaves_an_analyzer_to_another(key: Key) -> None:
    """Each of the other's new texts is judged while the flood still waits."""
    with key("eve") as eve, key("ann") as ann:
        ended: list[int] = []

        def flood(number: int) -> None:
            with httpx2.Client(base_url=eve.base_url, headers=eve.headers, timeout=None) as client:
                answer = client.post("/query", json={"query": f"{LONG} -- {number}"})
                ended.append(answer.status_code)

        threads = [threading.Thread(target=flood, args=(number,)) for number in range(24)]
        for thread in threads:
            thread.start()
        for number in range(10):
            assert ask(ann, f"SELECT {number}, 'beside a flood'")["status"] == 200
        before = len(ended)
        for thread in threads:
            thread.join()
        assert before < len(threads)
        assert len(ended) == len(threads)


def test_analyzers_end_with_a_server_that_is_killed(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        server.query("SELECT 1")
        pids = analyzers(server)
        assert pids
        os.kill(server.process.pid, signal.SIGKILL)  # and its server with it
        end = time.monotonic() + PATIENCE_SECONDS
        while any(Path(f"/proc/{pid}").exists() for pid in pids):
            assert time.monotonic() < end
            time.sleep(0.02)
