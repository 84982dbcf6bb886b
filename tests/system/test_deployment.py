"""What is shipped for running it elsewhere: container, unit, cluster, proxy, dashboard."""

from __future__ import annotations

import json
import os
import re
import runpy
import shutil
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from chronoduck.assembly import DuckDBService
from chronoduck.settings import GROUPS, Settings, variable_names
from tests.patience import PATIENCE_SECONDS
from tests.prometheus import needs
from tests.server import Server, free_port, run_cli

DEPLOY = Path(__file__).parents[2] / "deploy"
pytestmark = pytest.mark.slow


def _run(*command: str | Path, cwd: Path = DEPLOY) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def _tool(name: str) -> Path:
    """Return a program of this environment."""
    path = Path(sys.executable).with_name(name)
    assert path.exists(), f"{name} is not installed; see the group `lint` in pyproject.toml"
    return path


def test_the_container_file_has_no_findings() -> None:
    _run(_tool("hadolint"), "docker/Dockerfile")


def test_the_cluster_manifests_fit_the_schemas() -> None:
    _run(_tool("kubernetes-validate"), "--strict", "kubernetes/chronoduck.yml")


def test_every_variable_that_the_files_set_is_a_setting() -> None:
    known = {
        name for model in (Settings, *GROUPS.values()) for name in variable_names(model).values()
    }
    for path in (
        *("docker/Dockerfile", "docker/compose.yml", "kubernetes/chronoduck.yml"),
        "systemd/chronoduck.service",
    ):
        used = set(
            re.findall(r"\b((?:DUCKDB|AWS|PARQUET)_[A-Z0-9_]+)\b", (DEPLOY / path).read_text())
        )
        assert {name for name in used if name.removesuffix("_FILE") not in known} <= known, path


def test_the_unit_is_valid_and_shut_tight(tmp_path: Path) -> None:
    needs("systemd-analyze")
    done = run_cli(tmp_path, "install", "--systemd", "--write", "--root", str(tmp_path))
    assert done.returncode == 0, done.stderr
    unit = tmp_path / "etc/systemd/system/chronoduck.service"
    assert f"ExecStart={_tool('chronoduck')} serve" in unit.read_text()
    assert "chronoduck" not in _run("systemd-analyze", "verify", unit)
    report = _run("systemd-analyze", "security", "--offline=true", unit)
    score = float(re.search(r"exposure level for \S+ ([\d.]+)", report)[1])  # type: ignore[index]
    assert score < 2.0, report


@contextmanager
def _nginx(directory: Path, service_port: int) -> Iterator[int]:
    needs("nginx", "openssl")
    port = free_port()
    _run(
        *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"),
        *("-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"),
        *("-keyout", directory / "key.pem", "-out", directory / "cert.pem"),
    )
    site = (DEPLOY / "nginx/chronoduck.conf").read_text()
    site = site.replace("/etc/ssl/duckdb.example.org.pem", str(directory / "cert.pem"))
    site = site.replace("/etc/ssl/private/duckdb.example.org.key", str(directory / "key.pem"))
    site = site.replace("127.0.0.1:8000", f"127.0.0.1:{service_port}")
    site = site.replace("listen 443 ssl;", f"listen 127.0.0.1:{port} ssl;")
    # Debian 12's nginx knows HTTP/2 only as a word of `listen`.
    site = site.replace("    http2 on;\n", "")
    paths = "".join(
        f"{kind}_temp_path {directory}/{kind};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    configuration = directory / "nginx.conf"
    configuration.write_text(
        f"daemon off; pid {directory}/pid; error_log {directory}/error.log; events {{}}\n"
        f"http {{ access_log off; {paths}\n{site}\n}}"
    )
    _run("nginx", "-t", "-c", configuration)
    process = subprocess.Popen(["nginx", "-c", str(configuration)])
    try:
        end = time.monotonic() + PATIENCE_SECONDS
        while not _listens(port):
            assert time.monotonic() < end, (directory / "error.log").read_text()
            time.sleep(0.02)
        yield port
    finally:
        process.terminate()
        process.wait(timeout=PATIENCE_SECONDS)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_the_proxy_passes_statements_and_streams_and_hides_metrics(tmp_path: Path) -> None:
    with Server(tmp_path) as server, _nginx(tmp_path, server.port) as port:
        trust = ssl.create_default_context(cafile=str(tmp_path / "cert.pem"))
        with httpx2.Client(
            base_url=f"https://127.0.0.1:{port}",
            verify=trust,
            headers={"Authorization": f"Bearer {server.token}"},
            timeout=PATIENCE_SECONDS,
        ) as client:
            answer = client.post("/api/v1/duckdb/query", json={"query": "SELECT 42"})
            assert answer.json()["data"] == [[42]]
            rows = client.post(
                "/api/v1/duckdb/query",
                json={"query": "SELECT range FROM range(300000)"},
                headers={"Accept": "text/csv"},
            )
            assert len(rows.text.splitlines()) == 300_001
            assert client.get("/metrics").status_code == 403


def _expressions() -> list[str]:
    dashboard = json.loads((DEPLOY / "grafana/dashboard.json").read_text())
    return [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]


def test_the_dashboard_is_what_its_source_makes() -> None:
    source: dict[str, Any] = runpy.run_path(str(DEPLOY / "grafana/dashboard.py"))
    assert source["build"]() == json.loads((DEPLOY / "grafana/dashboard.json").read_text())


def test_every_panel_asks_a_valid_question(tmp_path: Path) -> None:
    needs("promtool")
    rules = ["groups:", "  - name: panels", "    rules:"]
    for index, expression in enumerate(_expressions()):
        expression = expression.replace("$__rate_interval", "5m").replace("$instance", ".*")
        rules += [f"      - record: panel:{index}", f"        expr: {json.dumps(expression)}"]
    (tmp_path / "panels.yml").write_text("\n".join(rules))
    _run("promtool", "check", "rules", tmp_path / "panels.yml")


async def test_every_metric_of_the_panels_exists(service: DuckDBService) -> None:
    await service.execute_query("SELECT 1")
    page, _ = await service.render_metrics("", show_versions=False)
    known = set(re.findall(r"^(\w+)[{ ]", page.decode(), re.MULTILINE))
    source = Path(__file__).parents[2] / "src/chronoduck/monitoring/metrics"
    # Families without a series yet: the replica is off, nobody asked over HTTP.
    declared = set()
    for path in source.glob("*.py"):
        for name in re.findall(r'"((?:duckdb|http|process)_\w+)"', path.read_text()):
            declared |= {name, f"{name}_total", f"{name}_bucket", f"{name}_count"}
    recorded = set(re.findall(r"record: (\S+)", (DEPLOY / "prometheus/rules.yml").read_text()))
    for expression in _expressions():
        for name in re.findall(r"\b((?:duckdb|http|process)_\w+|duckdb:[\w:]+)", expression):
            if name.startswith("http_route"):
                continue
            if not name.startswith("http_response"):
                assert name in known | declared | recorded, name


def test_the_container_file_starts_the_command_that_the_wheel_has() -> None:
    text = (DEPLOY / "docker/Dockerfile").read_text()
    assert 'CMD ["chronoduck", "serve"]' in text
    assert shutil.which("chronoduck", path=str(Path(sys.executable).parent)) is not None
    assert "USER 10001" in text
    assert os.path.exists(DEPLOY.parent / "requirements/run.txt")  # noqa: PTH110
