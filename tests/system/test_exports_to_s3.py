"""Exports to a real S3 server: fetched back, wrong keys and a missing bucket told, nothing half done."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import obstore
import pytest

from chronoduck.settings import load_settings
from chronoduck.storage.opening import s3_store
from tests.flaky_proxy import FlakyProxy
from tests.patience import PATIENCE_SECONDS
from tests.s3_server import S3Server
from tests.server import Server

pytestmark = pytest.mark.slow
ROWS = "SELECT range AS n, range % 3 AS part FROM range(300000)"


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with S3Server(tmp_path_factory.mktemp("s3")) as server:
        server.create_bucket("exports")
        yield server


def export(client: httpx2.Client, **wish: Any) -> dict[str, Any]:
    answer = client.post("/exports", json={"query": ROWS, **wish})
    assert answer.status_code == 202, answer.text
    end = time.monotonic() + PATIENCE_SECONDS
    while (job := client.get(f"/jobs/{answer.json()['id']}").json())["state"] == "running":
        assert time.monotonic() < end
        time.sleep(0.05)
    result: dict[str, Any] = job
    return result


def names_in(s3: S3Server, monkeypatch: pytest.MonkeyPatch, folder: str) -> list[str]:
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    store = s3_store("s3://exports", load_settings())
    return [item["path"] for page in obstore.list(store._store, folder) for item in page]


def test_files_are_there_are_fetched_and_go(
    s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {**s3.environment, "DUCKDB_EXPORT_URL": "s3://exports/out"}
    with Server(tmp_path, **settings) as server, server.client() as client:
        for wish in ({}, {"partition_by": ["part"], "format": "csv"}):
            job = export(client, **wish)
            assert job["state"] == "succeeded", job
            assert job["result"]["url"].startswith("s3://exports/out/export_")
            fetched = 0
            for file in job["result"]["files"]:
                answer = client.get(f"/exports/{job['id']}/files/{file['name']}")
                assert len(answer.content) == file["bytes"]
                fetched += len(answer.content)
            assert fetched == job["result"]["bytes"]
            folder = f"out/{job['result']['folder']}"
            held = names_in(s3, monkeypatch, folder)
            assert f"{folder}/_SUCCESS" in held
            assert len(held) == len(job["result"]["files"]) + 1
            client.delete(f"/jobs/{job['id']}")
            end = time.monotonic() + PATIENCE_SECONDS
            while names_in(s3, monkeypatch, folder):
                assert time.monotonic() < end, "the files stay"
                time.sleep(0.2)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "access denied"),
        ({"DUCKDB_EXPORT_URL": "s3://no-such-bucket/x"}, "no such bucket"),
        ({"DUCKDB_REPLICA_ENDPOINT": "http://127.0.0.1:9"}, "failed"),
    ],
)
def test_a_store_that_refuses_is_told(
    s3: S3Server, tmp_path: Path, change: dict[str, str], reason: str
) -> None:
    settings = {**s3.environment, "DUCKDB_EXPORT_URL": "s3://exports/refused", **change}
    with Server(tmp_path, **settings) as server, server.client() as client:
        job = export(client)
        assert job["state"] == "failed"
        assert reason in job["error"]["detail"]
        assert "wrong" not in str(job)
        assert server.query("SELECT 42") == [[42]]


def test_an_upload_that_breaks_off_leaves_nothing(
    s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FlakyProxy(s3.port, failing=0.0) as proxy:
        settings = {
            **s3.environment,
            "DUCKDB_EXPORT_URL": "s3://exports/flaky",
            "DUCKDB_REPLICA_ENDPOINT": f"http://127.0.0.1:{proxy.port}",
        }
        with Server(tmp_path, **settings) as server, server.client() as client:
            proxy.failing = 0.5
            states = [export(client, partition_by=["part"])["state"] for _ in range(5)]
            proxy.failing = 0.0
            told = client.get("/jobs").json()
            kept = [job for job in told if job["state"] == "succeeded"]
            marked = {
                name.split("/")[1]
                for name in names_in(s3, monkeypatch, "flaky")
                if name.endswith("/_SUCCESS")
            }
            assert marked == {job["result"]["folder"] for job in kept}
            assert states.count("succeeded") == len(kept)
            for job in kept:
                for file in job["result"]["files"]:
                    answer = client.get(f"/exports/{job['id']}/files/{file['name']}")
                    assert len(answer.content) == file["bytes"]
            assert proxy.cut
    assert not list((tmp_path / "test.jobs").glob("*.scratch"))
