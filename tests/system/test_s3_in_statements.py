"""Statements that read from a real S3 server: who may, what fails how, and what is never told."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import duckdb
import httpx2
import pytest

from chronoduck.engine.extensions import extension_wheel
from chronoduck.settings import load_settings
from chronoduck.storage import s3_store
from tests.flaky_proxy import FlakyProxy
from tests.patience import PATIENCE_SECONDS
from tests.s3_server import S3Server
from tests.server import Server

pytestmark = pytest.mark.slow
HAS_HTTPFS = extension_wheel("httpfs") is not None
"""DuckDB 1.5.5 with its wheel; else a process of the service fetches the objects."""
ROWS = 200_000
READ = "SELECT count(*), sum(n) FROM read_parquet('s3://lake/{}')"


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    directory = tmp_path_factory.mktemp("s3")
    with S3Server(directory / "server") as server, pytest.MonkeyPatch.context() as patch:
        server.create_bucket("lake")
        for name, value in server.environment.items():
            patch.setenv(name, value)
        bucket = s3_store("s3://lake", load_settings())
        file = directory / "rows.parquet"
        duckdb.connect().execute(f"COPY (SELECT range AS n FROM range({ROWS})) TO '{file}'")
        bucket.put_file("rows.parquet", file)
        bucket.put("cut.parquet", file.read_bytes()[: file.stat().st_size // 2])
        duckdb.connect().execute(f"COPY (SELECT 1 AS n) TO '{directory}/one.parquet'")
        one = (directory / "one.parquet").read_bytes()
        for number in range(110):  # more than a page of a listing
            bucket.put(f"many/{number:04}.parquet", one)
        yield server


def settings_of(s3: S3Server, **changes: object) -> dict[str, object]:
    return {**s3.environment, "DUCKDB_ENABLE_S3": "true", **changes}


def ask(client: httpx2.Client, sql: str) -> httpx2.Response:
    return client.post("/query", json={"query": sql, "timeout_seconds": PATIENCE_SECONDS})


def test_an_admin_reads_objects_and_listings_and_nobody_else_does(
    s3: S3Server, tmp_path: Path
) -> None:
    with Server(tmp_path, **settings_of(s3)) as server, server.client() as admin:
        answer = ask(admin, READ.format("rows.parquet"))
        assert answer.json()["data"] == [[ROWS, ROWS * (ROWS - 1) // 2]], answer.text
        assert ask(admin, READ.format("many/*.parquet")).json()["data"] == [[110, 110]]
        made = ask(admin, f"CREATE TABLE kept AS {READ.format('rows.parquet')}")
        assert made.status_code == 200, made.text
        view = ask(admin, "CREATE VIEW lake AS FROM read_parquet('s3://lake/rows.parquet')")
        if HAS_HTTPFS:
            assert view.status_code == 200, view.text
            assert ask(admin, "SELECT count(*) FROM lake").json()["data"] == [[ROWS]]
        else:
            assert view.status_code == 400, view.text
            assert "DUCKDB_ALLOW_EXTENSION_DOWNLOAD" in view.json()["hint"]
        for role in ("viewer", "analyst", "writer"):
            key = admin.post("/keys", json={"name": role, "role": role}).json()["key"]
            with server.client() as client:
                client.headers["Authorization"] = f"Bearer {key}"
                refused = ask(client, READ.format("rows.parquet"))
                assert refused.status_code == 403, refused.text
                assert refused.json()["code"] in ("statement_refused", "forbidden")
                if HAS_HTTPFS:
                    assert ask(client, "SELECT count(*) FROM lake").status_code == 403


def test_the_keys_are_told_nobody(s3: S3Server, tmp_path: Path) -> None:
    secret = s3.secret_access_key
    with Server(tmp_path, **settings_of(s3)) as server, server.client() as admin:
        for sql in (
            "FROM duckdb_secrets()",
            "FROM duckdb_secrets(redact = false)",
            "SELECT current_setting('s3_secret_access_key')",
            "FROM duckdb_settings() WHERE name LIKE 's3%'",
            "EXPLAIN ANALYZE " + READ.format("rows.parquet"),
            "FROM which_secret('s3://lake/x', 's3')",
            READ.format("nothing.parquet"),
            "SELECT getenv('AWS_SECRET_ACCESS_KEY')",
        ):
            assert secret not in ask(admin, sql).text, sql
        admin.get("/health")
        assert secret not in server.log_text()


@pytest.mark.parametrize(
    ("changes", "name", "says"),
    [
        ({"AWS_SECRET_ACCESS_KEY": "wrong-secret-key"}, "rows.parquet", "403|denied|Forbidden"),
        ({}, "nothing.parquet", "404|Not Found|No files|no object"),
        ({}, "cut.parquet", "magic|footer|Parquet|parquet"),
        (
            {"DUCKDB_REPLICA_ENDPOINT": "http://127.0.0.1:9"},
            "rows.parquet",
            "connect|HTTP|store|answer",
        ),
    ],
)
def test_what_cannot_be_read_is_the_statements_fault_and_harms_nobody(
    s3: S3Server, tmp_path: Path, changes: dict[str, str], name: str, says: str
) -> None:
    with Server(tmp_path, **settings_of(s3, **changes)) as server, server.client() as admin:
        for _ in range(8):  # more often than the breaker would stand
            answer = ask(admin, READ.format(name))
            problem = answer.json()
            assert 400 <= answer.status_code < 500, problem
            assert any(word in problem["detail"] for word in says.split("|")), problem
            assert "wrong-secret-key" not in answer.text
            assert s3.secret_access_key not in answer.text
        health = admin.get("/health").json()
        assert (health["status"], health["circuit_breaker"]["state"]) == ("healthy", "closed")
        assert ask(admin, "SELECT 1").json()["data"] == [[1]]


def test_a_bad_network_gives_the_rows_or_an_error_and_never_others(
    s3: S3Server, tmp_path: Path
) -> None:
    with FlakyProxy(s3.port, failing=0.3, after_request=True) as proxy:
        settings = settings_of(s3, DUCKDB_REPLICA_ENDPOINT=f"http://127.0.0.1:{proxy.port}")
        with Server(tmp_path, **settings) as server, server.client() as admin:
            good = 0
            for _ in range(12):
                answer = ask(admin, READ.format("rows.parquet"))
                if answer.status_code == 200:
                    assert answer.json()["data"] == [[ROWS, ROWS * (ROWS - 1) // 2]]
                    good += 1
                else:
                    assert answer.status_code < 500, answer.text
            assert good
            assert proxy.cut
            assert admin.get("/health").json()["status"] == "healthy"


@pytest.mark.skipif(HAS_HTTPFS, reason="the engine reads the objects itself")
def test_every_way_to_send_a_statement_reads_objects_and_leaves_no_file(
    s3: S3Server, tmp_path: Path
) -> None:
    with Server(tmp_path, **settings_of(s3)) as server, server.client() as admin:
        total = ROWS * (ROWS - 1) // 2
        one = READ.format("rows.parquet")
        csv = admin.post("/query", json={"query": one}, headers={"Accept": "text/csv"})
        assert csv.text.splitlines()[1] == f"{ROWS},{total}"
        batch = admin.post(
            "/batch",
            json={"queries": [{"query": f"CREATE TABLE b AS {one}"}, {"query": "FROM b"}]},
        )
        assert batch.json()["results"][1]["data"] == [[ROWS, total]], batch.text
        both = ask(admin, f"{one} UNION ALL {one.replace('rows', 'many/000[0-4]')} ORDER BY 1")
        assert both.json()["data"] == [[5, 5], [ROWS, total]], both.text
        plan = admin.post("/explain", json={"query": one})
        assert plan.status_code == 200, plan.text
        assert str(tmp_path) not in plan.text
        quoted = ask(admin, "SELECT 's3://lake/rows.parquet' AS address")
        assert quoted.json()["data"] == [["s3://lake/rows.parquet"]]
        running = admin.get("/queries").text
        assert "objects-" not in running
        left = [path for path in tmp_path.rglob("objects-*") if path.exists()]
        for _ in range(2_400):
            left = [path for path in tmp_path.rglob("objects-*") if path.exists()]
            if not left:
                break
            time.sleep(0.1)
        assert left == []
        assert admin.get("/health").json()["components"]["extensions"]["status"] == "healthy"


@pytest.mark.skipif(HAS_HTTPFS, reason="the engine reads the objects itself")
def test_objects_that_are_too_large_are_refused(s3: S3Server, tmp_path: Path) -> None:
    settings = settings_of(s3, DUCKDB_MAX_UPLOAD_SIZE="10KB")
    with Server(tmp_path, **settings) as server, server.client() as admin:
        answer = ask(admin, READ.format("rows.parquet"))
        assert 400 <= answer.status_code < 500, answer.text
        assert "DUCKDB_MAX_UPLOAD_SIZE" in answer.json()["hint"]
