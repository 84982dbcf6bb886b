"""Every kind of event of a running service, and the commands that read them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import orjson
import pytest

from tests.patience import PATIENCE_SECONDS
from tests.server import Server, run_cli

pytestmark = pytest.mark.slow

SECRETS = [
    "hunter2hunter2",
    "AKIAIOSFODNN7EXAMPLE",
    "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    "dak_abc123_s3cr3tS3cr3t",
]


def wait(condition: Callable[[], Any], seconds: float = PATIENCE_SECONDS) -> Any:
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.05)
    return found


def events(server: Server, **filters: Any) -> list[dict[str, Any]]:
    with server.client() as client:
        answer = client.get("/audit", params={"limit": 1000, **filters})
        assert answer.status_code == 200, answer.text
        return answer.json()["events"]


def test_a_principal_whose_lines_fill_its_part_is_refused_and_its_lines_are_all_there(
    tmp_path: Path,
) -> None:
    with Server(tmp_path, DUCKDB_AUDIT_HOURLY="20KB") as server:
        with server.client() as admin:
            keys = {
                name: admin.post("/keys", json={"name": name, "role": "analyst"}).json()["key"]
                for name in ("eve", "bob")
            }

        def send(name: str, number: int) -> httpx2.Response:
            with server.client() as client:
                client.headers["Authorization"] = f"Bearer {keys[name]}"
                return client.post(
                    "/query",
                    json={"query": f"SELECT {number}"},
                    headers={"X-Request-ID": f"{name}-{number}"},
                )

        answers = [send("eve", number) for number in range(60)]
        statuses = [answer.status_code for answer in answers]
        done = statuses.index(429)
        assert 5 < done < 50
        assert statuses == [200] * done + [429] * (60 - done)
        assert answers[done].json()["code"] == "quota_exceeded"
        assert "audit trail" in answers[done].json()["detail"]
        assert int(answers[done].headers["retry-after"]) > 60
        # Others go on, and she sees why she does not.
        assert send("bob", 1).status_code == 200
        with server.client() as client:
            client.headers["Authorization"] = f"Bearer {keys['eve']}"
            used = client.get("/me").json()["usage"]["audit_bytes"]
        assert used["remaining"] == 0
        assert used["used"] >= used["limit"] == 20_000
        with httpx2.Client() as anybody:
            page = anybody.get(f"{server.url}/metrics").text
        assert "duckdb_audit_principals_waiting 1.0" in page
        assert f"duckdb_audit_budget_refused_total {60 - done}.0" in page
        # Every statement that was answered is in the trail, and the refusals are told in one line.
        told = wait(lambda: events(server, event="audit_budget_used"))
        assert [(each["name"], each["count"]) for each in told] == [("eve", 1)]
        recorded = {each["request_id"] for each in events(server, event="statement")}
        assert {f"eve-{number}" for number in range(done)} <= recorded
        assert not {f"eve-{number}" for number in range(done, 60)} & recorded


def settings(tmp_path: Path) -> dict[str, Any]:
    return {
        "DUCKDB_AUDIT_TEXT": "true",
        "DUCKDB_QUEUE_SIZE": 0,
        "DUCKDB_WORKER_THREADS": 1,
        "DUCKDB_REPLICA_URL": tmp_path / "replica",
        "DUCKDB_BACKUP_DIR": tmp_path / "backups",
        "DUCKDB_BACKUP_SCHEDULE": "never",
    }


def drive(server: Server) -> None:
    """Cause every kind of event that a client can cause."""
    with server.client() as client:

        def send(sql: str, name: str, **more: Any) -> httpx2.Response:
            headers = {"X-Request-ID": name}
            return client.post("/query", json={"query": sql, **more}, headers=headers)

        assert send("SELECT range FROM range(5)", "ok").status_code == 200
        assert send("SELECT FROM WHERE 'hunter2hunter2' password", "invalid").status_code == 400
        assert send("SELECT * FROM nowhere", "error").status_code == 400
        secret = "CREATE SECRET s (TYPE s3, KEY_ID 'AKIAIOSFODNN7EXAMPLE', SECRET '{}')"
        assert send(secret.format(SECRETS[2]), "refused").status_code == 403
        assert send("SELECT 'dak_abc123_s3cr3tS3cr3t' -- key", "masked").status_code == 200
        endless = "SELECT count(*) FROM range(100000000000) a, range(1000) b"
        assert send(endless, "timeout", timeout_seconds=0.2).status_code == 504
        assert send("SELECT 1", "impossible", timeout_seconds=1e9).status_code == 422

        ended: list[int] = []
        runs = threading.Thread(target=lambda: ended.append(send(endless, "killed").status_code))
        runs.start()
        (running,) = wait(lambda: client.get("/queries").json())
        wait(lambda: client.get("/queries").json()[0]["state"] == "running")
        assert send("SELECT 1", "busy").status_code == 503
        assert client.delete(f"/queries/{running['id']}").status_code == 200
        runs.join()
        assert ended == [409]

        with pytest.raises(httpx2.ReadTimeout):
            client.post(
                "/query",
                json={"query": endless},
                headers={"X-Request-ID": "left"},
                timeout=httpx2.Timeout(10, read=0.5),
            )
        wait(lambda: client.get("/health").json()["queue"]["running"] == 0)

        batch = {"queries": ["SELECT 1", "SELECT * FROM nowhere"]}
        assert client.post("/batch", json=batch, headers={"X-Request-ID": "batch"}).is_error
        analyze = {"query": "CREATE TABLE x (a INT)", "analyze": True}
        assert client.post("/explain", json=analyze, headers={"X-Request-ID": "explain"}).is_error

        csv = "a,b\n1,2\n3,4\n"
        client.post("/query", json={"query": "CREATE TABLE t (a INT, b INT)"})
        loaded = client.post("/tables/t/rows?source=x.csv&format=csv", content=csv)
        assert '"rows_added":2' in loaded.text, loaded.text
        broken = client.post("/tables/nowhere/rows?source=x.csv&format=csv", content=b"\xff\x00")
        assert '"error"' in broken.text

        assert client.post("/circuit-breaker/reset").status_code == 200
        assert client.post("/initialize").status_code == 200
        for path in ("/backups", "/verify", "/replication/drill", "/compact"):
            job = client.post(path, **({"json": {}} if path == "/backups" else {})).json()
            assert client.delete(f"/jobs/{job['id']}").status_code == 200, job

    wrong = {"Authorization": f"Bearer {SECRETS[3]}", "X-Request-ID": "wrong"}
    base = f"{server.url}/api/v1/duckdb"
    assert httpx2.post(f"{base}/query", json={}, headers=wrong).status_code == 401
    assert httpx2.get(f"{base}/tables", headers={"X-Request-ID": "none"}).status_code == 401
    httpx2.get(f"{base}/health", headers={**wrong, "X-Request-ID": "health"})
    assert httpx2.get(f"{base}/health").status_code == 200


def test_every_kind_of_event_is_in_the_trail(tmp_path: Path) -> None:
    with Server(tmp_path, **settings(tmp_path)) as server:
        drive(server)
        # The last one of all: what was answered before is written by then.
        wait(lambda: "health" in {event.get("request_id") for event in events(server)})
        wait(lambda: "audit_read" in {event["event"] for event in events(server)})
        found = events(server)
        assert [event["seq"] for event in found] == [*range(found[0]["seq"], 0, -1)]
        assert {event["event"] for event in found} == {
            *("statement", "authentication_failed", "statement_killed", "job_cancelled", "load"),
            *("breaker_reset", "initialized", "backup_started", "verification_started"),
            *("drill_started", "compaction_started", "service_started", "audit_read"),
        }
        by_id = {e["request_id"]: e for e in found if e["event"] == "statement"}
        verdicts = {name: (e["verdict"], e.get("code"), e["kind"]) for name, e in by_id.items()}
        assert {name: verdicts[name] for name in sorted(verdicts) if len(name) < 32} == {
            "ok": ("ok", None, "select"),
            "invalid": ("error", "query_error", "invalid"),
            "error": ("error", "query_error", "select"),
            "refused": ("refused", "statement_refused", "invalid"),
            "masked": ("ok", None, "select"),
            "timeout": ("timeout", "statement_timeout", "select"),
            "impossible": ("error", "invalid_request", "select"),
            "killed": ("cancelled", "statement_cancelled", "select"),
            "busy": ("unavailable", "queue_full", "select"),
            "left": ("cancelled", None, "select"),
            "batch": ("error", "query_error", "batch"),
            "explain": ("refused", "statement_refused", "create"),
        }
        first = by_id["ok"]
        assert (first["rows"], first["principal"], first["role"]) == (5, "admin", "admin")
        assert (first["address"], first["text"]) == ("127.0.0.1", "SELECT range FROM range(5)")
        assert 50 < first["bytes"] < 1000
        assert first["duration_ms"] > 0
        loads = [e for e in found if e["event"] == "load"]
        assert [e["verdict"] for e in loads] == ["error", "ok"]
        assert (loads[1]["rows"], loads[1]["bytes"], loads[1]["table"]) == (2, 12, "t")
        committed = [e for e in found if e.get("kind") == "load" and e["verdict"] == "ok"]
        assert {e["principal"] for e in committed} == {"admin"}
        (kill,) = [e for e in found if e["event"] == "statement_killed"]
        assert (kill["owner"], kill["owner_request_id"]) == ("admin", "killed")
        failures = {e["request_id"]: e for e in found if e["event"] == "authentication_failed"}
        assert {name: e["verdict"] for name, e in failures.items()} == {
            "wrong": "refused",
            "none": "refused",
            "health": "refused",
        }
        assert all(e["address"] == "127.0.0.1" for e in failures.values())
        token = server.token
        assert server.stop() == 0
    file = tmp_path / "test.db.audit.jsonl"
    text = file.read_text()
    assert orjson.loads(text.splitlines()[-1])["event"] == "service_stopped"
    for secret in (*SECRETS, token):
        assert secret not in text


def test_the_commands_read_with_and_without_a_service(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        for _ in range(10):
            server.query("SELECT 1")
        wait(lambda: len(events(server, event="statement")) == 10)
        for where in ([], ["--url", server.url]):
            listed = run_cli(tmp_path, "audit", "list", "--event", "statement", "--json", *where)
            assert len(orjson.loads(listed.stdout)) == 10, listed.stderr
            few = run_cli(tmp_path, "audit", "list", "--limit", "3", "--since", "1h", *where)
            assert len(few.stdout.splitlines()) >= 5
            exported = run_cli(tmp_path, "audit", "export", "--principal", "admin", *where)
            assert len(exported.stdout.splitlines()) >= 10, exported.stderr
        verified = run_cli(tmp_path, "audit", "verify", "--json")
        assert verified.returncode == 0
        server.stop()
    verified = run_cli(tmp_path, "audit", "verify")
    assert "the chain is whole" in verified.stdout
    head = verified.stdout.partition("head: ")[2].split()[0]
    noted = orjson.dumps(
        {"seq": 3, "hash": head}, option=orjson.OPT_INDENT_2
    ).decode()  # as jq prints `.audit.head`
    for form, code in ((head, 0), (noted, 0), ("0" * 64, 65), ("{}", 64), ("main", 64)):
        told = run_cli(tmp_path, "audit", "verify", "--head", form)
        assert told.returncode == code, (form, told.stdout, told.stderr)
    file = tmp_path / "test.db.audit.jsonl"
    file.write_text(file.read_text().replace('"verdict":"ok"', '"verdict":"no"', 1))
    broken = run_cli(tmp_path, "audit", "verify")
    assert (broken.returncode, "was changed" in broken.stdout) == (65, True)
    missing = run_cli(tmp_path, "audit", "list", "-d", str(tmp_path / "other.db"))
    assert missing.returncode == 66


def test_commands_that_work_on_the_files_tell_the_trail(tmp_path: Path) -> None:
    given = {"DUCKDB_BACKUP_DIR": tmp_path / "backups"}
    assert run_cli(tmp_path, "query", "CREATE TABLE t AS SELECT 1 AS a", **given).returncode == 0
    assert run_cli(tmp_path, "backup", "create", **given).returncode == 0
    backup = next((tmp_path / "backups").rglob("*.db.zst"))
    recovered = run_cli(tmp_path, "recover", "--from", str(backup), **given)
    assert recovered.returncode == 0, recovered.stderr
    listed = run_cli(tmp_path, "audit", "list", "--principal", "local", "--json")
    told = [event["event"] for event in reversed(orjson.loads(listed.stdout))]
    assert told == [
        *("service_started", "statement", "service_stopped"),
        *("backup_started", "recover_started"),
    ]
