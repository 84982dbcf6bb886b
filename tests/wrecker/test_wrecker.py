"""Four principals send the worst of everything, on a small volume, beside an honest reader and writer.

``CHRONODUCK_WRECKER_SECONDS`` sets for how long (60), ``CHRONODUCK_WRECKER_SEED`` what is sent. The
figures go to ``CHRONODUCK_WRECKER_OUTPUT``, if it is set, and the server's log beside them.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.fault.volumes import free, small_volume
from tests.patience import PATIENCE_SECONDS
from tests.server import Server, run_cli

pytestmark = pytest.mark.slow

SECONDS = float(os.environ.get("CHRONODUCK_WRECKER_SECONDS", "60"))
SEED = int(os.environ.get("CHRONODUCK_WRECKER_SEED", "20261129"))
OUTPUT = os.environ.get("CHRONODUCK_WRECKER_OUTPUT", "")
VOLUME_MB = 700
CONNECTIONS = {"analyst": 3, "narrowed": 2, "writer": 3, "nobody": 6}
_LOOK_SECONDS = 0.5


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with small_volume(tmp_path / "volume", VOLUME_MB) as volume:
        (volume / "exports").mkdir()
        settings = {
            "DUCKDB_JOB_SPACE": "60MB",
            "DUCKDB_MAX_TEMP_SIZE": "150MB",
            "DUCKDB_DISK_FLOOR": "80MB",
            "DUCKDB_EXPORT_URL": volume / "exports",
            "DUCKDB_MEMORY_LIMIT": "400MB",
        }
        with Server(volume, **settings) as started:
            prepare(started)
            try:
                yield started
            finally:
                if OUTPUT:
                    shutil.copy(started.log, Path(OUTPUT).with_suffix(".log"))


def prepare(server: Server) -> None:
    columns = ", ".join(f"i AS c{index}" for index in range(60))
    for sql in (
        "CREATE TABLE ledger (n BIGINT)",
        "CREATE TABLE numbers AS SELECT range AS id FROM range(100000)",
        f"CREATE TABLE wide AS SELECT {columns} FROM range(10) t(i)",
    ):
        server.query(sql)


def make_key(server: Server, name: str, role: str, **more: Any) -> str:
    with server.client() as client:
        answer = client.post("/keys", json={"name": name, "role": role, **more})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["key"])


def start(module: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", f"tests.wrecker.{module}", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def end(process: subprocess.Popen[str]) -> dict[str, Any]:
    printed, _ = process.communicate(timeout=4 * PATIENCE_SECONDS)
    assert process.returncode == 0
    found: dict[str, Any] = json.loads(printed)
    return found


def start_attackers(server: Server, url: str) -> dict[str, subprocess.Popen[str]]:
    scope = [{"name": "numbers", "filter": "id < 60000"}]
    tokens = {
        "analyst": make_key(server, "evil-analyst", "analyst"),
        "narrowed": make_key(server, "evil-narrowed", "analyst", tables=scope),
        "writer": make_key(server, "evil-writer", "writer"),
        "nobody": "",
    }
    return {
        name: start("attackers", name, url, token, str(SEED), str(CONNECTIONS[name]))
        for name, token in tokens.items()
    }


def watch(server: Server, seconds: float) -> dict[str, Any]:
    """Note restarts and the largest sizes while the attack lasts."""
    until = time.monotonic() + seconds
    deaths: list[float] = []
    owners: set[int] = set()
    most_mb, least_free = 0.0, free(server.directory)
    while time.monotonic() < until:
        assert server.process.poll() is None, "the supervisor ended"
        pid = server.pid_of_owner
        if pid is not None and pid not in owners:
            owners.add(pid)
            deaths.append(time.time())
        with suppress(OSError, AssertionError, IndexError):
            most_mb = max(most_mb, server.resident_mb())
        least_free = min(least_free, free(server.directory))
        time.sleep(_LOOK_SECONDS)
    return {"owners": deaths, "most_mb": round(most_mb), "least_free_mb": least_free // 1_000_000}


def figures(waits: list[tuple[float, float]]) -> dict[str, float]:
    seconds = sorted(wait for _, wait in waits)
    return {
        "answered": len(seconds),
        "p50": round(seconds[len(seconds) // 2], 3),
        "p99": round(seconds[int(len(seconds) * 0.99)], 3),
        "longest": round(seconds[-1], 3),
    }


def wait_until_well(server: Server) -> None:
    patience = time.monotonic() + PATIENCE_SECONDS
    health: dict[str, Any] = {}
    with server.client() as client:
        while time.monotonic() < patience:
            with suppress(httpx2.HTTPError, ValueError, AssertionError):  # or it is being replaced
                health = client.get("/health").json()
                if health.get("status") != "unhealthy" and server.query("SELECT 1") == [[1]]:
                    return
            time.sleep(_LOOK_SECONDS)
    pytest.fail(f"the service did not get well: {json.dumps(health)[:3000]}")


def check_ledger(server: Server, promised: dict[str, Any]) -> None:
    counted = Counter(
        server.query("SELECT list(n) FROM ledger")[0][0]
    )  # rows would be cut at 10,000
    lost = [number for number in promised["acknowledged"] if number not in counted]
    doubled = [number for number, times in counted.items() if times > 1]
    assert lost == []
    assert doubled == []
    assert set(counted) <= {*promised["acknowledged"], *promised["unknown"]}


def test_the_honest_are_answered_and_lose_nothing(server: Server) -> None:
    url = f"{server.url}/api/v1/duckdb"
    reads = make_key(server, "honest-reader", "analyst")
    writes = make_key(server, "honest-writer", "writer")
    honest = start("honest", url, reads, writes)
    attackers = start_attackers(server, url)
    seen = watch(server, SECONDS)
    outcomes = {name: end(process) for name, process in attackers.items()}
    wait_until_well(server)
    report = end(honest)
    reader, writer = report["reader"], report["writer"]
    summary = {
        "reader": {**figures(reader["waits"]), "refusals": reader["refusals"]},
        "writer": {
            **figures(writer["waits"]),
            "refusals": writer["refusals"],
            "acknowledged": len(writer["acknowledged"]),
            "unknown": len(writer["unknown"]),
        },
        "processes": len(seen["owners"]),
        "most_mb": seen["most_mb"],
        "least_free_mb": seen["least_free_mb"],
        "attackers": outcomes,
    }
    print(json.dumps(summary, indent=1))
    if OUTPUT:
        Path(OUTPUT).write_text(json.dumps({**summary, "seen": seen, "waits": report}))
    assert reader["shrunk"] == []
    check_ledger(server, writer)
    for each in (reader, writer):
        assert each["waits"]
        boxed = [reason for reason in each["refusals"] if reason.startswith("429")]
        assert boxed == [], "an honest principal pays for others"
    assert all(sum(found.values()) for found in outcomes.values())
    server.stop()
    verified = run_cli(server.directory, "verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr
