"""Write for minutes, lose the disk, recover, and count: acknowledged, restored, lost."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.durability.load import BULK_CLIENT, BULK_ROWS, TABLE
from tests.server import Server, run_cli

__all__ = ["LoopResult", "run_loop", "write_for"]


@dataclass
class LoopResult:
    """What came of it. Times in seconds."""

    seconds: float
    acknowledged: int
    restored: int
    lost: int
    lost_span: float
    """Between the first lost acknowledgement and the loss of the disk."""
    lag_at_loss: float
    recover_seconds: float
    rows: int
    replica_bytes: int
    checkpoints: dict[str, Any]
    lags: list[tuple[float, float]]
    """Seconds since the beginning, lag."""
    latencies: dict[str, list[tuple[float, float]]]
    """``small`` and ``bulk``: seconds since the beginning, seconds of the transaction."""


def _replicator(server: Server) -> int:
    children = Path(f"/proc/{server.server_pid}/task/{server.server_pid}/children").read_text()
    return next(
        int(pid)
        for pid in children.split()
        if "chronoduck.replication" in Path(f"/proc/{pid}/cmdline").read_text()
    )


def write_for(server: Server, seconds: float) -> subprocess.Popen[str]:
    """Start the writers."""
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "benchmarks.durability.load"),
            *(str(server.port), server.token, str(seconds)),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )


def run_loop(
    directory: Path,
    settings: dict[str, str],
    seconds: float,
    *,
    before: Callable[[], object] = lambda: None,
    after: Callable[[], object] = lambda: None,
) -> LoopResult:
    """Write, destroy, recover, compare; ``before`` is called before writing, ``after`` at its end."""
    data = directory / "data"
    data.mkdir(parents=True)
    lags: list[tuple[float, float]] = []
    report: dict[str, Any] = {}
    with Server(data, **settings) as server:
        server.query(TABLE)
        before()
        began = time.time()
        writers = write_for(server, seconds + 60)
        found: list[str] = []
        reader = threading.Thread(target=lambda: found.append(writers.communicate()[0]))
        reader.start()
        with server.client() as client:
            while time.time() < began + seconds:
                time.sleep(1.0)
                report = client.get("/replication").json()
                lags.append((time.time() - began, report["lag_seconds"] or 0.0))
        replicator = _replicator(server)
        server.process.kill()  # the kernel ends the server with its supervisor
        os.kill(replicator, signal.SIGKILL)
        lost_at = time.time()
        after()
        reader.join()
    shutil.rmtree(data)
    data.mkdir()
    started = time.monotonic()
    recovered = run_cli(data, "recover", "--json", **settings)
    assert recovered.returncode == 0, recovered.stderr
    recover_seconds = time.monotonic() - started
    return _compare(
        data,
        json.loads(found[0]),
        began,
        lost_at,
        facts={
            "seconds": seconds,
            "recover_seconds": recover_seconds,
            "lag_at_loss": lags[-1][1],
            "replica_bytes": report["store"]["shipped_bytes"],
            "checkpoints": report["checkpoints"],
            "lags": lags,
        },
    )


def _compare(
    data: Path,
    clients: list[dict[str, Any]],
    began: float,
    lost_at: float,
    facts: dict[str, Any],
) -> LoopResult:
    out = run_cli(
        data,
        *("query", "SELECT client, number, count(*) FROM writes GROUP BY ALL", "--json"),
        *("--max-rows", "10000000"),
    )
    assert out.returncode == 0, out.stderr
    counts = {(client, number): rows for client, number, rows in json.loads(out.stdout)["data"]}
    lost: list[float] = []
    acknowledged = 0
    for number, client in enumerate(clients):
        assert client["refused"] == 0
        for transaction, at in zip(client["acknowledged"], client["at"], strict=False):
            acknowledged += 1
            if (number, transaction) not in counts:
                lost.append(at)
    for (client_number, transaction), rows in counts.items():  # nothing by halves
        many = 5 if transaction % 5 == 0 else 1
        assert rows == (BULK_ROWS if client_number == BULK_CLIENT else many)
    small = [
        (at - began, took)
        for client in clients[:BULK_CLIENT]
        for at, took in zip(client["at"], client["seconds"], strict=True)
    ]
    bulk = clients[BULK_CLIENT]
    return LoopResult(
        acknowledged=acknowledged,
        restored=acknowledged - len(lost),
        lost=len(lost),
        lost_span=lost_at - min(lost) if lost else 0.0,
        rows=sum(counts.values()),
        latencies={
            "small": sorted(small),
            "bulk": [(a - began, s) for a, s in zip(bulk["at"], bulk["seconds"], strict=True)],
        },
        **facts,
    )
