"""A replica whose place is empty, or that has lost a pack: what each command says of it."""

from __future__ import annotations

import json
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from chronoduck.replication.opening import open_archive
from chronoduck.settings import ReplicaSettings, Settings
from tests.patience import PATIENCE_SECONDS
from tests.server import Server, lose_disk, run_cli

pytestmark = pytest.mark.slow


def _given(directory: Path) -> dict[str, Any]:
    return {
        "DUCKDB_REPLICA_URL": str(directory / "replica"),
        "DUCKDB_REPLICA_INTERVAL": "50ms",
        "DUCKDB_SHUTDOWN_GRACE": "1",
    }


def _report(server: Server) -> dict[str, Any]:
    with server.client() as client:
        report: dict[str, Any] = client.get("/replication").json()
    return report


def _wait(server: Server, state: str, sentence: str = "") -> dict[str, Any]:
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end:
        report = _report(server)
        is_settled = state != "following" or not report["lag_bytes"]
        if report["state"] == state and is_settled and sentence in report["sentence"]:
            return report
        time.sleep(0.1)
    raise AssertionError(report)


def _doctor(directory: Path) -> dict[str, Any]:
    checks = json.loads(run_cli(directory, "doctor", "--json", **_given(directory)).stdout)
    return {check["id"]: check for check in checks}


def test_an_emptied_place_is_told_as_the_loss_of_everything(tmp_path: Path) -> None:
    given = _given(tmp_path)
    with Server(tmp_path, **given) as server:
        server.query("CREATE TABLE t AS SELECT range AS a FROM range(50000)")
        _wait(server, "following")
        lose_disk(tmp_path / "replica")
        (tmp_path / "replica").mkdir(exist_ok=True)  # the replicator may have been faster
        server.query("INSERT INTO t VALUES (-1)")
        # What fails while the files go one by one is told as a failure of its own.
        report = _wait(server, "failing", "lose everything since the last backup")
        assert (report["transactions"], report["generations"], report["store"]["bytes"]) == (
            0,
            0,
            0,
        )
        shown = run_cli(tmp_path, "replication", "status", **given).stdout
        assert "any more. Mount it again" in shown
        assert "not in its place" in _health(server)["reason"]
        assert _doctor(tmp_path)["replica"]["severity"] == "error"
        server.kill()
    _emptied_and_started_again(tmp_path)


def _health(server: Server) -> dict[str, str]:
    with server.client() as client:
        finding: dict[str, str] = client.get("/health").json()["components"]["replica"]
    return finding


def _emptied_and_started_again(directory: Path) -> None:
    given = _given(directory)
    found = _doctor(directory)["replica"]
    assert found["severity"] == "error"
    assert "not in" in found["finding"]
    listed = run_cli(directory, "restore", "--list", **given)
    assert listed.returncode == 66
    # A generation that was being written while the place was emptied may be there, without its packs.
    assert "there is no replica in" in listed.stderr or "no point in" in listed.stderr
    with Server(directory, **given) as server:
        # What fails while the files go one by one is told as a failure of its own.
        _wait(server, "failing", "lose everything since the last backup")
        assert "not in its place" in _health(server)["reason"]


def _change(server: Server, times: int) -> None:
    for number in range(times):
        server.query(f"CREATE OR REPLACE TABLE t AS SELECT md5(b || '{number}') AS b FROM t")
        server.query("CHECKPOINT")
        _wait(server, "following")


def _superseded_pack(directory: Path) -> str:
    """Return a pack that older generations need and the newest does not."""
    archive = open_archive(
        Settings(replica=ReplicaSettings(url=_given(directory)["DUCKDB_REPLICA_URL"]))
    )
    with ThreadPoolExecutor(2) as executor:
        needed = [
            set(archive.blocks_at(generation, executor).blocks_by_pack())
            for generation in archive.listing().generations
        ]
    return min(set.union(*needed) - needed[-1])


def test_points_of_a_lost_pack_are_marked_and_a_noted_loss_is_no_news(tmp_path: Path) -> None:
    given = {**_given(tmp_path), "DUCKDB_REPLICA_STORE_SCRUB_RATE": "0"}
    with Server(tmp_path, **given) as server:
        server.query("CREATE TABLE t AS SELECT range AS a, md5(range::VARCHAR) b FROM range(50000)")
        server.query("CHECKPOINT")
        _wait(server, "following")
        _change(server, 5)
        assert server.stop() == 0
    lost = _superseded_pack(tmp_path)
    (tmp_path / "replica" / lost).unlink()
    listed = json.loads(run_cli(tmp_path, "restore", "--list", "--json", **given).stdout)
    marked = [point for point in listed if point["lost"]]
    assert marked
    assert not listed[-1]["lost"]
    assert {point["lost"] for point in marked} == {lost}
    assert all(point["proof"] is None for point in marked)
    for point in (*marked[:1], *marked[-1:], listed[-1]):
        output = str(tmp_path / f"{point['point']}.db")
        restored = run_cli(tmp_path, "restore", "--to", point["point"], "--output", output, **given)
        assert (restored.returncode == 0) == (point["lost"] is None), restored.stderr
    piped = run_cli(tmp_path, "restore", "--list", **given).stdout.splitlines()
    assert len(piped) == len(listed) + 2
    assert sum("is not there" in line for line in piped) == len(marked)
    replica = given["DUCKDB_REPLICA_URL"]
    verified = run_cli(tmp_path, "verify", replica, **given)
    assert verified.returncode == 74
    assert "new DUCKDB_REPLICA_URL" not in verified.stderr
    assert "is whole" in verified.stderr
    assert run_cli(tmp_path, "replication", "adopt", **given).returncode == 0
    noted = run_cli(tmp_path, "verify", replica, **given)
    assert noted.returncode == 0, noted.stderr
    assert f"lost: {lost} is missing" in noted.stdout
    again = json.loads(run_cli(tmp_path, "restore", "--list", "--json", **given).stdout)
    assert [point["point"] for point in again if point["lost"]] == [
        point["point"] for point in marked
    ]
    for point in (point for point in again if not point["lost"]):  # an empty database needs no pack
        shutil.rmtree(
            tmp_path / "replica" / "generations" / point["generation"], ignore_errors=True
        )
    unusable = run_cli(tmp_path, "restore", "--list", "--json", **given)
    assert unusable.returncode == 66
    assert "no point in" in unusable.stderr
    assert all(point["lost"] for point in json.loads(unusable.stdout))
