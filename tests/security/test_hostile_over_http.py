"""Hostile statements over real HTTP to a real server: each is refused, nothing happens.

``CHRONODUCK_HOSTILE_SHARE`` is the share of the corpus that each route gets from each role (0.02); all of
it is sent in process by ``test_hostile_in_process``.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Callable, Iterator

import httpx2
import pytest

from chronoduck.principals import Role
from tests.patience import PATIENCE_SECONDS
from tests.security.corpus import filled, hostile, mutated
from tests.security.roles import ROLES_OVER_HTTP, token_of
from tests.security.stage import Stage, stage_in
from tests.server import Server

pytestmark = pytest.mark.slow

SHARE = float(os.environ.get("CHRONODUCK_HOSTILE_SHARE", "0.02"))
SNAPSHOT = (
    "FROM users ORDER BY id",
    "SHOW DATABASES",
    "SELECT table_name FROM duckdb_tables() ORDER BY 1",
    "SELECT view_name, sql FROM duckdb_views() WHERE NOT internal ORDER BY 1",
    "SELECT function_name FROM duckdb_functions() WHERE NOT internal ORDER BY 1",
    "SELECT sequence_name, last_value FROM duckdb_sequences()",
    "SELECT current_setting('memory_limit'), current_setting('threads')",
    "SELECT current_setting('TimeZone'), current_setting('search_path')",
)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with stage_in(tmp_path_factory.mktemp("stage")) as opened:
        yield opened


@pytest.fixture(scope="module")
def server(stage: Stage) -> Iterator[Server]:
    # A refusal by quota would prove nothing.
    no_quota = "requests_per_minute=1000000"
    with Server(
        stage.database.parent,
        DUCKDB_TEMP_DIRECTORY=stage.temp,
        DUCKDB_EXPORT_URL=stage.temp.parent / "exports",
        DUCKDB_QUOTA_VIEWER=no_quota,
        DUCKDB_QUOTA_ANALYST=no_quota,
    ) as started:
        yield started


def client_of(server: Server, role: Role) -> httpx2.Client:
    return httpx2.Client(
        base_url=f"{server.url}/api/v1/duckdb",
        headers={"Authorization": f"Bearer {token_of(server, role)}"},
        timeout=PATIENCE_SECONDS,
    )


def snapshot(client: httpx2.Client) -> list[object]:
    answers = []
    for sql in SNAPSHOT:
        response = client.post("/query", json={"query": sql})
        assert response.status_code == 200, response.text
        answers.append(response.json()["data"])
    return answers


def refused(response: httpx2.Response, stage: Stage, sql: str) -> bool:
    """Whether the answer is a refusal or a fault of the statement, and tells nothing."""
    assert stage.words not in response.text, sql
    assert "hunter2" not in response.text
    assert response.status_code < 500, (response.text, sql)
    return response.status_code in (400, 403, 413, 422)


def direct(sql: str) -> dict[str, object]:
    return {"json": {"query": sql, "timeout_seconds": 20}}


def batch(sql: str) -> dict[str, object]:
    return {"json": {"queries": [sql], "timeout_seconds": 20}}


def streamed(sql: str) -> dict[str, object]:
    accept = {"Accept": "application/vnd.apache.arrow.stream"}
    return {"json": {"query": sql, "timeout_seconds": 20}, "headers": accept}


def row_filter(sql: str) -> dict[str, object]:
    tables = [{"name": "users", "filter": f"EXISTS ({sql.rstrip('; ')})"}]
    return {"json": {"name": "filtered", "role": "viewer", "tables": tables}}


ROUTES: dict[str, tuple[str, Callable[[str], dict[str, object]]]] = {
    "query": ("/query", direct),
    "streamed": ("/query", streamed),
    "batch": ("/batch", batch),
    "explain": ("/explain", direct),
    "jobs": ("/jobs", direct),
    "exports": ("/exports", direct),
    "filters": ("/keys", row_filter),
}
"""What takes SQL over HTTP, and how."""


def corpus_of(route: str, role: Role) -> list[str]:
    """Return other spellings for each route and role, and the same ones in every run."""
    seed = f"{route}-{role}"
    corpus = hostile() + list(mutated(hostile(), 3, seed=sum(seed.encode())))
    assert len(corpus) >= 4_000 or SHARE < 1
    return random.Random(seed).sample(corpus, max(1, int(len(corpus) * SHARE)))


def outcome(client: httpx2.Client, response: httpx2.Response) -> httpx2.Response:
    """Return how a job ended that has begun: its error as if it had been the answer."""
    if response.status_code != 202:
        return response
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end:
        job = client.get(f"/jobs/{response.json()['id']}").json()
        if job["state"] != "running":
            status = 400 if job["state"] == "failed" else 200
            return httpx2.Response(status, text=json.dumps(job))
        time.sleep(0.05)
    pytest.fail(f"a job does not end: {job}")


@pytest.mark.parametrize("role", ROLES_OVER_HTTP)
@pytest.mark.parametrize("route", list(ROUTES))
def test_hostile_statements_are_refused(
    server: Server, stage: Stage, role: Role, route: str
) -> None:
    path, request_of = ROUTES[route]
    with client_of(server, role) as client, server.client() as admin:
        before = snapshot(admin)
        ran = []
        for statement in corpus_of(route, role):
            sql = filled(statement, stage.places)
            answer = outcome(client, client.post(path, **request_of(sql)))
            if not refused(answer, stage, sql):
                ran.append((sql, answer.status_code, answer.text[:500]))
        assert ran == []
        assert snapshot(admin) == before
        assert admin.get("/health").json()["status"] == "healthy"
    stage.check()
    spilled = [path for path in stage.temp.rglob("*") if path.is_file() and path.stat().st_size]
    assert [path for path in spilled if path.suffix in (".csv", ".parquet", ".db")] == []


@pytest.mark.parametrize("role", [Role.WRITER, Role.ADMIN])
def test_a_batch_cannot_use_what_it_defines_to_get_around_a_rule(
    server: Server, stage: Stage, role: Role
) -> None:
    chain = ["CREATE MACRO z0(a) AS a + a + a + a"]
    chain += [f"CREATE MACRO z{i}(a) AS z{i - 1}(a) + z{i - 1}(a)" for i in range(1, 20)]
    with client_of(server, role) as client:
        response = client.post("/batch", json={"queries": [*chain, "SELECT z19(1)"]})
        assert response.status_code in (400, 403)
        assert response.json()["rule"] in ("expansion", "nesting")
        views = ["CREATE VIEW w0 AS FROM users"]
        views += [
            f"CREATE VIEW w{i} AS SELECT a.id FROM w{i - 1} a JOIN w{i - 1} USING (id)"
            for i in range(1, 20)
        ]
        response = client.post("/batch", json={"queries": [*views, "FROM w19"]})
        assert response.status_code in (400, 403)
        assert client.post("/query", json={"query": "FROM z0"}).status_code == 400
