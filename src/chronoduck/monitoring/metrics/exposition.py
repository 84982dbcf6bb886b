"""The page that Prometheus reads: what was counted, and what the reports say at this moment."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, Info, PlatformCollector, ProcessCollector
from prometheus_client.core import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from chronoduck.monitoring.exports import export_families
from chronoduck.monitoring.metrics.gauges import (
    durability_families,
    engine_families,
    health_families,
    resource_families,
)
from chronoduck.monitoring.metrics.requests import RequestMetrics
from chronoduck.monitoring.metrics.statements import StatementMetrics
from chronoduck.monitoring.penalties import penalty_families
from chronoduck.monitoring.space import space_families
from chronoduck.monitoring.syncs import sync_families

__all__ = ["MetricsPage"]


class _Snapshot(Collector):
    """Turns the reports of one scrape into families."""

    def __init__(self) -> None:
        self.families: list[Metric] = []

    def collect(self) -> Iterable[Metric]:
        return self.families


class _Joined(CollectorRegistry):
    """Several registries as one page."""

    def __init__(self, registries: Iterable[CollectorRegistry]) -> None:
        super().__init__()
        for registry in registries:
            self.register(registry)

    def collect(self) -> Iterator[Metric]:
        """Leave out when each counter began: it doubles the page and nobody asks."""
        for family in super().collect():
            family.samples = [each for each in family.samples if not each.name.endswith("_created")]
            yield family


class MetricsPage:
    """Everything that is measured, in one registry of its own. For one event loop."""

    def __init__(self, version: str, duckdb_version: str) -> None:
        self._registry = CollectorRegistry()
        self._identity = CollectorRegistry()
        self._snapshot = _Snapshot()
        self.statements = StatementMetrics(self._registry)
        self.requests = RequestMetrics(self._registry)
        Info("duckdb_build", "What runs.", registry=self._identity).info(
            {"version": version, "duckdb_version": duckdb_version}
        )
        PlatformCollector(registry=self._identity)
        ProcessCollector(registry=self._registry)
        self._registry.register(self._snapshot)

    def media_type(self, accept: str) -> str:
        """Return the media type that a page by this ``accept`` has."""
        return choose_encoder(accept)[1]

    def render(
        self,
        accept: str,
        *,
        show_versions: bool,
        health: Mapping[str, Any],
        statistics: Mapping[str, Any],
        replication: Mapping[str, Any],
        backups: Mapping[str, Any],
        syncs: Sequence[Mapping[str, Any]],
        exports: Sequence[Mapping[str, Any]],
    ) -> tuple[bytes, str]:
        """Return the page and its media type, OpenMetrics or Prometheus's own text by ``accept``."""
        families = [
            *_families(health, statistics, replication, backups),
            *sync_families(syncs),
            *export_families(exports),
        ]
        self._snapshot.families = families
        encoder, media_type = choose_encoder(accept)
        registries = (self._identity, self._registry) if show_versions else (self._registry,)
        return encoder(_Joined(registries)), media_type


def _families(
    health: Mapping[str, Any],
    statistics: Mapping[str, Any],
    replication: Mapping[str, Any],
    backups: Mapping[str, Any],
) -> Iterator[Metric]:
    yield from health_families(health)
    yield from engine_families(health, statistics)
    yield from resource_families(statistics)
    yield from durability_families(replication, backups)
    yield from penalty_families(statistics["penalties"])
    yield from space_families(statistics["space"], statistics["audit"])
