"""The shipped rules, checked by promtool, and seen at work: break something, the alert arrives."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
import uvicorn

from chronoduck.api import create_app
from chronoduck.assembly import DuckDBService
from chronoduck.settings import ReplicaSettings, Settings
from tests.fault.volumes import fill, small_volume
from tests.prometheus import RULES, AlertingStack, needs
from tests.server import free_port

MakeSettings = Callable[..., Settings]
pytestmark = pytest.mark.slow


def _run(*command: str, text: str | None = None) -> str:
    done = subprocess.run(
        command, cwd=RULES, input=text, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_rules_and_configurations_are_valid() -> None:
    needs("promtool", "amtool")
    _run("promtool", "check", "rules", "rules.yml")
    _run("promtool", "check", "config", "prometheus.yml")
    _run("amtool", "check-config", "alertmanager.yml")


def test_every_alert_fires_when_it_should_and_stays_quiet_when_not() -> None:
    needs("promtool")
    _run("promtool", "test", "rules", "rules.test.yml")
    alerts = re.findall(r"- alert: (\w+)", (RULES / "rules.yml").read_text())
    tests = (RULES / "rules.test.yml").read_text()
    for alert in alerts:
        assert f"name: {alert} fires" in tests
        assert f"name: {alert} stays quiet" in tests


@asynccontextmanager
async def _served(service: DuckDBService) -> AsyncIterator[int]:
    port = free_port()
    config = uvicorn.Config(create_app(service), port=port, log_config=None)
    server = uvicorn.Server(config)
    server.capture_signals = _no_signals  # type: ignore[method-assign]
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.02)
    try:
        yield port
    finally:
        server.should_exit = True
        await serving


class _no_signals:  # noqa: N801 - stands for a method
    def __enter__(self) -> None: ...
    def __exit__(self, *_: object) -> None: ...


async def test_what_breaks_arrives_at_the_receiver_and_is_resolved(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    needs("prometheus", "prometheus-alertmanager")
    with small_volume(tmp_path / "data", 100) as data, small_volume(tmp_path / "rep", 60) as rep:
        settings = make_settings(
            disk_floor="30MB",
            database_path=data / "test.db",
            replica=ReplicaSettings(url=str(rep / "replica"), interval=0.2),
        )
        service = DuckDBService(settings)
        async with _served(service) as port:
            await service.execute_query("CREATE TABLE t AS SELECT range AS a FROM range(1000)")
            with AlertingStack(tmp_path / "stack", port) as stack:
                await _breaker(service, stack)
                await _disk(data, stack)
                await _replica(service, rep, stack)
    await service.shutdown()


async def _in_thread(call: Callable[..., Any], *arguments: Any) -> Any:
    return await asyncio.to_thread(call, *arguments)


async def _breaker(service: DuckDBService, stack: AlertingStack) -> None:
    service.circuit_breaker.force_open("the test says so")
    alert = await _in_thread(stack.wait_for, "DuckDBCircuitBreakerOpen")
    assert alert["labels"]["severity"] == "warning"
    assert alert["annotations"]["runbook_url"].endswith("/runbooks/circuit-breaker-open")
    down = await _in_thread(stack.wait_for, "DuckDBServiceDown")
    assert down["labels"]["severity"] == "critical"
    service.circuit_breaker.reset()
    await _in_thread(stack.wait_for, "DuckDBServiceDown", "resolved")
    await _in_thread(stack.wait_for, "DuckDBCircuitBreakerOpen", "resolved")


async def _disk(volume: Path, stack: AlertingStack) -> None:
    stuffing = fill(volume, leave=20_000_000)
    await _in_thread(stack.wait_for, "DuckDBWritesRefused")
    stuffing.unlink()
    await _in_thread(stack.wait_for, "DuckDBWritesRefused", "resolved")


async def _replica(service: DuckDBService, volume: Path, stack: AlertingStack) -> None:
    stuffing = fill(volume, leave=0)
    await service.execute_query("INSERT INTO t SELECT range FROM range(100000)")
    alert = await _in_thread(_replica_degraded, stack)
    assert "replica" in alert["annotations"]["summary"]
    stuffing.unlink()
    shutil.rmtree(volume / "lost+found", ignore_errors=True)


def _replica_degraded(stack: AlertingStack) -> dict[str, Any]:
    while True:
        alert = stack.wait_for("DuckDBServiceDegraded")
        if alert["labels"]["component"] == "replica":
            return alert
        stack.received.remove(alert)


async def test_the_page_is_what_prometheus_expects(service: DuckDBService) -> None:
    needs("promtool")
    await service.execute_query("SELECT 1")
    transport = httpx2.ASGITransport(create_app(service))
    async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
        page = (await client.get("/metrics")).text
    assert "duckdb_queries_total" in page
    _run("promtool", "check", "metrics", text=page)


async def test_every_metric_of_the_rules_exists(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    replica = ReplicaSettings(url=str(tmp_path / "replica"), interval=0.2)
    syncs = tmp_path / "sync.toml"
    syncs.write_text(
        '[source.a]\ndsn_env = "A_DSN"\n'
        '[sync.b]\nsource = "a"\ntable = "b"\ntarget = "b"\nmode = "full"\n'
    )
    async with DuckDBService(make_settings(replica=replica, sync_file=syncs)) as service:
        await service.execute_query("SELECT 1")
        while (await service.get_replication_status())["lag_seconds"] is None:
            await asyncio.sleep(0.05)
        page, _ = await service.render_metrics("", show_versions=False)
    known = set(re.findall(r"^(\w+)[{ ]", page.decode(), re.MULTILINE))
    # These have no series before there was a backup, a whole round of the scrub, a drill.
    known |= {
        "duckdb_last_backup_success_timestamp_seconds",
        "duckdb_scrub_last_round_timestamp_seconds",
        "duckdb_last_drill_timestamp_seconds",
        "duckdb_last_drill_success",
    }
    used = set(re.findall(r"\b(duckdb_\w+)", (RULES / "rules.yml").read_text()))
    assert used - known == set()
