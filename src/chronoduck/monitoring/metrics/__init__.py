"""Prometheus metrics: counted as statements end, read from the parts when somebody scrapes.

A label takes its values from a list in this code, never from what a user sends.
"""

from chronoduck.monitoring.metrics.exposition import MetricsPage
from chronoduck.monitoring.metrics.requests import RequestMetrics
from chronoduck.monitoring.metrics.statements import StatementMetrics

__all__ = ["MetricsPage", "RequestMetrics", "StatementMetrics"]
