"""Mutated uploads to a real service: no answer is a fault of the service, and nobody else notices.

``CHRONODUCK_UPLOADS_OVER_HTTP`` sets how many (300).
"""

from __future__ import annotations

import os
import random
from pathlib import Path

import httpx2
import pytest

from chronoduck.principals import Role
from chronoduck.transfer.detect import FileFormat
from tests.patience import PATIENCE_SECONDS
from tests.security.roles import token_of
from tests.security.upload_worker import mutated
from tests.server import Server

pytestmark = pytest.mark.slow

COUNT = int(os.environ.get("CHRONODUCK_UPLOADS_OVER_HTTP", "300"))
SEED = int(os.environ.get("CHRONODUCK_UPLOADS_SEED", "1"))
EACH_TABLE = 20
_TYPES = {
    FileFormat.ARROW: "application/vnd.apache.arrow.stream",
    FileFormat.PARQUET: "application/vnd.apache.parquet",
    FileFormat.CSV: "text/csv",
    FileFormat.NDJSON: "application/x-ndjson",
}


def test_no_mutated_upload_reaches_others(tmp_path: Path) -> None:
    answers: dict[int, int] = {}
    with Server(tmp_path, DUCKDB_QUOTA_WRITER="requests_per_minute=1000000") as server:
        server.query("CREATE TABLE honest AS SELECT 42 AS n")
        process = server.server_pid
        headers = {"Authorization": f"Bearer {token_of(server, Role.WRITER)}"}
        address = f"{server.url}/api/v1/duckdb"
        with httpx2.Client(base_url=address, headers=headers, timeout=PATIENCE_SECONDS) as client:
            for number, (file_format, body) in enumerate(mutated(random.Random(SEED), COUNT)):
                table = f"t{number // EACH_TABLE}"
                answer = client.post(
                    f"/tables/{table}/rows?create=true",
                    content=body,
                    headers={"Content-Type": _TYPES[file_format]},
                )
                answers[answer.status_code] = answers.get(answer.status_code, 0) + 1
                assert answer.status_code < 500, (number, answer.text[:500])
                # What was stored can be read, by whoever comes next.
                if answer.is_success:
                    read = client.post(
                        "/query", json={"query": f"SELECT COLUMNS(*)::VARCHAR FROM {table}"}
                    )
                    assert read.status_code < 500, (number, read.text[:500])
                if number % EACH_TABLE == 0:
                    assert server.query("SELECT n FROM honest") == [[42]]
            health = client.get("/health").json()
        assert server.query("SELECT n FROM honest") == [[42]]
        assert server.server_pid == process
        assert health["healing"]["count"] == 0
        assert health["status"] == "healthy"
    assert sum(count for status, count in answers.items() if status < 300) > COUNT / 50
