"""Every documented operation, asked many things: answers are as documented, and none is a fault."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.docs.documents import REPOSITORY
from tests.server import Server

pytestmark = pytest.mark.slow

TOOL = Path(sys.executable).with_name("schemathesis")
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "missing_required_header",
    "unsupported_method",
    "allow_header_conformance",
    "ignored_auth",
)
"""Not "valid requests are accepted": what SQL is valid no schema can say."""

# Full, late and overloaded are answers; only what nobody foresaw is a fault.
CONFIGURATION = """
[checks.not_a_server_error]
expected-statuses = ["2xx", "3xx", "4xx", 503, 504, 507]

[checks.negative_data_rejection]
expected-statuses = [400, 401, 403, 404, 405, 406, 409, 413, 415, 422, 428, 429, "5xx"]
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
            *("--checks", ",".join(CHECKS)),
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
