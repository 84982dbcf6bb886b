"""What the statistics answer."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

from chronoduck.api.answers.health import (
    BreakerStatus,
    PoolStatus,
    QueryCounters,
    QueueStatus,
    Restarts,
    SystemLoad,
)
from chronoduck.api.answers.replication import Replication

__all__ = ["PenaltyStatus", "PerformanceMetrics", "Statistics"]


class ServiceFacts(BaseModel):
    """The process and its limits."""

    initialized: bool
    uptime_seconds: float
    memory_limit: str
    memory_limit_bytes: int
    worker_threads: int
    restarts: Restarts


class Performance(BaseModel):
    """Means since the start, and the last ten durations in seconds.

    `service_success_rate` leaves out the mistakes of users, which `user_errors` counts.
    """

    avg_query_time: float
    avg_memory_per_query: float
    recent_query_times: list[float]
    success_rate: Annotated[float, Field(description="Percent.")]
    service_success_rate: Annotated[float, Field(description="Percent.")]
    user_errors: int


class AnalyzerStatus(BaseModel):
    """The processes that judge statements."""

    running: int
    waiting: int
    total_questions: int
    total_deaths: int


class DatabaseFile(BaseModel):
    """The database file and its WAL."""

    size_mb: float
    created: str | None
    modified: str | None


class DiskStatus(BaseModel):
    """The volume of the database; empty while it is closed."""

    free_bytes: int | None = None
    free_inside_bytes: int | None = None
    floor_bytes: int | None = None
    is_refusing_writes: bool | None = None
    writers_stopped: int | None = None


class SpaceUsed(BaseModel):
    """What one kind of files takes of its budget."""

    used_bytes: int
    limit_bytes: int
    refused: int


class AuditHead(BaseModel):
    """The newest line of the audit trail."""

    seq: int
    hash: str


class AuditStatus(BaseModel):
    """Whether events reach the audit trail."""

    enabled: bool
    written: int
    dropped: int
    waiting_bytes: int
    principals_waiting: int
    budget_refused: int
    is_failing: bool
    error: str
    head: AuditHead


class PenaltyStatus(BaseModel):
    """How many wait in the penalty box, and counters since the start."""

    principals_waiting: int
    statements_waiting: int
    running_alone: int
    faults: dict[str, int]
    total_boxed: int
    total_refused: int


class Window(BaseModel):
    """Statements that ended within a time. Times in seconds; rates without the mistakes of users."""

    total_queries: int
    successful_queries: int
    user_errors: int
    failed_queries: int
    success_rate: Annotated[float, Field(description="Percent.")]
    queries_over_1s: int
    queries_over_5s: int
    avg_time: float
    p50: float
    p90: float
    p99: float
    max_time: float
    rows: int
    result_bytes: int


class Windows(BaseModel):
    """The last hour, day and week."""

    hour: Annotated[Window, Field(alias="1h")]
    day: Annotated[Window, Field(alias="24h")]
    week: Annotated[Window, Field(alias="7d")]
    since: str | None


class QueryAnalysis(BaseModel):
    """Durations since the start, in seconds."""

    total_queries: int
    min_time: float
    max_time: float
    median_time: float
    queries_over_1s: int
    queries_over_5s: int
    windows: Windows


class LatencySummary(BaseModel):
    """Durations in seconds."""

    count: int
    mean: float
    p50: float
    p90: float
    p99: float
    max: float


class Latencies(BaseModel):
    """Durations by kind of statement; by template for admins alone."""

    by_kind: dict[str, LatencySummary]
    by_template: dict[str, LatencySummary] | None = None


class RankingStatus(BaseModel):
    """How many shapes of statements are remembered."""

    remembered: int
    forgotten_seconds: float


class QueryLogStatus(BaseModel):
    """Whether the query log is written."""

    enabled: bool
    is_persistent: bool
    written: int
    dropped: int
    waiting: int
    is_failing: bool


class Statistics(BaseModel):
    """Counters and durations since the start."""

    timestamp: str
    service: ServiceFacts
    metrics: QueryCounters
    performance: Performance
    system: SystemLoad
    connection_pool: PoolStatus
    queue: QueueStatus
    analyzers: AnalyzerStatus
    circuit_breaker: BreakerStatus
    replication: Replication
    database_file: DatabaseFile
    disk: DiskStatus
    space: dict[str, SpaceUsed]
    audit: AuditStatus
    penalties: PenaltyStatus
    query_analysis: QueryAnalysis
    latency: Latencies
    statements: RankingStatus
    query_log: QueryLogStatus


class QueryPerformance(BaseModel):
    """Statements since the start; durations in seconds."""

    total_queries: int
    success_rate: Annotated[float, Field(description="Percent.")]
    avg_query_time: float
    recent_query_times: list[float]


class MemoryUsage(BaseModel):
    """Memory in MB."""

    service_memory_mb: float
    avg_query_memory_mb: float


class BreakerSummary(BaseModel):
    """The circuit breaker in short."""

    state: str
    success_rate: Annotated[float, Field(description="Percent.")]
    failure_count: int


class PerformanceMetrics(BaseModel):
    """What dashboards read."""

    query_performance: QueryPerformance
    system_performance: SystemLoad
    memory_usage: MemoryUsage
    circuit_breaker: BreakerSummary
