"""Health, statistics, tables, templates, running queries, loading: and one error shape for all."""

from __future__ import annotations

import asyncio
import json

import httpx2
import pytest

from chronoduck.api.app import API_PREFIX
from chronoduck.assembly import DuckDBService
from chronoduck.settings import WALLS, Settings
from tests.patience import PATIENCE_SECONDS

ENDLESS = "SELECT sum(a.range * b.range) FROM range(10000000) a, range(10000000) b"
PUBLIC = {
    ("GET", "/health"),
    ("GET", "/health/live"),
    ("GET", "/health/ready"),
    ("GET", "/statistics"),
    ("GET", "/templates/performance-metrics"),
    ("GET", "/metrics"),
}


async def endpoints(client: httpx2.AsyncClient) -> list[tuple[str, str]]:
    document = (await client.get("http://test/openapi.json")).json()
    return [
        (method.upper(), path.removeprefix(API_PREFIX))
        for path, methods in document["paths"].items()
        for method in methods
    ]


async def test_every_endpoint_but_the_public_ones_wants_a_token(
    public: httpx2.AsyncClient,
) -> None:
    found = await endpoints(public)
    assert len(found) > 25
    for method, path in found:
        root = "http://test" if path == "/metrics" else ""
        response = await public.request(method, root + path.replace("{", "").replace("}", ""))
        if (method, path) in PUBLIC:
            assert response.status_code == 200, path
            continue
        assert response.status_code == 401, (method, path)
        assert response.headers["content-type"] == "application/problem+json"
        assert response.headers["www-authenticate"].startswith("Bearer")
        assert set(response.json()) == {
            "type",
            "title",
            "status",
            "detail",
            "code",
            "hint",
            "retryable",
            "request_id",
        }


@pytest.mark.parametrize(
    "authorization",
    ["", "Bearer", "Bearer ", "Bearer wrong", "Basic YWRtaW46YWRtaW4=", "Bearer \xff", "x" * 5000],
)
async def test_a_wrong_token_is_refused(public: httpx2.AsyncClient, authorization: str) -> None:
    response = await public.post(
        "/query",
        headers={b"Authorization": authorization.encode("latin-1")},
        json={"query": "SELECT 1"},
    )
    assert response.status_code == 401


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "not_found"),
        ("PUT", "/query", 405, "method_not_allowed"),
        ("GET", "/tables/nowhere", 404, "not_found"),
        ("GET", "/templates/nowhere", 404, "template_not_found"),
        ("GET", "/templates/page-stats?limit=0", 422, "invalid_request"),
        ("GET", "/templates/page-stats?limti=5", 422, "invalid_request"),
        ("GET", "/queries/nowhere", 404, "not_found"),
        ("DELETE", "/queries/nowhere", 404, "not_found"),
        ("POST", "/explain", 422, "invalid_request"),
        ("POST", "/batch", 422, "invalid_request"),
        ("POST", "/tables/t/rows?format=nope", 422, "invalid_request"),
        ("POST", "/query?format=nope", 422, "invalid_request"),
    ],
)
async def test_every_error_is_a_problem(
    admin: httpx2.AsyncClient, method: str, path: str, status: int, code: str
) -> None:
    response = await admin.request(
        method, path, json={"query": "SELECT 1"} if "query?" in path else None
    )
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem["code"] == code
    assert problem["detail"]
    assert problem["request_id"] == response.headers["x-request-id"]


async def test_health_has_the_keys_of_the_guide_and_hides_the_path(
    public: httpx2.AsyncClient, settings: Settings
) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:  # a ping that did not answer at once says so, and is no failure yet
            response = await public.get("/health")
            report = response.json()
            if report["query_test"]["success"]:
                break
            await asyncio.sleep(0.1)
    assert response.status_code == 200
    assert report["status"] == "healthy"
    assert {
        "timestamp",
        "service_initialized",
        "database_exists",
        "database_size_mb",
        "query_test",
        "connection_pool",
        "circuit_breaker",
        "metrics",
        "system",
        "errors",
    } <= set(report)
    assert {"total_connections", "available_connections", "max_connections"} <= set(
        report["connection_pool"]
    )
    assert set(report["metrics"]) == {
        "total_connections",
        "active_connections",
        "total_queries",
        "successful_queries",
        "failed_queries",
        "success_rate",
        "avg_query_time",
        "memory_usage_mb",
        "last_query_time",
    }
    assert set(report["system"]) == {
        "process_memory_mb",
        "process_memory_percent",
        "cpu_percent",
        "system_memory_percent",
        "system_cpu_percent",
        "disk_usage_percent",
    }
    assert "database_path" not in report
    assert "sandbox" not in report
    assert str(settings.database_path.parent) not in response.text


async def test_health_tells_the_path_to_the_admin(
    admin: httpx2.AsyncClient, settings: Settings
) -> None:
    report = (await admin.get("/health")).json()
    assert report["database_path"] == str(settings.database_path)
    assert list(report["sandbox"]["walls"]) == list(WALLS)


async def test_statistics_have_the_keys_of_the_guide_and_no_sql(
    admin: httpx2.AsyncClient,
) -> None:
    await admin.post("/query", json={"query": "SELECT 'canary-text'"})
    response = await admin.get("/statistics")
    report = response.json()
    assert {
        "service",
        "metrics",
        "performance",
        "system",
        "circuit_breaker",
        "database_file",
        "query_analysis",
    } <= set(report)
    assert {"initialized", "uptime_seconds", "memory_limit", "worker_threads"} <= set(
        report["service"]
    )
    assert {"avg_query_time", "recent_query_times", "success_rate"} <= set(report["performance"])
    assert {
        "total_queries",
        "min_time",
        "max_time",
        "median_time",
        "queries_over_1s",
        "queries_over_5s",
    } <= set(report["query_analysis"])
    assert report["query_analysis"]["total_queries"] == 1
    assert "canary-text" not in response.text


async def test_performance_metrics_have_the_keys_that_clients_read(
    public: httpx2.AsyncClient,
) -> None:
    report = (await public.get("/templates/performance-metrics")).json()
    assert set(report["memory_usage"]) == {"service_memory_mb", "avg_query_memory_mb"}
    assert set(report["circuit_breaker"]) == {"state", "success_rate", "failure_count"}
    assert "query_performance" in report
    assert "system_performance" in report


async def test_an_open_breaker_refuses_statements_and_is_reset(
    admin: httpx2.AsyncClient, app_service: DuckDBService
) -> None:
    app_service.circuit_breaker.force_open("a disk that is on fire")
    refused = await admin.post("/query", json={"query": "SELECT 1"})
    assert refused.status_code == 503
    assert int(refused.headers["retry-after"]) >= 1
    assert refused.json()["code"] == "circuit_breaker_open"
    assert (await admin.get("/health")).status_code == 503
    assert (await admin.get("/health/ready")).status_code == 503
    assert (await admin.get("/health/live")).status_code == 200
    assert (await admin.post("/circuit-breaker/reset")).json()["status"] == "success"
    assert (await admin.post("/query", json={"query": "SELECT 1"})).status_code == 200
    assert (await admin.get("/health")).json()["status"] == "healthy"


async def test_initialize_is_idempotent(admin: httpx2.AsyncClient) -> None:
    assert (await admin.post("/initialize")).json()["status"] == "success"


async def test_tables_are_listed_and_described(admin: httpx2.AsyncClient) -> None:
    await admin.post("/query", json={"query": 'CREATE TABLE "odd name" (a INTEGER NOT NULL)'})
    await admin.post("/query", json={"query": 'INSERT INTO "odd name" FROM range(7)'})
    await admin.post("/query", json={"query": 'CREATE VIEW v AS FROM "odd name"'})
    listed = (await admin.get("/tables")).json()
    assert [(table["name"], table["kind"]) for table in listed] == [
        ("odd name", "table"),
        ("v", "view"),
    ]
    table = (await admin.get("/tables/odd name")).json()
    assert table["columns"] == [
        {"name": "a", "type": "INTEGER", "nullable": False, "default": None}
    ]
    assert table["row_estimate"] == 7
    assert table["sample"]["data"] == [[0], [1], [2], [3], [4]]
    assert (await admin.get("/tables/main.v")).json()["kind"] == "view"


async def test_templates_are_listed_documented_and_run(admin: httpx2.AsyncClient) -> None:
    lines = "com,example)/ 20240101000000 http://example.com/ text/html 200 D 10\n"
    loaded = await admin.post(
        "/tables/pages_analytics/rows", params={"source": "x.cdx"}, content=lines.encode()
    )
    assert json.loads(loaded.text.splitlines()[-1])["event"] == "done"
    names = [template["name"] for template in (await admin.get("/templates")).json()]
    assert len(names) >= 10
    for name in names:
        assert ("GET", f"/templates/{name}") in await endpoints(admin)
    result = (await admin.get("/templates/page-stats", params={"limit": 5})).json()
    assert result["columns"] == ["domain", "page_count", "avg_content_length", "last_scraped"]
    assert result["data"] == [["example.com", 1, 10.0, "2024-01-01T00:00:00"]]


async def test_a_template_without_its_table_says_what_to_do(admin: httpx2.AsyncClient) -> None:
    problem = (await admin.get("/templates/page-stats")).json()
    assert problem["code"] == "query_error"
    assert "reads the table pages_analytics" in problem["hint"]
    assert "chronoduck load" in problem["hint"]


async def test_a_parameter_that_is_given_twice_is_refused(admin: httpx2.AsyncClient) -> None:
    response = await admin.get("/templates/page-stats?limit=5&limit=6")
    assert response.status_code == 422
    assert "'limit' is given twice" in response.json()["detail"]


@pytest.mark.parametrize("path", ["/health", "/health/live", "/health/ready"])
async def test_health_answers_head_as_probes_ask(public: httpx2.AsyncClient, path: str) -> None:
    assert (await public.head(path)).status_code == 200


async def test_a_running_statement_is_listed_and_ended(admin: httpx2.AsyncClient) -> None:
    task = asyncio.create_task(admin.post("/query", json={"query": ENDLESS}))
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not (running := (await admin.get("/queries")).json()):
            await asyncio.sleep(0.02)
    assert running[0]["query"] == ENDLESS
    assert running[0]["user"] == "admin"
    one = (await admin.get(f"/queries/{running[0]['id']}")).json()
    assert one["id"] == running[0]["id"]
    assert (await admin.delete(f"/queries/{one['id']}")).status_code == 200
    response = await task
    assert response.status_code == 409
    assert response.json()["code"] == "statement_cancelled"


async def test_health_answers_while_every_worker_is_busy(
    admin: httpx2.AsyncClient, settings: Settings
) -> None:
    """Monitoring must not wait in the queue behind the statements that it is to tell about."""
    many = settings.worker_threads + 3
    tasks = [
        asyncio.create_task(admin.post("/query", json={"query": ENDLESS})) for _ in range(many)
    ]
    async with asyncio.timeout(PATIENCE_SECONDS):
        while len(await _running(admin)) < settings.worker_threads:
            await asyncio.sleep(0.02)
        health = (await admin.get("/health")).json()
        assert (await admin.get("/statistics")).status_code == 200
        assert (await admin.get("/templates/performance-metrics")).status_code == 200
        assert (await admin.get("/health/ready")).status_code == 200
    assert health["query_test"]["success"] is True
    for running in (await admin.get("/queries")).json():
        await admin.delete(f"/queries/{running['id']}")
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not all(task.done() for task in tasks):
            for running in (await admin.get("/queries")).json():
                await admin.delete(f"/queries/{running['id']}")
            await asyncio.sleep(0.02)
    assert {task.result().status_code for task in tasks} == {409}


async def _running(admin: httpx2.AsyncClient) -> list[dict[str, object]]:
    statements: list[dict[str, object]] = (await admin.get("/queries")).json()
    return [statement for statement in statements if statement["state"] == "running"]


async def test_loading_tells_rejects_and_the_end(admin: httpx2.AsyncClient) -> None:
    lines = b"com,example)/ 20240101000000 http://example.com/ text/html 200 D 10\nbroken\n"
    response = await admin.post("/tables/pages_analytics/rows", content=lines)
    events = [json.loads(line) for line in response.text.splitlines()]
    assert [event["event"] for event in events] == ["reject", "progress", "done"]
    assert events[0]["line_number"] == 2
    assert events[-1]["rows_added"] == 1


async def test_a_file_that_cannot_be_loaded_ends_with_an_error_line(
    admin: httpx2.AsyncClient,
) -> None:
    response = await admin.post("/tables/pages_analytics/rows", content=b"hello\n")
    event = json.loads(response.text.splitlines()[-1])
    assert event["event"] == "error"
    assert event["error"]["code"] == "load_failed"


async def test_a_request_id_is_taken_over_only_when_it_is_harmless(
    admin: httpx2.AsyncClient,
) -> None:
    kept = await admin.get("/health/live", headers={"X-Request-ID": "abc-1.2"})
    assert kept.headers["x-request-id"] == "abc-1.2"
    for bad in ("a b", "x" * 65, '"><script>'):
        made = await admin.get("/health/live", headers={"X-Request-ID": bad})
        assert made.headers["x-request-id"] != bad


async def test_the_documentation_needs_no_network(public: httpx2.AsyncClient) -> None:
    page = await public.get("http://test/docs/api/duckdb")
    assert page.status_code == 200
    assert "https://" not in page.text.replace("https://fastapi.tiangolo.com", "")


async def test_an_unforeseen_error_is_a_problem_without_a_trace(settings: Settings) -> None:
    from chronoduck.api import create_app

    app = create_app(DuckDBService(settings))

    @app.get("/boom")
    async def boom() -> None:
        raise KeyError("secret detail")

    transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
        response = await client.get("/boom")
    assert response.status_code == 500
    assert response.json()["code"] == "internal_error"
    assert "secret detail" not in response.text
