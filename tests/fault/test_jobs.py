"""kill -9 while jobs run: none is told as what it was not, and finished results are there."""

from __future__ import annotations

import random
import time
from pathlib import Path

import httpx2
import pytest

from tests.patience import PATIENCE_SECONDS
from tests.server import Server

pytestmark = pytest.mark.slow
ENDLESS = "SELECT count(*) FROM range(10000000) a, range(10000000) b WHERE a.range + b.range = -1"


def test_a_killed_service_tells_the_truth_about_its_jobs(tmp_path: Path) -> None:
    chance = random.Random(7)
    done: dict[str, int] = {}
    with Server(tmp_path) as server:
        server.query("CREATE TABLE t (round INTEGER)")
    for round_ in range(5):
        with Server(tmp_path) as server, server.client() as client:
            endless = client.post("/jobs", json={"query": ENDLESS}).json()["id"]
            for number in range(5):
                rows = 10_000 + round_ * 10 + number
                done[finished_job(client, f"FROM range({rows})")] = rows
            write = client.post("/jobs", json={"query": f"INSERT INTO t VALUES ({round_})"})
            time.sleep(chance.uniform(0, 0.05))
            server.kill()
        with Server(tmp_path) as server, server.client() as client:
            jobs = {job["id"]: job for job in client.get("/jobs").json()}
            assert jobs[endless]["state"] == "interrupted"
            assert jobs[endless]["error"]["code"] == "job_interrupted"
            written = server.query(f"SELECT count(*) FROM t WHERE round = {round_}")[0][0]
            # Killed before its first line was written, it is not known at all.
            state = jobs.get(write.json()["id"], {"state": "interrupted"})["state"]
            assert state in ("interrupted", "succeeded")
            assert written == 1 or state == "interrupted", "told as done, and it is not"
            for job_id, rows in done.items():
                assert jobs[job_id]["state"] == "succeeded"
                result = client.get(f"/jobs/{job_id}/result?offset={rows - 1}").json()
                assert result["data"] == [[rows - 1]]


def finished_job(client: httpx2.Client, sql: str) -> str:
    job_id = str(client.post("/jobs", json={"query": sql}).json()["id"])
    end = time.monotonic() + PATIENCE_SECONDS
    while client.get(f"/jobs/{job_id}").json()["state"] == "running":
        assert time.monotonic() < end
        time.sleep(0.01)
    return job_id
