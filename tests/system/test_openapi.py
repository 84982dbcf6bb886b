"""Every documented operation, asked many things: answers are as documented, and none is a fault."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import jsonschema_rs
import pytest

from tests.docs.documents import REPOSITORY
from tests.patience import PATIENCE_SECONDS
from tests.server import Server

pytestmark = pytest.mark.slow

TOOL = Path(sys.executable).with_name("schemathesis")
# Full, late and overloaded are answers; only what nobody foresaw is a fault.
CONFIGURATION = """
# What SQL is valid no schema can say.
[checks.positive_data_acceptance]
enabled = false

[checks.not_a_server_error]
expected-statuses = ["2xx", "3xx", "4xx", 503, 504, 507]

[checks.negative_data_rejection]
expected-statuses = [400, 401, 403, 404, 405, 406, 409, 413, 415, 422, 428, 429, "5xx"]

# The schema is that of the stream's text; the tool holds it against each event.
[[operations]]
include-name = "GET /api/v1/duckdb/jobs/{job_id}/events"
checks.response_schema_conformance.enabled = false

# A GET of it asks for a table whose name ends in /rows.
[[operations]]
include-name = "POST /api/v1/duckdb/tables/{name}/rows"
checks.unsupported_method.enabled = false
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    directory = tmp_path_factory.mktemp("openapi")
    settings = {
        "DUCKDB_REPLICA_URL": directory / "replica",
        "DUCKDB_BACKUP_DIR": directory / "backups",
        "DUCKDB_STATEMENT_TIMEOUT": "5",
        "DUCKDB_AUTH_MAX_FAILURES": "1000000",  # wrong tokens are part of the questions
    }
    with Server(directory, **settings) as started:
        captures = (REPOSITORY / "examples" / "data" / "ipwb-sample.cdxj").read_bytes()
        with started.client() as client:
            sent = client.post("/tables/pages_analytics/rows", content=captures)
            assert json.loads(sent.text.splitlines()[-1])["event"] == "done"
        yield started


@pytest.mark.skipif(not TOOL.exists(), reason="schemathesis is not installed")
def test_every_answer_is_as_the_document_says(server: Server, tmp_path: Path) -> None:
    (tmp_path / "schemathesis.toml").write_text(CONFIGURATION)
    done = subprocess.run(
        [
            *(TOOL, "--config-file", tmp_path / "schemathesis.toml", "run"),
            f"{server.url}/openapi.json",
            *("--header", f"Authorization: Bearer {server.token}"),
            *("--phases", "examples,coverage,fuzzing", "--max-examples", "30"),
            *("--seed", "1", "--generation-deterministic"),
            *("--continue-on-failure", "--no-color"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    (tmp_path / "report.txt").write_text(done.stdout + done.stderr)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    operations = sum(
        len(methods)
        for methods in httpx2.get(f"{server.url}/openapi.json").json()["paths"].values()
    )
    assert f"Tested: {operations}" in done.stdout, done.stdout[-3000:]
    health = httpx2.get(f"{server.url}/api/v1/duckdb/health").json()
    assert health["status"] == "healthy", health["errors"]
    assert "unforeseen_error" not in server.log_text()


def test_every_reference_of_the_document_leads_somewhere(server: Server) -> None:
    document = httpx2.get(f"{server.url}/openapi.json").json()

    def references(part: object) -> Iterator[str]:
        if isinstance(part, dict):
            if isinstance(part.get("$ref"), str):
                yield part["$ref"]
            for item in part.values():
                yield from references(item)
        elif isinstance(part, list):
            for item in part:
                yield from references(item)

    found = set(references(document))
    assert found
    for reference in found:
        place: object = document
        for name in reference.removeprefix("#/").split("/"):
            assert isinstance(place, dict)
            assert name in place, reference
            place = place[name]


EXPORTS = """
[files.answers]
query = "SELECT 42 AS answer"
"""
SYNCS = """
[source.nowhere]
dsn_file = "dsn"

[sync.pages]
source = "nowhere"
table = "pages"
target = "pages"
key = ["id"]
cursor = "id"
"""


@pytest.fixture
def full_server(tmp_path: Path) -> Iterator[Server]:
    """A server that has everything declared, with a source that does not answer."""
    (tmp_path / "exports.toml").write_text(EXPORTS)
    (tmp_path / "sync.toml").write_text(SYNCS)
    (tmp_path / "dsn").write_text("postgresql://nobody@127.0.0.1:1/nothing")
    settings = {
        "DUCKDB_REPLICA_URL": tmp_path / "replica",
        "DUCKDB_BACKUP_DIR": tmp_path / "backups",
        "DUCKDB_EXPORT_URL": tmp_path / "exports",
        "DUCKDB_EXPORT_FILE": tmp_path / "exports.toml",
        "DUCKDB_SYNC_FILE": tmp_path / "sync.toml",
        "DUCKDB_STATEMENT_TIMEOUT": PATIENCE_SECONDS,
    }
    with Server(tmp_path, **settings) as started:
        captures = (REPOSITORY / "examples" / "data" / "ipwb-sample.cdxj").read_bytes()
        with started.client() as client:
            client.post("/tables/pages_analytics/rows", content=captures)
        yield started


def test_every_answer_has_the_members_of_its_model_and_no_others(full_server: Server) -> None:
    """A walk over all that answers JSON, with the models closed: what is not described is a mistake."""
    walk = Walk(httpx2.get(f"{full_server.url}/openapi.json", timeout=PATIENCE_SECONDS).json())
    with full_server.client() as client:
        walk.through(client)
    missing = walk.answering_json() - walk.seen
    # No slot is there to be dropped, and no statement runs long enough to be found.
    assert missing == {"drop_sync", "get_query", "cancel_query", "release_penalty"}


class Walk:
    """Compares answers with the document; ``seen`` are the operations that answered."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.seen: set[str] = set()
        self._root = "/api/v1/duckdb"
        self._document = document
        self._models = {
            name: {"additionalProperties": False, **model} if "properties" in model else model
            for name, model in document["components"]["schemas"].items()
        }

    def answering_json(self) -> set[str]:
        return {
            operation["operationId"]
            for methods in self._document["paths"].values()
            for operation in methods.values()
            for status, answer in operation["responses"].items()
            if status.startswith("2")
            and "application/json" in answer["content"]
            and not operation["operationId"].startswith("template_")
        }

    def check(self, client: httpx2.Client, call: str, path: str = "", **request: Any) -> Any:
        method, template = call.split()
        answer = client.request(method, path or template, **request)
        assert answer.status_code < 300, (call, answer.text)
        operation = self._document["paths"][f"{self._root}{template}"][method.lower()]
        content = operation["responses"][str(answer.status_code)]["content"]
        schema = {**content["application/json"]["schema"], "components": {"schemas": self._models}}
        mistakes = [
            f"{call}: {'.'.join(map(str, each.instance_path))}: {each.message}"
            for each in jsonschema_rs.validator_for(schema).iter_errors(answer.json())
        ]
        assert not mistakes, mistakes
        self.seen.add(operation["operationId"])
        return answer.json()

    def job(self, client: httpx2.Client, call: str, path: str = "", **request: Any) -> Any:
        begun = self.check(client, call, path, **request)
        end = time.monotonic() + PATIENCE_SECONDS
        while True:
            job = self.check(client, "GET /jobs/{job_id}", f"/jobs/{begun['id']}")
            if job["state"] != "running":
                break
            assert time.monotonic() < end, job
            time.sleep(0.1)
        assert job["state"] == "succeeded", job
        return job

    def through(self, client: httpx2.Client) -> None:
        statement = {"query": "SELECT 42 AS answer"}
        self.check(client, "POST /query", json=statement)
        self.check(client, "POST /query", json={**statement, "fetch_mode": "none"})
        self.check(client, "POST /batch", json={"queries": ["SELECT 1"]})
        self.check(client, "POST /explain", json=statement)
        job = self.job(client, "POST /jobs", json=statement)
        self.check(client, "GET /jobs/{job_id}/result", f"/jobs/{job['id']}/result")
        export = self.job(client, "POST /exports", json=statement)
        self.check(
            client,
            "POST /exports/{job_id}/links",
            f"/exports/{export['id']}/links",
            json={"file": export["result"]["files"][0]["name"]},
        )
        self.check(client, "POST /exports/run", json={})
        backup = self.job(client, "POST /backups", json={})["result"]["id"]
        self.job(client, "POST /backups/{backup_id}/verify", f"/backups/{backup}/verify")
        for call in ("/verify", "/compact", "/captures/rekey", "/replication/drill"):
            self.job(client, f"POST {call}")
        for call in ("/circuit-breaker/reset", "/initialize"):
            self.check(client, f"POST {call}")
        self.check(client, "POST /sync", json={})
        wish = {"name": "walker", "role": "viewer", "limits": {"max_rows": 7}}
        grants = {"tables": [{"name": "pages_analytics", "filter": "status_code = 200"}]}
        self.check(client, "POST /keys", json={**wish, **grants})
        answering = self.answering_json()
        for path, methods in self._document["paths"].items():
            if "{" not in path and methods.get("get", {}).get("operationId") in answering:
                params = statement if path.endswith("/query") else {}
                self.check(client, f"GET {path.removeprefix(self._root)}", params=params)
        self.check(client, "GET /tables/{name}", "/tables/pages_analytics")
        self.check(client, "GET /templates/{name}", "/templates/page-stats")
        self.check(client, "DELETE /keys/{id_or_name}", "/keys/walker")
        self.check(client, "DELETE /jobs/{job_id}", f"/jobs/{job['id']}")
