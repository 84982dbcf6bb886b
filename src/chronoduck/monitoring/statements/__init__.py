"""Statistics of ended statements: how long, by what; the most expensive; the last hour, day, week.

All of it is bounded in memory, and the part that every statement pays costs 2 µs. Must not know where
the log is kept: ``assembly`` joins it with the engine's.
"""

from chronoduck.monitoring.statements.feed import StatementFeed
from chronoduck.monitoring.statements.finding import query_log_finding
from chronoduck.monitoring.statements.latency import Latencies, LatencySketch
from chronoduck.monitoring.statements.ranking import ORDERS, RankedStatement, StatementRanking
from chronoduck.monitoring.statements.windows import StatementWindows

__all__ = [
    "ORDERS",
    "Latencies",
    "LatencySketch",
    "RankedStatement",
    "StatementFeed",
    "StatementRanking",
    "StatementWindows",
    "query_log_finding",
]
