"""The operator's commands against a service that runs."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.broken_index import broken_index_database
from tests.patience import PATIENCE_SECONDS
from tests.server import Server, run_cli

pytestmark = pytest.mark.slow
LONG = "SELECT count(*) FROM range(100000000) a, range(1000000) b"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with Server(
        tmp_path,
        DUCKDB_BACKUP_DIR=tmp_path / "backups",
        DUCKDB_BACKUP_SCHEDULE="never",
        DUCKDB_WORKER_THREADS=2,
    ) as server:
        server.query("CREATE TABLE t AS SELECT range AS a, 'x' || range AS b FROM range(200000)")
        yield server


def _settings(server: Server) -> dict[str, object]:
    return {
        "DUCKDB_BACKUP_DIR": server.directory / "backups",
        "DUCKDB_LOG_FILE": server.log,
    }


def _find_long_statement(client: httpx2.Client) -> str:
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end:
        for each in client.get("/queries").json():
            if each["query"] == LONG and each["state"] == "running":
                return str(each["id"])
    raise AssertionError("the statement does not run")


def test_top_shows_what_runs_and_kill_ends_it(server: Server) -> None:
    import threading

    answers: list[httpx2.Response] = []

    def ask() -> None:
        with server.client() as client:
            answers.append(client.post("/query", json={"query": LONG}))

    asking = threading.Thread(target=ask)
    asking.start()
    with server.client() as client:
        statement_id = _find_long_statement(client)
    shown = run_cli(server.directory, "top", "--once")
    assert shown.returncode == 0, shown.stderr
    assert statement_id in shown.stdout
    assert json.loads(run_cli(server.directory, "top", "--json").stdout)[0]["id"] == statement_id
    killed = run_cli(server.directory, "kill", statement_id)
    assert killed.returncode == 0, killed.stderr
    asking.join(PATIENCE_SECONDS)
    assert answers[0].json()["code"] == "statement_cancelled"
    expensive = run_cli(server.directory, "top", "--statements", "--order", "max_time", "--json")
    assert json.loads(expensive.stdout)[0]["errors"] >= 1
    shown = run_cli(server.directory, "top", "--statements", "--limit", "1")
    assert shown.returncode == 0, shown.stderr
    assert "statement" in shown.stdout
    assert len(shown.stdout.splitlines()) == 3  # names, a line, one statement
    again = run_cli(server.directory, "kill", statement_id)
    assert again.returncode == 66


@pytest.mark.parametrize(
    "command", ["sync run", "sync schedule", "sync status", "export run", "export status"]
)
def test_a_command_that_finds_nothing_declared_says_so(server: Server, command: str) -> None:
    told = run_cli(server.directory, *command.split())
    assert told.returncode == 0, told.stderr
    kind = command.split()[0]
    assert told.stdout.startswith(f"no {kind} is declared: DUCKDB_{kind.upper()}_FILE names the")


def test_the_rounds_find_what_is_there(server: Server) -> None:
    settings = _settings(server)
    old = server.directory / "server.log.1"
    old.write_text("old lines\n")
    week_ago = time.time() - 8 * 86_400
    os.utime(old, (week_ago, week_ago))
    daily = run_cli(server.directory, "maintenance", "daily", "--json", **settings)
    assert daily.returncode == 0, daily.stderr + daily.stdout
    found = {each["id"]: each for each in json.loads(daily.stdout)}
    assert found["health"]["severity"] == "ok"
    assert "1 old logs packed" in found["logs"]["finding"]
    assert not old.exists()
    assert old.with_name("server.log.1.gz").exists()

    weekly = run_cli(server.directory, "maintenance", "weekly", "--json", **settings)
    found = {each["id"]: each for each in json.loads(weekly.stdout)}
    assert found["backups"]["severity"] == "warning"
    assert "0 of" in found["slow"]["finding"]

    made = run_cli(server.directory, "backup", "create", **settings)
    assert made.returncode == 0, made.stderr
    monthly = run_cli(server.directory, "maintenance", "monthly", "--json", **settings)
    assert monthly.returncode == 0, monthly.stdout + monthly.stderr
    found = {each["id"]: each for each in json.loads(monthly.stdout)}
    assert "read to its end" in found["verify"]["finding"]


def test_a_damaged_backup_makes_the_monthly_round_fail(server: Server) -> None:
    settings = _settings(server)
    assert run_cli(server.directory, "backup", "create", **settings).returncode == 0
    backup = next((server.directory / "backups").glob("2*/*.zst"))
    damaged = bytearray(backup.read_bytes())
    damaged[len(damaged) // 2] ^= 0xFF
    backup.write_bytes(damaged)
    monthly = run_cli(server.directory, "maintenance", "monthly", "--json", **settings)
    assert monthly.returncode == 69
    assert {each["id"]: each for each in json.loads(monthly.stdout)}["verify"][
        "severity"
    ] == "error"


def test_capacity_measures_what_rows_take(server: Server) -> None:
    server.query("CHECKPOINT")
    found = json.loads(run_cli(server.directory, "capacity", "--json", **_settings(server)).stdout)
    assert found["rows"] == 200_000
    assert found["file_bytes_per_million_rows"] > 1_000_000
    assert found["days_until_full"] is None
    assert "the guide says" in run_cli(server.directory, "capacity", **_settings(server)).stdout


def test_verify_names_an_index_that_answers_wrongly(tmp_path: Path) -> None:
    broken_index_database(tmp_path / "test.db")
    verified = run_cli(tmp_path, "verify")
    assert verified.returncode == 74
    said = " ".join(verified.stderr.split())
    assert "t_k of main.t" in said
    assert "DROP INDEX" in said
