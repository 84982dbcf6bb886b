"""What is counted when an HTTP request was answered, under OpenTelemetry's name."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Histogram

__all__ = ["RequestMetrics"]

_SECONDS = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_METHODS = frozenset({"GET", "POST", "DELETE", "HEAD"})


class RequestMetrics:
    """Durations by method, route and status; a path that no route has is counted as ``none``."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._duration = Histogram(
            "http_server_request_duration_seconds",
            "From a request's first byte to the answer's last.",
            ["http_request_method", "http_route", "http_response_status_code"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._series: dict[tuple[str, str, int], Histogram] = {}

    def record(self, method: str, route: str | None, status: int, seconds: float) -> None:
        """Count an answered request; ``route`` is its template, such as ``/tables/{name}``."""
        key = (method if method in _METHODS else "_OTHER", route or "none", status)
        series = self._series.get(key)
        if series is None:
            series = self._series[key] = self._duration.labels(key[0], key[1], str(status))
        series.observe(seconds)
