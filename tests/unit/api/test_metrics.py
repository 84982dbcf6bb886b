"""Metrics: what is counted, bounded labels, and what the public may not see."""

from __future__ import annotations

from dataclasses import dataclass

import httpx2
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from chronoduck.api import create_app
from chronoduck.assembly import DuckDBService
from chronoduck.errors import DuckDBQueryError
from chronoduck.monitoring.metrics import RequestMetrics, StatementMetrics


@dataclass
class Ended:
    kind: str = "select"
    outcome: str = "ok"
    execution_time: float = 0.01
    queue_time: float = 0.0
    rows: int = 1
    bytes: int = 0


def test_what_a_user_sends_never_becomes_a_label() -> None:
    registry = CollectorRegistry()
    statements, requests = StatementMetrics(registry), RequestMetrics(registry)
    for index in range(1000):
        statements.record(Ended(kind=f"kind{index}"))
        requests.record(f"METHOD{index}", None, 404, 0.1)
    series = [sample for family in registry.collect() for sample in family.samples]
    assert len(series) < 100
    assert (
        registry.get_sample_value("duckdb_queries_total", {"kind": "other", "outcome": "ok"})
        == 1000.0
    )


async def test_statements_and_requests_are_counted_by_kind_outcome_and_route(
    public: httpx2.AsyncClient, admin: httpx2.AsyncClient
) -> None:
    for _ in range(3):
        await admin.post("/query", json={"query": "SELECT 1"})
    await admin.post("/query", json={"query": "SELEC"})
    page = (await admin.get("http://test/metrics")).text
    assert 'duckdb_queries_total{kind="select",outcome="ok"} 3.0' in page
    assert 'duckdb_queries_total{kind="invalid",outcome="user_error"} 1.0' in page
    assert (
        'http_server_request_duration_seconds_count{http_request_method="POST",'
        'http_response_status_code="200",http_route="/query"} 3.0' in page
    )
    await admin.get("/tables/nothing")
    page = (await admin.get("http://test/metrics")).text
    assert 'http_route="/tables/{name}"' in page


async def test_versions_are_shown_to_admins_only(
    public: httpx2.AsyncClient, admin: httpx2.AsyncClient
) -> None:
    assert "duckdb_build_info" in (await admin.get("http://test/metrics")).text
    del admin.headers["Authorization"]
    assert "duckdb_build_info" not in (await public.get("http://test/metrics")).text


async def test_the_page_is_openmetrics_for_whoever_asks_for_it(admin: httpx2.AsyncClient) -> None:
    answer = await admin.get(
        "http://test/metrics", headers={"Accept": "application/openmetrics-text"}
    )
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    names = {family.name for family in text_string_to_metric_families(answer.text)}
    assert {"duckdb_queries", "duckdb_query_duration_seconds", "duckdb_service_health"} <= names


async def test_the_breakers_state_is_one_series_per_state(service: DuckDBService) -> None:
    service.circuit_breaker.force_open()
    page = (await service.render_metrics("", show_versions=False))[0].decode()
    assert 'duckdb_circuit_breaker_state{state="open"} 1.0' in page
    assert 'duckdb_circuit_breaker_state{state="closed"} 0.0' in page
    assert "duckdb_service_health 0.0" in page
    service.circuit_breaker.reset()
    with pytest.raises(DuckDBQueryError):
        await service.execute_query("SELEC")
    assert (
        "duckdb_service_health 1.0"
        in (await service.render_metrics("", show_versions=False))[0].decode()
    )


async def test_a_closed_service_has_a_page_that_says_so(service: DuckDBService) -> None:
    app = create_app(service)
    await service.shutdown()
    async with httpx2.AsyncClient(
        transport=httpx2.ASGITransport(app), base_url="http://test"
    ) as client:
        answer = await client.get("/metrics")
    assert answer.status_code == 200
    assert "duckdb_service_health 0.0" in answer.text
