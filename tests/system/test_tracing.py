"""Traces as a collector receives them: one server, one real exporter, spans where they belong."""

from __future__ import annotations

import gzip
import re
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.patience import PATIENCE_SECONDS
from tests.server import Server, run_cli

opentelemetry = pytest.importorskip("opentelemetry.proto.collector.trace.v1.trace_service_pb2")
pytestmark = pytest.mark.slow

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SECRET = "a-word-that-nobody-may-read"


class Collector:
    """Takes what exporters send by OTLP over HTTP."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        self.resources: list[Any] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                request = opentelemetry.ExportTraceServiceRequest.FromString(body)
                for resource in request.resource_spans:
                    collector.resources.append(resource.resource)
                    for scope in resource.scope_spans:
                        collector.spans += scope.spans
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: Any) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def settings(self) -> dict[str, str]:
        return {
            "DUCKDB_TRACING": "true",
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{self.server.server_port}",
            "OTEL_BSP_SCHEDULE_DELAY": "100",
            "OTEL_SERVICE_NAME": "captures",
        }

    def wait_for(self, count: int) -> list[Any]:
        end = time.monotonic() + PATIENCE_SECONDS
        while len(self.spans) < count and time.monotonic() < end:
            time.sleep(0.02)
        return self.spans


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    yield made
    made.server.shutdown()
    made.server.server_close()


def attributes(span: Any) -> dict[str, Any]:
    return {
        each.key: getattr(each.value, str(each.value.WhichOneof("value")))
        for each in span.attributes
    }


def test_a_request_and_its_statement_hang_below_the_clients_span(
    tmp_path: Path, collector: Collector
) -> None:
    with Server(tmp_path, **collector.settings) as server, server.client() as client:
        client.get("/health")
        collector.wait_for(1)
        time.sleep(0.5)
        collector.spans.clear()  # health, asked by those who wait for the start
        answer = client.post(
            "/query",
            json={"query": f"SELECT range, '{SECRET}' FROM range(1000)"},
            headers={"traceparent": f"00-{TRACE}-{PARENT}-01"},
        )
        assert answer.status_code == 200
        spans = {span.name: span for span in collector.wait_for(4)}
        assert spans.keys() == {"POST /query", "duckdb select", "execute", "encode"}
        request, statement = spans["POST /query"], spans["duckdb select"]
        assert {span.trace_id.hex() for span in spans.values()} == {TRACE}
        assert request.parent_span_id.hex() == PARENT
        assert statement.parent_span_id == request.span_id
        for name in ("execute", "encode"):
            part = spans[name]
            assert part.parent_span_id == statement.span_id
            assert statement.start_time_unix_nano <= part.start_time_unix_nano
            assert part.end_time_unix_nano <= statement.end_time_unix_nano
        assert attributes(request) == {
            "http.request.method": "POST",
            "http.route": "/query",
            "http.response.status_code": 200,
        }
        told = attributes(statement)
        assert told["db.response.returned_rows"] == 1000
        assert told["chronoduck.result_bytes"] == len(answer.content)
        assert told["chronoduck.outcome"] == "ok"

        collector.spans.clear()
        client.post("/query", json={"query": f"SELECT error('{SECRET}')"})
        spans = {span.name: span for span in collector.wait_for(3)}
        assert attributes(spans["duckdb select"])["error.type"] == "query_error"
        assert attributes(spans["POST /query"])["http.response.status_code"] == 400
        assert not spans["POST /query"].parent_span_id
    service = {
        each.key: each.value.string_value
        for resource in collector.resources
        for each in resource.attributes
    }
    assert service["service.name"] == "captures"
    assert SECRET not in repr(collector.spans)


def test_a_collector_that_is_gone_costs_nothing_but_traces(tmp_path: Path) -> None:
    settings = {"DUCKDB_TRACING": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
    with Server(tmp_path, **settings) as server:
        assert server.query("SELECT 42") == [[42]]
        began = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - began < 60


def test_times_are_in_a_header_without_any_of_it(tmp_path: Path) -> None:
    with Server(tmp_path) as server, server.client() as client:
        answer = client.post("/query", json={"query": "SELECT sum(range) FROM range(10000000)"})
        header = answer.headers["server-timing"]
        times = {name: float(ms) for name, ms in re.findall(r"(\w+);dur=([\d.]+)(?:, |$)", header)}
        assert times.keys() == {"queue", "execute", "encode", "total"}
        assert 1 < times["execute"] <= times["total"]
        assert times["execute"] + times["encode"] + times["queue"] <= times["total"] + 0.02
        stream = client.post(
            "/query?format=ndjson", json={"query": "FROM range(3000000)", "max_rows": 3000000}
        )
        assert "execute;dur=" in stream.headers["server-timing"]


def test_a_missing_package_is_told(tmp_path: Path) -> None:
    # As on a machine without the extra.
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\nsys.modules['opentelemetry.exporter.otlp.proto.http.trace_exporter'] = None\n"
    )
    ended = run_cli(tmp_path, "serve", DUCKDB_TRACING="true", PYTHONPATH=tmp_path)
    assert ended.returncode == 78
    assert "pip install 'chronoduck[otel]'" in ended.stderr
