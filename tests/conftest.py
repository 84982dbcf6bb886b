"""Fixtures for every kind of test: settings in a directory of their own, a service on a real file."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

from chronoduck.assembly import DuckDBService
from chronoduck.settings import Settings, load_settings
from tests import left_behind

# How fast a busy machine makes up or runs an example says nothing.
hypothesis_settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
hypothesis_settings.load_profile("any machine")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(left_behind, "left-behind")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the long tests, and keep those together that share a server or another fixture.

    All others are spread one by one: a file of thirty long tests would keep one process busy long after
    the others have ended.
    """
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)
    for item in items:
        info = item._fixtureinfo  # type: ignore[attr-defined]  # pytest has no public name for it
        used = [each for known in info.name2fixturedefs.values() for each in known]
        if any(each.scope != "function" and each.baseid.startswith("tests") for each in used):
            item.add_marker(pytest.mark.xdist_group(item.location[0]))


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of the developer's shell reaches a test."""
    for name in os.environ:
        if name.startswith(("DUCKDB_", "PARQUET_", "AWS_", "CHRONODUCK_")):
            monkeypatch.delenv(name)
    # A process more for every service: tests of the shadow switch it on.
    monkeypatch.setenv("DUCKDB_SHADOW_ENABLED", "false")


@pytest.fixture
def make_settings(tmp_path: Path) -> Callable[..., Settings]:
    """Return settings on files below tmp_path; keywords override them."""

    def make(**overrides: Any) -> Settings:
        defaults: dict[str, Any] = {
            "database_path": tmp_path / "data" / "test.db",
            "temp_directory": tmp_path / "temp",
            "memory_limit": "500MB",
            "worker_threads": 2,
            "shutdown_grace": 0.5,
            "ballast_size": 0,
        }
        return load_settings(**{**defaults, **overrides})

    return make


@pytest.fixture
def settings(make_settings: Callable[..., Settings]) -> Settings:
    """Settings on files below tmp_path."""
    return make_settings()


@pytest.fixture
async def service(settings: Settings) -> AsyncIterator[DuckDBService]:
    """An open service on a new database file."""
    async with DuckDBService(settings) as opened:
        yield opened
