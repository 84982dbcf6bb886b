"""Keys on the command line, with the service and without, and where tokens must not be."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import duckdb
import httpx2
import pytest

from tests.patience import PATIENCE_SECONDS
from tests.server import Server, environment, free_port, run_cli

pytestmark = pytest.mark.slow


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path) as running:
        yield running


def create(directory: Path, name: str, *options: str, **settings: Any) -> dict[str, Any]:
    done = run_cli(directory, "keys", "create", "--name", name, *options, "--json", **settings)
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def status(server: Server, key: str, sql: str = "SELECT 1") -> int:
    headers = {"Authorization": f"Bearer {key}"}
    return httpx2.post(
        f"{server.url}/api/v1/duckdb/query", json={"query": sql}, headers=headers
    ).status_code


def test_keys_are_issued_listed_and_revoked_through_the_running_service(server: Server) -> None:
    here = server.directory
    options = (
        *("--role", "analyst", "--expires", "30d", "--table", "pages", "--schema", "open"),
        *("--filter", "pages=tld = 'org'", "--max-rows", "5", "--max-result-bytes", "1MB"),
        *("--timeout", "2s", "--concurrent", "2", "--requests-per-minute", "60"),
        *("--engine-seconds-per-hour", "9.5", "--max-scan-rows", "1000"),
    )
    for sql in ("CREATE TABLE pages (tld VARCHAR)", "CREATE SCHEMA open"):
        server.query(sql)
    server.query("CREATE TABLE open.t (i INTEGER)")
    made = create(here, "narrow", *options)
    (listed,) = json.loads(run_cli(here, "keys", "list", "--json").stdout)
    assert {k: v for k, v in made.items() if k != "key"} == listed
    assert listed["tables"] == [{"name": "pages", "schema": "main", "filter": "tld = 'org'"}]
    assert listed["schemas"] == ["open"]
    assert listed["limits"] == {
        "requests_per_minute": 60,
        "concurrent_statements": 2,
        "engine_seconds_per_hour": 9.5,
        "max_rows": 5,
        "max_result_bytes": 1_000_000,
        "statement_timeout": 2.0,
        "max_scan_rows": 1000,
    }
    plain = create(here, "plain", "--role", "analyst")
    assert status(server, plain["key"]) == 200
    shown = {key["name"]: key for key in json.loads(run_cli(here, "keys", "list", "--json").stdout)}
    assert shown["plain"]["last_used_at"] is not None
    assert run_cli(here, "keys", "revoke", "plain").returncode == 0
    assert status(server, plain["key"]) == 401
    assert run_cli(here, "keys", "revoke", "plain").returncode == 66


def test_a_running_service_follows_the_file_that_another_process_changes(server: Server) -> None:
    """As by a command that writes the file itself: the one for a database that seems unowned."""
    from chronoduck.auth.key_file import KeyFile
    from chronoduck.auth.keys import KeyWish
    from chronoduck.principals import Role

    file = KeyFile(server.directory / "keys.json")
    for number in range(20):
        key, token = file.add(KeyWish(f"k{number}", Role.ANALYST), now=0.0)
        assert status(server, token) == 200
        file.remove(key.id)
        assert status(server, token) in (401, 429)


def test_a_scope_that_cannot_be_kept_is_refused_without_a_service_too(tmp_path: Path) -> None:
    def refused(*options: str) -> str:
        command = ("keys", "create", "--name", "narrow", "--role", "analyst", "--json")
        done = run_cli(tmp_path, *command, *options)
        assert done.returncode != 0
        assert done.stdout == ""
        return done.stderr

    pages = ("--table", "pages", "--filter")
    # There is no database yet: only what is no condition for any table is known.
    assert "syntax error" in refused(*pages, "pages=tld = = 'org'")
    assert "a subquery" in refused(*pages, "pages=tld IN (SELECT 'org')")
    early = run_cli(tmp_path, "keys", "create", "--name", "early", "--role", "viewer", *pages[:2])
    assert early.returncode == 0
    assert "There is no database" in early.stderr
    with duckdb.connect(str(tmp_path / "test.db")) as connection:
        connection.execute("CREATE SCHEMA s; CREATE TABLE s.base (tld VARCHAR, n INTEGER)")
        connection.execute("CREATE VIEW s.shown AS FROM s.base; CREATE TABLE pages AS FROM s.base")
    assert "there is no table or view main.nothing" in refused("--table", "nothing")
    assert "no column tdl" in refused(*pages, "pages=tdl = 'org'")
    assert "date_trunc" in refused(*pages, "pages=date_trunc(n) = n")
    assert "reads s.base" in refused("--table", "s.shown")
    before = (tmp_path / "test.db").read_bytes()
    create(tmp_path, "fits", "--role", "analyst", *pages, "pages=tld = 'org'", "--schema", "s")
    assert (tmp_path / "test.db").read_bytes() == before
    names = [key["name"] for key in json.loads(run_cli(tmp_path, "keys", "list", "--json").stdout)]
    assert names == ["early", "fits"]


def test_keys_outlive_a_crash_of_the_service(tmp_path: Path) -> None:
    key = create(tmp_path, "before", "--role", "analyst")["key"]  # no service yet
    with Server(tmp_path) as first:
        later = create(tmp_path, "later", "--role", "analyst")["key"]
        assert [status(first, each) for each in (key, later)] == [200, 200]
        first.kill()
    run_cli(tmp_path, "keys", "revoke", "before")
    with Server(tmp_path) as second:
        assert [status(second, each) for each in (key, later)] == [401, 200]


def test_an_expired_key_is_refused(server: Server) -> None:
    key = create(server.directory, "brief", "--role", "analyst", "--expires", "1s")["key"]
    while (code := status(server, key)) == 200:
        pass
    assert code == 401
    (listed,) = json.loads(run_cli(server.directory, "keys", "list", "--json").stdout)
    assert listed["state"] == "expired"


def test_many_commands_at_once_lose_no_key(tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as threads:
        names = [f"k{number}" for number in range(8)]
        list(threads.map(lambda name: create(tmp_path, name, "--role", "viewer"), names))
    listed = json.loads(run_cli(tmp_path, "keys", "list", "--json").stdout)
    assert sorted(key["name"] for key in listed) == names


def test_commands_work_with_a_key_as_far_as_its_role_goes(server: Server, tmp_path: Path) -> None:
    keys = {
        role: create(tmp_path, f"the-{role}", "--role", role)["key"]
        for role in ("viewer", "analyst", "writer")
    }
    capture = Path(__file__).parents[2] / "examples" / "data" / "twitter-labels.cdx"

    def run(role: str, *arguments: str) -> int:
        return run_cli(tmp_path, *arguments, CHRONODUCK_TOKEN=keys[role]).returncode

    load = ("load", str(capture))
    templates = ("templates", "run", "top-domains", "limit=2")
    assert [run(role, *load) for role in keys] == [77, 77, 0]
    assert [run(role, *templates) for role in keys] == [0, 0, 0]
    assert [run(role, "query", "SELECT 1") for role in keys] == [77, 0, 0]
    assert [run(role, "status") for role in keys] == [0, 0, 0]
    assert [run(role, "keys", "list") for role in keys] == [77, 77, 77]


def test_a_token_comes_from_a_file_or_from_standard_input(server: Server, tmp_path: Path) -> None:
    key = create(tmp_path, "k", "--role", "analyst")["key"]
    (tmp_path / "k.key").write_text(f"{key}\n")
    by_file = run_cli(tmp_path, "query", "SELECT 7", "--token-file", "k.key", "--format", "csv")
    assert by_file.stdout.split() == ["7", "7"]
    by_input = run_cli(
        *(tmp_path, "query", "-", "--token-file", "-", "--format", "csv"),
        stdin=f"{key}\nSELECT 8\n",
    )
    assert by_input.stdout.split() == ["8", "8"]
    wrong = run_cli(tmp_path, "query", "SELECT 9", "--token-file", "-", stdin=f"{key[:-1]}\n")
    assert wrong.returncode == 77
    assert key[:-1] not in wrong.stdout + wrong.stderr


def test_tokens_are_in_no_log_no_process_list_and_no_file(tmp_path: Path) -> None:
    """Valid ones, invalid ones, and those of commands."""
    seen: set[str] = set()
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            for process in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    seen.add(process.read_bytes().decode(errors="replace"))
                except OSError:
                    continue

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        with Server(tmp_path, DUCKDB_LOG_LEVEL="debug") as server:
            key = create(tmp_path, "k", "--role", "analyst")["key"]
            secrets = [key, server.token, key[:-1] + "x", "dak_" + "ab" * 38, "opensesame12345"]
            for secret in secrets:
                for _ in range(15):
                    status(server, secret)
                    httpx2.get(
                        f"{server.url}/api/v1/duckdb/health",
                        headers={"Authorization": f"Bearer {secret}"},
                    )
                run_cli(tmp_path, "query", "SELECT 1", CHRONODUCK_TOKEN=secret)
            run_cli(tmp_path, "keys", "revoke", key)  # a slip of the hand is no argument to repeat
            status(server, key, "SELEC")
            assert server.stop() == 0
            assert server.process.stderr is not None
            said = server.process.stderr.read()
    finally:
        done.set()
        watcher.join()
    commands = "\n".join(line for line in seen if f"revoke\0{key}" not in line)
    assert "chronoduck" in commands, "the watcher saw the commands"
    logs = said + server.log_text()
    assert "authentication_blocked" in logs
    stored = (tmp_path / "keys.json").read_text()
    for secret in secrets:
        assert secret not in commands
        assert secret not in logs
        assert secret not in stored
        if "_" in secret:
            assert secret.split("_", 2)[-1] not in logs + stored


def test_a_damaged_or_open_key_file_stops_the_start_with_the_fix(tmp_path: Path) -> None:
    create(tmp_path, "k", "--role", "viewer")
    (tmp_path / "keys.json").chmod(0o644)
    done = subprocess.run(
        [sys.executable, "-m", "chronoduck", "serve"],
        env=environment(tmp_path, DUCKDB_PORT=free_port()),
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert done.returncode == 77
    assert "chmod 600" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "test.db").exists()
    doctor = run_cli(tmp_path, "doctor", "--json")
    assert doctor.returncode == done.returncode
    found = {check["id"]: check for check in json.loads(doctor.stdout)}
    assert found["keys"]["severity"] == "error"
    assert "chmod 600" in found["keys"]["fix"]
