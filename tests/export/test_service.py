"""Exports from outside: the command, the routes, metrics, a schedule, with and without a service."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from tests.meilisearch import KEY, Meilisearch
from tests.server import Server, run_cli, settled_text

pytestmark = pytest.mark.slow
FILE = """
[meilisearch.search]
url = "URL"
key_env = "TEST_SEARCH_KEY"

[index.items]
meilisearch = "search"
index = "INDEX"
query = "SELECT i AS id, 'v' || i AS v FROM range(5) r(i)"
key = "id"
schedule = "* * * * *"

[index.broken]
meilisearch = "search"
index = "INDEX-broken"
query = "SELECT * FROM nowhere"
key = "id"
"""


@pytest.fixture
def file(search: Meilisearch, index: str, tmp_path: Path) -> Path:
    path = tmp_path / "export.toml"
    path.write_text(FILE.replace("URL", search.url).replace("INDEX", index))
    return path


def test_the_command_works_without_a_service(
    search: Meilisearch, index: str, tmp_path: Path, file: Path
) -> None:
    done = run_cli(tmp_path, "export", "run", "items", DUCKDB_EXPORT_FILE=file)
    assert done.returncode == 0, done.stderr
    assert "5 documents sent" in done.stdout
    assert search.count(index) == 5
    failed = run_cli(tmp_path, "export", "run", DUCKDB_EXPORT_FILE=file)
    assert failed.returncode == 65
    assert "items: 5 documents sent" in failed.stdout
    assert "nowhere" in failed.stderr
    told = run_cli(tmp_path, "export", "status", "--json", DUCKDB_EXPORT_FILE=file)
    items, broken = json.loads(told.stdout)
    assert (items["documents"], items["last"]["how"], items["error"]) == (5, "rebuild", None)
    assert broken["failures"] == 1
    assert "nowhere" in broken["error"]["detail"]
    table = run_cli(tmp_path, "export", "status", DUCKDB_EXPORT_FILE=file).stdout
    assert "failed" in table
    assert "what to do:" in table
    times = run_cli(tmp_path, "export", "schedule", "--json", DUCKDB_EXPORT_FILE=file)
    assert [len(each["next"]) for each in json.loads(times.stdout)] == [3, 0]
    unknown = run_cli(tmp_path, "export", "run", "other", DUCKDB_EXPORT_FILE=file)
    assert unknown.returncode == 66
    assert "items, broken" in unknown.stderr
    for printed in (done, failed, told, unknown):
        assert KEY not in printed.stdout + printed.stderr


def test_a_service_runs_them_by_request_and_by_schedule_and_tells_of_them(
    search: Meilisearch, index: str, tmp_path: Path, file: Path
) -> None:
    with Server(tmp_path, DUCKDB_EXPORT_FILE=file) as server, server.client() as client:
        begun = client.post("/exports/run", json={"names": ["items"]})
        assert begun.status_code == 202
        job = begun.json()["jobs"][0]
        assert job["kind"] == "export items"
        while (job := client.get(f"/jobs/{job['id']}").json())["state"] == "running":
            time.sleep(0.05)
        assert job["result"]["documents"] == 5
        done = run_cli(tmp_path, "export", "run", "--rebuild", "items", DUCKDB_EXPORT_FILE=file)
        assert "(rebuild)" in done.stdout, done.stderr
        assert (
            client.post("/exports/run", json={"names": ["no"]}).json()["code"] == "export_not_found"
        )
        described = client.get("/exports").json()["exports"][0]
        assert described["target"].endswith(index)
        assert described["next_at"]
        page = server_metrics(server)
        assert 'duckdb_export_rows_total{export="items"} 10.0' in page
        assert 'duckdb_export_failures_total{export="broken"} 0.0' in page
        audit = client.get("/audit", params={"event": "export_started"}).json()["events"]
        assert audit[-1]["export"] == "items"
        search.wait(search.client.delete(f"/indexes/{index}"))
        for _ in range(240):  # the schedule's next minute
            if search.count(index) == 5:
                break
            time.sleep(1)
        assert search.count(index) == 5
        hidden = client.post("/query", json={"query": "SELECT * FROM _chronoduck.exports"})
        assert hidden.status_code == 403
    assert KEY not in settled_text(tmp_path / "server.log")


def server_metrics(server: Server) -> str:
    import httpx2

    return httpx2.get(f"{server.url}/metrics").text
