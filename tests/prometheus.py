"""A real Prometheus and a real Alertmanager on free ports, with a receiver for the alerts."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.patience import PATIENCE_SECONDS
from tests.programs import PROGRAMS
from tests.server import free_port

__all__ = ["RULES", "AlertingStack", "needs"]

RULES = Path(__file__).parents[1] / "deploy" / "prometheus"


def needs(*programs: str) -> None:
    """Skip the test where a program is not installed; in CI that is a failure."""
    for program in programs:
        if shutil.which(program) is None:
            if os.environ.get("CI"):
                pytest.fail(f"{program} is not installed")
            (listed,) = (each for each in PROGRAMS if each.name == program)
            pytest.skip(f"needs {program} (apt-get install {listed.package})")


class AlertingStack:
    """Prometheus with the shipped rules, Alertmanager with the shipped routes; a context manager.

    Only waiting is shortened: rules fire after a second, scrapes come twice a second.
    """

    def __init__(self, directory: Path, service_port: int) -> None:
        self._directory = directory
        self._service_port = service_port
        self._ports = {name: free_port() for name in ("prometheus", "alertmanager")}
        self.received: list[dict[str, Any]] = []
        """Every alert as it arrived: labels, annotations, status."""
        self._stack = ExitStack()

    def __enter__(self) -> AlertingStack:
        needs("prometheus", "prometheus-alertmanager")
        self._directory.mkdir()
        receiver = self._start_receiver()
        self._configure(receiver)
        self._run(
            "prometheus",
            f"--config.file={self._directory / 'prometheus.yml'}",
            f"--storage.tsdb.path={self._directory / 'tsdb'}",
            f"--web.listen-address=127.0.0.1:{self._ports['prometheus']}",
        )
        self._run(
            "prometheus-alertmanager",
            f"--config.file={self._directory / 'alertmanager.yml'}",
            f"--storage.path={self._directory / 'alertmanager'}",
            f"--web.listen-address=127.0.0.1:{self._ports['alertmanager']}",
            "--cluster.listen-address=",
        )
        for port in self._ports.values():
            _until(lambda port=port: _answers(f"http://127.0.0.1:{port}/-/ready"))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def wait_for(self, alert: str, status: str = "firing") -> dict[str, Any]:
        """Return the alert once it was received."""

        def found() -> dict[str, Any] | None:
            for each in self.received:
                if each["labels"]["alertname"] == alert and each["status"] == status:
                    return each
            return None

        try:
            return _until(found)
        except TimeoutError:
            names = [(each["labels"]["alertname"], each["status"]) for each in self.received]
            raise AssertionError(f"{alert} did not arrive; these did: {names}") from None

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return what Prometheus answers to a PromQL expression."""
        response = httpx2.get(
            f"http://127.0.0.1:{self._ports['prometheus']}/api/v1/query",
            params={"query": expression},
        ).json()
        assert response["status"] == "success", response
        result: list[dict[str, Any]] = response["data"]["result"]
        return result

    def query_range(
        self, expression: str, start: float, end: float, step_seconds: float
    ) -> list[dict[str, Any]]:
        """Return the values of an expression between two Unix times."""
        response = httpx2.get(
            f"http://127.0.0.1:{self._ports['prometheus']}/api/v1/query_range",
            params={"query": expression, "start": start, "end": end, "step": step_seconds},
        ).json()
        assert response["status"] == "success", response
        result: list[dict[str, Any]] = response["data"]["result"]
        return result

    def _configure(self, receiver_port: int) -> None:
        rules = re.sub(r"for: \w+", "for: 1s", (RULES / "rules.yml").read_text())
        (self._directory / "rules.yml").write_text(rules)
        prometheus = (RULES / "prometheus.yml").read_text()
        prometheus = prometheus.replace("15s", "500ms")
        prometheus = prometheus.replace(
            "alertmanager:9093", f"127.0.0.1:{self._ports['alertmanager']}"
        ).replace("chronoduck:8000", f"127.0.0.1:{self._service_port}")
        (self._directory / "prometheus.yml").write_text(prometheus)
        routes = (RULES / "alertmanager.yml").read_text()
        routes = routes.replace("http://on-call.example:8080", f"http://127.0.0.1:{receiver_port}")
        routes = routes.replace("group_wait: 10s", "group_wait: 0s")
        routes = routes.replace("group_interval: 1m", "group_interval: 1s")
        (self._directory / "alertmanager.yml").write_text(routes)

    def _start_receiver(self) -> int:
        received = self.received

        class Receiver(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                received.extend(json.loads(body)["alerts"])
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
        self._stack.callback(server.server_close)
        self._stack.callback(server.shutdown)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return int(server.server_address[1])

    def _run(self, *command: str) -> None:
        log = self._stack.enter_context((self._directory / f"{command[0]}.log").open("w"))
        process = subprocess.Popen(command, stdout=log, stderr=log)

        def end() -> None:
            process.kill()
            process.wait()

        self._stack.callback(end)


def _answers(url: str) -> bool:
    try:
        return httpx2.get(url).status_code == 200
    except httpx2.TransportError:
        return False


def _until(condition: Callable[[], Any], seconds: float = PATIENCE_SECONDS) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.1)
    raise TimeoutError
