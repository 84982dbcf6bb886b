"""SIGTERM first says "not ready", SIGHUP reads files again; a closed terminal window ends it."""

from __future__ import annotations

import contextlib
import os
import pty
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.certificates import Certificate
from tests.patience import PATIENCE_SECONDS
from tests.server import Server, environment, free_port

pytestmark = pytest.mark.slow


def until(condition: Callable[[], Any], what: str) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.02)


def events(server: Server, name: str) -> list[dict[str, Any]]:
    lines = server.log_lines()
    return [line for line in lines if line["event"] == name]


def test_readiness_goes_down_first_and_requests_are_still_answered(tmp_path: Path) -> None:
    with Server(tmp_path, DUCKDB_SHUTDOWN_DELAY="2s") as server:
        with server.client() as client:
            assert client.get("/health/ready").status_code == 200
            server.process.send_signal(signal.SIGTERM)
            until(lambda: client.get("/health/ready").status_code == 503, "still ready")
            left = time.monotonic()
            assert client.get("/health").status_code == 200, "it is well, and goes all the same"
            assert client.get("/health/live").status_code == 200
        # New connections too: a load balancer has not noticed yet.
        assert server.query("SELECT 42") == [[42]]
        assert server.process.wait(PATIENCE_SECONDS) == 0
        assert time.monotonic() - left > 1.5
        assert events(server, "service_stopped")[0]["graceful"] is True


def test_ctrl_c_waits_for_no_load_balancer(tmp_path: Path) -> None:
    with Server(tmp_path, DUCKDB_SHUTDOWN_DELAY="5m") as server:
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(PATIENCE_SECONDS) == 0


def test_a_second_sigterm_does_not_wait_either(tmp_path: Path) -> None:
    with Server(tmp_path, DUCKDB_SHUTDOWN_DELAY="5m") as server:
        server.process.send_signal(signal.SIGTERM)
        with server.client() as client:
            until(lambda: client.get("/health/ready").status_code == 503, "still ready")
        os.kill(server.server_pid, signal.SIGTERM)
        assert server.process.wait(PATIENCE_SECONDS) == 0


TEMPLATE = """-- name: answer
-- description: A number.
SELECT {} AS n
"""


def test_sighup_reads_templates_certificate_and_log_file_again(tmp_path: Path) -> None:
    templates = tmp_path / "templates"
    templates.mkdir()
    (templates / "answer.sql").write_text(TEMPLATE.format(41))
    old = Certificate.make(tmp_path)
    settings = {**old.settings, "DUCKDB_TEMPLATES_DIRECTORY": templates}
    with Server(tmp_path, **settings) as server, server.client(verify=False) as client:
        pid = server.server_pid
        assert client.get("/templates/answer").json()["data"] == [[41]]
        (templates / "answer.sql").write_text(TEMPLATE.format(42))
        (templates / "second.sql").write_text(TEMPLATE.format(2).replace("answer", "second"))
        before = ssl.get_server_certificate(("127.0.0.1", server.port))
        (tmp_path / "other").mkdir()
        new = Certificate.make(tmp_path / "other")
        for theirs, ours in [(new.certificate, old.certificate), (new.key, old.key)]:
            ours.write_bytes(theirs.read_bytes())
        server.log.rename(tmp_path / "moved.log")
        server.process.send_signal(signal.SIGHUP)
        until(lambda: server.log.exists() and events(server, "reloaded"), "nothing was reloaded")
        [line] = events(server, "reloaded")
        assert line["parts"] == ["log_file", "templates", "certificate"]
        assert client.get("/templates/answer").json()["data"] == [[42]]
        assert client.get("/templates/second").json()["data"] == [[2]]
        document = client.get(f"{server.url}/openapi.json").json()
        assert "/api/v1/duckdb/templates/second" in document["paths"]
        after = ssl.get_server_certificate(("127.0.0.1", server.port))
        assert after != before
        assert after.strip() == new.certificate.read_text().strip()
        assert server.server_pid == pid, "the process was replaced"


def test_what_is_broken_is_told_and_the_old_stays(tmp_path: Path) -> None:
    templates = tmp_path / "templates"
    templates.mkdir()
    (templates / "answer.sql").write_text(TEMPLATE.format(41))
    old = Certificate.make(tmp_path)
    settings = {**old.settings, "DUCKDB_TEMPLATES_DIRECTORY": templates}
    with Server(tmp_path, **settings) as server, server.client(verify=False) as client:
        (templates / "answer.sql").write_text(TEMPLATE.format("FROM"))
        (tmp_path / "other").mkdir()
        other = Certificate.make(tmp_path / "other")
        before = ssl.get_server_certificate(("127.0.0.1", server.port))
        old.key.write_bytes(other.key.read_bytes())  # belongs to another certificate
        server.process.send_signal(signal.SIGHUP)
        until(lambda: events(server, "reloaded"), "nothing was reloaded")
        failed = {line["part"]: line for line in events(server, "reload_failed")}
        assert failed.keys() == {"templates", "certificate"}
        assert "answer.sql:3" in failed["templates"]["reason"]
        assert all(line["fix"] for line in failed.values())
        assert events(server, "reloaded")[0]["parts"] == ["log_file"]
        assert client.get("/templates/answer").json()["data"] == [[41]]
        assert ssl.get_server_certificate(("127.0.0.1", server.port)) == before


def test_the_end_of_its_terminal_ends_it(tmp_path: Path) -> None:
    port = free_port()
    child, terminal = pty.fork()
    if child == 0:
        # As a shell in a terminal has it, also when the tests run under nohup.
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        os.execve(
            sys.executable,
            [sys.executable, "-m", "chronoduck", "serve"],
            environment(tmp_path, DUCKDB_PORT=port, DUCKDB_LOG_FILE=tmp_path / "log"),
        )

    def answers() -> bool:
        try:
            return httpx2.get(f"http://127.0.0.1:{port}/api/v1/duckdb/health/ready").is_success
        except httpx2.TransportError:
            return False

    until(answers, "it does not start")
    os.close(terminal)
    until(lambda: os.waitpid(child, os.WNOHANG)[0] == child, "it lives on without a terminal")
    assert not answers()
    assert '"event":"service_stopped","graceful":true' in (tmp_path / "log").read_text()


def test_nohup_keeps_it_alive_and_sighup_then_reads_files_again(tmp_path: Path) -> None:
    port = free_port()
    process = subprocess.Popen(
        ["nohup", sys.executable, "-m", "chronoduck", "serve"],
        env=environment(tmp_path, DUCKDB_PORT=port, DUCKDB_LOG_FILE=tmp_path / "log"),
        cwd=tmp_path,
        start_new_session=True,
    )
    try:
        url = f"http://127.0.0.1:{port}/api/v1/duckdb/health/live"

        def answers() -> bool:
            try:
                return httpx2.get(url).is_success
            except httpx2.TransportError:
                return False

        until(answers, "it does not start")
        process.send_signal(signal.SIGHUP)
        log = tmp_path / "log"
        until(lambda: '"event":"reloaded"' in log.read_text(), "it does not read files again")
        assert answers()
    finally:
        process.terminate()
        assert process.wait(PATIENCE_SECONDS) == 0


def test_on_a_terminal_it_says_where_it_is_and_writes_lines_for_people(tmp_path: Path) -> None:
    port = free_port()
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "chronoduck", "serve"],
        env=environment(tmp_path, DUCKDB_PORT=port, COLUMNS="200"),
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    text = b""
    while b"Ctrl-C stops it" not in text:
        text += os.read(ours, 65_536)
    process.terminate()
    with contextlib.suppress(OSError):  # a terminal that nobody has open any more
        while piece := os.read(ours, 65_536):
            text += piece
    assert process.wait(PATIENCE_SECONDS) == 0
    os.close(ours)
    shown = text.decode()
    assert f"http://127.0.0.1:{port}/docs/api/duckdb" in shown
    assert str(tmp_path / "admin.token") in shown
    assert not [line for line in shown.splitlines() if line.startswith("{")]
