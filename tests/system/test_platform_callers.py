"""Three callers as the platform has them: its metrics exporter, its health checker, its query router."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest

from app.services.duckdb_service import (
    CircuitBreaker,
    DuckDBQueryError,
    DuckDBService,
    QueryResult,
    duckdb_service,
    get_duckdb_service,
)
from chronoduck.settings import ShadowSettings, load_settings

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DuckDBService]:
    directory = tmp_path_factory.mktemp("platform")
    opened = DuckDBService(
        load_settings(
            database_path=directory / "data" / "test.db",
            temp_directory=directory / "temp",
            memory_limit="500MB",
            worker_threads=2,
            shutdown_grace=0.5,
            ballast_size=0,
            shadow=ShadowSettings(enabled=False),
        )
    )
    yield opened
    asyncio.run(opened.shutdown())


# --- metrics exporter ----------------------------------------------------------------------------


class Gauges:
    """Turns health and statistics into lines for Prometheus; what is missing is 0."""

    states = ("closed", "open", "half_open")

    def __init__(self, service: DuckDBService) -> None:
        self._service = service

    async def read(self) -> dict[str, float]:
        """Return each gauge's value by its name."""
        health = await self._service.health_check()
        statistics = await self._service.get_statistics()
        counters, timing = statistics["metrics"], statistics["performance"]
        breaker = health["circuit_breaker"]
        return {
            "up": float(health["status"] == "healthy"),
            "connections_active": counters["active_connections"],
            "connections_total": counters["total_connections"],
            "memory_bytes": counters["memory_usage_mb"] * 1_000_000,
            "memory_per_query_mb": timing["avg_memory_per_query"],
            "queries": counters["total_queries"],
            "queries_successful": counters["successful_queries"],
            "queries_failed": counters["failed_queries"],
            "query_seconds": timing["avg_query_time"],
            "breaker_state": self.states.index(breaker["state"]),
            "breaker_failures": breaker["failure_count"],
            "file_bytes": statistics["database_file"]["size_mb"] * 1_000_000,
            "queries_over_1s": statistics["query_analysis"]["queries_over_1s"],
            "queries_over_5s": statistics["query_analysis"]["queries_over_5s"],
        }

    async def render(self) -> str:
        """Return the exposition text."""
        gauges = await self.read()
        return "".join(f"chrono_duckdb_{name} {value:g}\n" for name, value in gauges.items())


async def test_the_exporter_turns_reports_into_gauges() -> None:
    service = await get_duckdb_service()
    exporter = Gauges(service)
    before = await exporter.read()
    await service.execute_query("SELECT 1")
    with pytest.raises(DuckDBQueryError):
        await service.execute_query("SELECT nothing")
    lent = await service.get_connection()
    after = await exporter.read()
    assert after["up"] == 1
    assert after["queries"] - before["queries"] == 2
    assert after["queries_failed"] - before["queries_failed"] == 1
    assert after["connections_active"] == 1
    assert after["file_bytes"] > 0
    service.return_connection(lent)
    service.circuit_breaker.force_open("the exporter's test")
    opened = await exporter.read()
    assert (opened["up"], opened["breaker_state"]) == (0, 1)
    assert "chrono_duckdb_breaker_state 1\n" in await exporter.render()
    service.circuit_breaker.force_closed("the exporter's test is over")


def test_the_exporter_is_scraped_from_another_thread() -> None:
    async def scrape() -> str:
        return await Gauges(duckdb_service).render()

    texts: list[str] = []
    asyncio.run(get_duckdb_service())
    thread = threading.Thread(target=lambda: texts.append(asyncio.run(scrape())))
    thread.start()
    thread.join()
    assert "chrono_duckdb_up 1\n" in texts[0]


# --- health checker ------------------------------------------------------------------------------


@dataclass
class Finding:
    """What a check found; the score goes from 0 to 100."""

    status: str
    score: float = 0.0
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


class HealthChecker:
    """Looks at the service, and closes and opens it when it is not well."""

    probe = "SELECT count(*) AS rows, avg(1.0) AS mean FROM generate_series(1, 1000)"

    def __init__(self, service: DuckDBService) -> None:
        self._service = service
        self.recoveries = 0

    async def check(self) -> Finding:
        """Return how the service is, its own report and a statement taken together."""
        report = await self._service.health_check()
        if report["status"] not in ("healthy", "degraded"):
            return Finding("unhealthy", errors=list(report["errors"]))
        result = await self._service.execute_query(self.probe, timeout=60)
        found = Finding("healthy", 100.0 if result.data == [(1000, 1.0)] else 0.0)
        if report["circuit_breaker"]["state"] != "closed":
            found.warnings.append(f"breaker {report['circuit_breaker']['state']}")
        return found

    async def recover(self) -> bool:
        """Reset all connections by closing and opening the service; whether it is well then."""
        self.recoveries += 1
        await self._service.shutdown()
        await self._service.initialize()
        self._service.circuit_breaker.force_closed("recovered")
        return (await self.check()).status == "healthy"


async def test_the_health_checker_recovers_a_service_again_and_again() -> None:
    service = await get_duckdb_service()
    checker = HealthChecker(service)
    await service.execute_query("CREATE TABLE kept AS SELECT 1 AS n")
    assert (await checker.check()).score == 100
    for number in range(2, 4):
        lent = await service.get_connection()  # somebody still holds one
        lent.execute("BEGIN")
        lent.execute("INSERT INTO kept VALUES (99)")
        service.circuit_breaker.force_open("the disk failed")
        found = await checker.check()
        assert found.status == "unhealthy"
        assert any("breaker" in error for error in found.errors)
        assert await checker.recover()
        await service.execute_query("INSERT INTO kept VALUES (?)", [number])
    assert (await service.execute_query("SELECT n FROM kept ORDER BY n")).data == [(1,), (2,), (3,)]
    assert service._connection_pool is not None
    assert service.metrics.active_connections == 0


async def test_the_health_checker_opens_what_was_never_opened() -> None:
    checker = HealthChecker(duckdb_service)
    found = await checker.check()
    assert found.status == "unhealthy"
    assert found.errors
    assert await checker.recover()


# --- query router --------------------------------------------------------------------------------


class Router:
    """Sends analytical statements to DuckDB, behind a breaker of its own."""

    def __init__(self, service: DuckDBService) -> None:
        self._service = service
        self._breaker = CircuitBreaker("router")
        self.routed = 0

    async def run(self, sql: str, params: Sequence[Any] | Mapping[str, Any] | None) -> QueryResult:
        """Run one statement; its caller's errors are not the engine's."""
        permit = self._breaker.before_call()
        try:
            result = await self._service.execute_query(sql, params)
        except DuckDBQueryError:
            self._breaker.record_neutral(permit)
            raise
        self._breaker.record_success(permit, result.execution_time)
        self.routed += 1
        return result

    async def write(self, statements: Sequence[tuple[str, Sequence[Any]]], threads: Any) -> None:
        """Run statements in one transaction, each from a worker thread."""
        loop = asyncio.get_running_loop()
        async with self._service.transaction() as opened:
            for sql, params in statements:
                await loop.run_in_executor(threads, opened.execute, sql, params)


async def test_the_router_passes_parameters_and_transactions() -> None:
    service = await get_duckdb_service()
    router = Router(service)
    await router.run("CREATE TABLE visits (domain VARCHAR, day DATE, views INTEGER)", None)
    insert = "INSERT INTO visits VALUES (?, ?::DATE, ?)"
    with ThreadPoolExecutor(4) as threads:
        await asyncio.gather(
            *(
                router.write(
                    [(insert, [f"{name}.org", f"2024-01-0{day}", day]) for day in range(1, 4)],
                    threads,
                )
                for name in "abc"
            )
        )
        with pytest.raises(DuckDBQueryError):
            await router.write(
                [(insert, ["lost.org", "2024-01-01", 1]), (insert, ["lost.org", "no day", 1])],
                threads,
            )
    by_list = await router.run("SELECT sum(views) FROM visits WHERE domain = ?", ["a.org"])
    by_name = await router.run(
        "SELECT domain, sum(views) FROM visits WHERE day >= $since::DATE GROUP BY ALL ORDER BY ALL",
        {"since": "2024-01-02"},
    )
    by_number = await router.run("SELECT count(*) FROM visits WHERE domain = ?", {"1": "lost.org"})
    assert by_list.data == [(6,)]
    assert by_name.data == [("a.org", 5), ("b.org", 5), ("c.org", 5)]
    assert by_number.data == [(0,)]
    assert router.routed == 4
    assert service.metrics.active_connections == 0
