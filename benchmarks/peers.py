"""The three ways to run a statement: in this process, over our HTTP API, over Quack."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import duckdb
import orjson
import pyarrow as pa

from benchmarks.measure import Figures, run_threads
from benchmarks.peer_engine import peer_environment
from benchmarks.workloads import MILLION, Workload

_QUACK_TOKEN = "benchmark-token-0123456789"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_port(port: int) -> None:
    for _ in range(400):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise TimeoutError(f"nothing listens on port {port}")


class Peer(ABC):
    """Something that runs statements; a context manager that starts and stops it."""

    name: str

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        return None

    @abstractmethod
    def throughput(self, workload: Workload) -> Figures:
        """Run the workload and return its figures."""

    @abstractmethod
    def million_to_arrow(self) -> int:
        """Read a million rows into an Arrow table; return its rows."""

    def million_to_json(self) -> int:
        """Read a million rows as JSON text; return its bytes."""
        raise LookupError(f"{self.name} writes no JSON")


class InProcess(Peer):
    """DuckDB without any server: what is there to be had."""

    def __init__(self, database: Path, threads: int) -> None:
        self.name = f"in-process, {threads} thread{'s' if threads > 1 else ''}"
        self._database = database
        self._threads = threads

    def __enter__(self) -> Self:
        self._root = duckdb.connect(str(self._database), read_only=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._root.close()

    def throughput(self, workload: Workload) -> Figures:
        def make_call():
            cursor = self._root.cursor()
            return lambda: cursor.execute(workload.sql).fetchall()

        return run_threads(make_call, min(self._threads, workload.clients), workload.seconds)

    def million_to_arrow(self) -> int:
        return self._root.execute(MILLION).to_arrow_table().num_rows

    def million_to_json(self) -> int:
        return len(orjson.dumps(self._root.execute(MILLION).fetchall()))


class Chronoduck(Peer):
    """The service, started as its users start it."""

    name = "chronoduck"

    def __init__(self, database: Path) -> None:
        self._database = database
        self._port = free_port()

    def __enter__(self) -> Self:
        environment = {
            "DUCKDB_TEMP_DIRECTORY": str(self._database.parent / "tmp"),
            "DUCKDB_LOG_FILE": str(self._database.parent / "chronoduck.log"),
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "chronoduck", "serve", "--port", str(self._port)]
            + ["--database", str(self._database)],
            env={**os.environ, **environment},
        )
        wait_for_port(self._port)
        while not (token := self._database.parent / "admin.token").exists():
            time.sleep(0.05)
        time.sleep(0.5)
        self._token = token.read_text().strip()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(30)

    def throughput(self, workload: Workload) -> Figures:
        output = subprocess.run(
            [sys.executable, "-m", "benchmarks.http_client", str(self._port), self._token]
            + [str(workload.clients), str(workload.seconds), workload.sql],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        return Figures(**json.loads(output))

    def become_analyst(self) -> None:
        """Go on with a key of an analyst's, whose statements are judged, counted and read-only."""
        limits = {"requests_per_minute": 100_000_000, "engine_seconds_per_hour": 100_000}
        wish = {"name": f"bench-{time.time_ns()}", "role": "analyst", "limits": limits}
        connection = http.client.HTTPConnection("127.0.0.1", self._port)
        headers = {"Authorization": f"Bearer {self._token}"}
        connection.request("POST", "/api/v1/duckdb/keys", json.dumps(wish), headers)
        self._token = json.loads(connection.getresponse().read())["key"]
        connection.close()

    def _ask(self, accept: str) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection("127.0.0.1", self._port)
        connection.request(
            "POST",
            "/api/v1/duckdb/query",
            json.dumps({"query": MILLION, "max_rows": 2_000_000}),
            {"Authorization": f"Bearer {self._token}", "Accept": accept},
        )
        response = connection.getresponse()
        assert response.status == 200, response.read()
        return response

    def million_to_arrow(self) -> int:
        response = self._ask("application/vnd.apache.arrow.stream")
        return pa.ipc.open_stream(response).read_all().num_rows

    def million_to_json(self) -> int:
        total = 0
        response = self._ask("application/json")
        while piece := response.read(1 << 20):
            total += len(piece)
        return total


class Analyst(Chronoduck):
    """The service as strangers meet it."""

    name = "chronoduck, an analyst"

    def __enter__(self) -> Self:
        super().__enter__()
        self.become_analyst()
        return self


class Quack(Peer):
    """DuckDB's own server, with DuckDB as its client; both of the version that it is built for."""

    name = "Quack"
    extension = "quack"

    def __init__(self, database: Path) -> None:
        self._database = database
        self._port = free_port()

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.quack_server", str(self._database)]
            + [str(self._port), _QUACK_TOKEN],
            env=peer_environment(),
            stdin=subprocess.PIPE,
        )
        wait_for_port(self._port)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(30)

    def throughput(self, workload: Workload) -> Figures:
        return Figures(
            **self._ask(str(workload.clients), str(workload.seconds), workload.sql)["figures"]
        )

    def million_to_arrow_seconds(self, runs: int) -> float:
        """Return the median seconds of some runs, taken in the client's process."""
        return float(self._ask("arrow", str(runs), MILLION)["seconds"])

    def million_to_arrow(self) -> int:
        raise LookupError("it is measured in the client's process")

    def _ask(self, *arguments: str) -> dict[str, Any]:
        output = subprocess.run(
            [sys.executable, "-m", "benchmarks.quack_client", str(self._port), _QUACK_TOKEN]
            + list(arguments),
            check=True,
            capture_output=True,
            env=peer_environment(),
            text=True,
        ).stdout
        answer: dict[str, Any] = json.loads(output)
        return answer
