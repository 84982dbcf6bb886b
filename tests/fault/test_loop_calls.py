"""No file is touched on the event loop: a slow disk then holds up only who needs it."""

from __future__ import annotations

import io
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.fault.loop_calls.record import LoopCalls, build_library
from tests.patience import PATIENCE_SECONDS
from tests.server import Server

pytestmark = pytest.mark.slow

ALLOWED = {
    "assembly/parts.py:build": "before anybody is served",
    "assembly/greedy_writers.py:_sizes": "asks for names that DuckDB has open: the kernel knows them",
    "auth/admin_token.py:_version": "as the key ring does, for each token that is checked",
    "auth/key_ring.py:_version_now": "asks for one name that the kernel has in memory, for each request",
}
"""``file:function`` somewhere in the stack, and why its calls harm nobody."""
LARGE = "SELECT range AS n, repeat('x', 100) AS t FROM range(200000)"
FORMATS = {
    "json": "application/json",
    "ndjson": "application/x-ndjson",
    "csv": "text/csv",
    "arrow": "application/vnd.apache.arrow.stream",
    "parquet": "application/vnd.apache.parquet",
}
EXPORT_FILE = '[files.items]\nquery = "SELECT range AS n FROM range(10)"\nkeep = 2\n'
EXAMPLES = Path(__file__).parents[2] / "examples" / "data"


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("gcc") is None:
        if os.environ.get("CI"):
            pytest.fail("gcc is not installed")
        pytest.skip("needs gcc")
    return build_library(tmp_path_factory.mktemp("library"))


def table() -> pa.Table:
    return pa.table({"a": pa.array(range(50_000)), "b": ["y" * 40] * 50_000})


def parquet_bytes() -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table(), buffer)
    return buffer.getvalue()


def arrow_bytes() -> bytes:
    buffer = io.BytesIO()
    with pa.ipc.new_stream(buffer, table().schema) as writer:
        writer.write_table(table())
    return buffer.getvalue()


def uploads() -> Iterator[tuple[str, bytes]]:
    rows = [{"a": number, "b": "y" * 40} for number in range(50_000)]
    yield FORMATS["parquet"], parquet_bytes()
    yield FORMATS["arrow"], arrow_bytes()
    yield FORMATS["ndjson"], b"\n".join(json.dumps(row).encode() for row in rows)
    yield FORMATS["json"], json.dumps(rows).encode()
    yield FORMATS["csv"], b"a,b\n" + b"\n".join(b"%d,y" % row["a"] for row in rows)
    yield FORMATS["ndjson"], b'{"a": 1, "b": "one row"}\n'


class Driver:
    """Uses every operation of a service, and notes which."""

    def __init__(self, client: httpx2.Client) -> None:
        self.client = client
        self.called: set[str] = set()

    def ask(self, call: str, path: str = "", status: int | None = None, **request: Any) -> Any:
        """Send ``METHOD /route`` with values for its parts in ``path``; return the answer."""
        method, route = call.split()
        self.called.add(call)
        answer = self.client.request(method, path or route, **request)
        expected = answer.status_code < 300 if status is None else answer.status_code == status
        assert expected, (call, path, answer.status_code, answer.text[:500])
        return answer

    def finish(self, job_id: str, state: str = "succeeded") -> dict[str, Any]:
        """Wait for the end of a job."""
        end = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < end:
            job: dict[str, Any] = self.ask("GET /jobs/{job_id}", f"/jobs/{job_id}").json()
            if job["state"] != "running":
                assert job["state"] == state, job
                return job
            time.sleep(0.05)
        raise AssertionError(job)

    def results(self) -> None:
        """Small and large results of each format, whole and as a stream, and one that is left."""
        for media_type in FORMATS.values():
            for extra in ({}, {"max_rows": 150_000}):
                body = {"query": LARGE, **extra}
                self.ask("POST /query", json=body, headers={"Accept": media_type})
        self.ask("POST /query", json={"query": "SELECT 1"})
        self.ask("GET /query", "/query?query=SELECT%201")
        for sql in ("CREATE TABLE t (a BIGINT, b VARCHAR)", "INSERT INTO t VALUES (1, 'x')"):
            self.ask("POST /query", json={"query": sql})
        self.ask("POST /query", json={"query": "SELECT nothing FROM t"}, status=400)
        accept = {"Accept": FORMATS["csv"]}
        body = {"query": LARGE.replace("200000", "5000000"), "max_rows": 4_000_000}
        for wanted in (body, {"query": body["query"]}):
            with self.client.stream("POST", "/query", json=wanted, headers=accept) as answer:
                next(answer.iter_bytes(), None)
        self.ask("POST /batch", json={"queries": ["SELECT 1", "SELECT count(*) FROM t"]})
        self.ask("POST /explain", json={"query": "SELECT * FROM t"})
        self.ask("GET /tables")
        self.ask("GET /tables/{name}", "/tables/t")

    def loads(self) -> None:
        """Uploads of each format: good ones, a broken one, an empty one, and the same again."""
        for number, (media_type, content) in enumerate(uploads()):
            for key in (f"k{number}", f"k{number}"):
                headers = {"Content-Type": media_type, "Idempotency-Key": key}
                answer = self.ask(
                    "POST /tables/{name}/rows",
                    f"/tables/t{number}/rows?create=true",
                    content=content,
                    headers=headers,
                )
                assert b"error" not in answer.content[-200:], answer.text[-500:]
        captures = (EXAMPLES / "ipwb-sample.cdxj").read_bytes()
        self.client.post("/tables/captures/rows?create=true", content=captures)
        for broken in (parquet_bytes()[:-1000], b""):
            headers = {"Content-Type": FORMATS["parquet"]}
            self.client.post("/tables/t0/rows", content=broken, headers=headers)

    def jobs(self) -> None:
        """A job of each kind, its result in parts, its events; one that fails, one that is ended."""
        job = self.ask("POST /jobs", json={"query": LARGE}).json()
        self.ask("GET /jobs/{job_id}/events", f"/jobs/{job['id']}/events")
        self.finish(job["id"])
        for media_type in FORMATS.values():
            path = f"/jobs/{job['id']}/result?offset=5&limit=100000"
            self.ask("GET /jobs/{job_id}/result", path, headers={"Accept": media_type})
        failing = "SELECT CAST(t AS INTEGER) FROM (SELECT 'x' || range AS t FROM range(100000))"
        self.finish(self.ask("POST /jobs", json={"query": failing}).json()["id"], "failed")
        endless = self.ask("POST /jobs", json={"query": LARGE.replace("200000", "9e9::BIGINT")})
        self.ask("GET /jobs")
        self.ask("DELETE /jobs/{job_id}", f"/jobs/{endless.json()['id']}")
        self.finish(endless.json()["id"], "cancelled")
        self.ask("DELETE /jobs/{job_id}", f"/jobs/{job['id']}")

    def exports(self) -> None:
        """Exports of each format, by partitions, fetched by route and by link, and forgotten."""
        for wish in ({}, {"format": "csv"}, {"format": "json", "partition_by": ["part"]}):
            sql = "SELECT range AS n, range % 3 AS part FROM range(100000)"
            begun = self.ask("POST /exports", json={"query": sql, **wish}).json()
            job = self.finish(begun["id"])
            name = job["result"]["files"][0]["name"]
            here = f"/exports/{job['id']}"
            self.ask("GET /exports/{job_id}/files/{name}", f"{here}/files/{name}")
            link = self.ask(
                "POST /exports/{job_id}/links", f"{here}/links", json={"file": name}
            ).json()["url"]
            self.ask("GET /downloads/{token}", "/downloads/" + link.rpartition("/")[2])
            self.ask("DELETE /jobs/{job_id}", f"/jobs/{job['id']}")
        self.ask("GET /exports")
        for job in self.ask("POST /exports/run", json={}).json()["jobs"]:
            self.finish(job["id"])

    def care(self) -> None:
        """Backups, their verification, compaction, the replica and its drill."""
        self.finish(self.ask("POST /backups", json={}).json()["id"])
        backup = self.ask("GET /backups").json()["backups"][0]["id"]
        path = f"/backups/{backup}/verify"
        self.finish(self.ask("POST /backups/{backup_id}/verify", path).json()["id"])
        self.finish(self.ask("POST /verify").json()["id"])
        self.finish(self.ask("POST /compact").json()["id"])
        self.finish(self.ask("POST /captures/rekey").json()["id"])
        self.ask("POST /query", json={"query": "CHECKPOINT"})
        self.ask("GET /replication")
        self.client.post("/replication/drill")
        self.called.add("POST /replication/drill")

    def people(self) -> None:
        """Keys, quotas, penalties, what is used and what was done."""
        wish = {"name": "ann", "role": "analyst"}
        key = self.ask("POST /keys", json=wish).json()
        headers = {"Authorization": f"Bearer {key['key']}"}
        self.ask("POST /query", json={"query": LARGE}, headers=headers)
        self.ask("GET /me", headers=headers)
        self.ask("GET /me", headers={"Authorization": "Bearer wrong"}, status=401)
        self.ask("GET /keys")
        self.ask("GET /usage")
        self.ask("GET /audit")
        self.ask("GET /penalties")
        self.ask("DELETE /penalties/{party}", "/penalties/nobody", status=404)
        self.ask("DELETE /keys/{id_or_name}", "/keys/ann")

    def views(self) -> None:
        """What monitoring and people look at."""
        for path in ("/health", "/health/live", "/health/ready", "/statistics"):
            self.ask(f"GET {path}")
        self.ask("GET /statistics/statements")
        self.ask("GET /templates/performance-metrics")
        self.ask("GET /templates")
        self.ask("GET /templates/{name}", "/templates/nothing", status=404)
        for template in self.client.get("/templates").json():
            self.called.add(f"GET /templates/{template['name']}")
            self.client.get(f"/templates/{template['name']}")
        self.ask("GET /queries")
        self.ask("GET /queries/{query_id}", "/queries/nothing", status=404)
        self.ask("DELETE /queries/{query_id}", "/queries/nothing", status=404)
        self.ask("POST /circuit-breaker/reset")
        self.ask("POST /initialize")
        self.ask("GET /sync")
        self.ask("POST /sync", json={})
        self.client.delete("/sync/nothing")
        self.called.add("DELETE /sync/{name}")
        origin = str(self.client.base_url).partition("/api/")[0]
        for page in ("/metrics", "/docs/api/duckdb", "/docs/api/duckdb/runbooks", "/openapi.json"):
            self.ask("GET /metrics", origin + page)


def settings_in(directory: Path) -> dict[str, Any]:
    exports = directory / "export.toml"
    exports.write_text(EXPORT_FILE)
    return {
        "DUCKDB_REPLICA_URL": directory / "replica",
        "DUCKDB_REPLICA_INTERVAL": "100ms",
        "DUCKDB_BACKUP_DIR": directory / "backups",
        "DUCKDB_EXPORT_URL": directory / "exports",
        "DUCKDB_EXPORT_FILE": exports,
        "DUCKDB_BALLAST_SIZE": "1MB",
        "DUCKDB_SHADOW_ENABLED": "true",
    }


def test_no_route_touches_a_file_on_the_event_loop(library: Path, tmp_path: Path) -> None:
    calls = LoopCalls(tmp_path / "calls.jsonl", library)
    with Server(tmp_path, **settings_in(tmp_path), **calls.environment) as server:
        with server.client() as client:
            driver = Driver(client)
            steps: list[Callable[[], None]] = [
                *(driver.results, driver.loads, driver.jobs, driver.exports),
                *(driver.care, driver.people, driver.views),
            ]
            for step in steps:
                step()
            paths = httpx2.get(f"{server.url}/openapi.json").json()["paths"]
        assert server.stop() == 0
    routes = {
        f"{method.upper()} {path.removeprefix('/api/v1/duckdb')}"
        for path, methods in paths.items()
        for method in methods
    }
    assert routes - driver.called == set(), "routes that this test does not use"
    found = [call for call in calls.of_server() if not call.functions & ALLOWED.keys()]
    assert not found, "\n".join(map(str, found))
