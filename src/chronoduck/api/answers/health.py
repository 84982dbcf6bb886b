"""What the health routes answer."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field

__all__ = [
    "Alive",
    "BreakerStatus",
    "Health",
    "PoolStatus",
    "QueryCounters",
    "QueueStatus",
    "Readiness",
    "Restarts",
    "SystemLoad",
]


class QueryTest(BaseModel):
    """The engine's answer to a query of the service's own."""

    success: bool
    execution_time: float | None
    memory_usage: Annotated[float | None, Field(description="MB.")]


class PoolStatus(BaseModel):
    """The connection pool."""

    total_connections: int
    available_connections: int
    max_connections: int
    in_use: int
    requests_waiting: int
    connections_opened: int | None = None
    connections_closed: int | None = None
    requests_total: int | None = None
    requests_queued: int | None = None
    requests_timed_out: int | None = None
    requests_wait_seconds: float | None = None
    returns_tainted: int | None = None


class QueueStatus(BaseModel):
    """Statements that wait and run."""

    running: int
    waiting: int
    worker_threads: int
    queue_size: int
    stuck: int
    total_stuck: int
    total_refused: int


class BreakerConfig(BaseModel):
    """When the breaker opens and closes."""

    failure_threshold: int
    success_threshold: int
    timeout_seconds: float


class BreakerMetrics(BaseModel):
    """What the breaker counted since the start."""

    total_requests: int
    successful_requests: int
    failed_requests: int
    success_rate: Annotated[float, Field(description="Percent.")]
    circuit_open_count: int
    avg_response_time: float
    last_failure_time: str | None
    last_success_time: str | None


class BreakerStatus(BaseModel):
    """The circuit breaker."""

    name: str
    state: str
    failure_count: int
    success_count: int
    recent_failures: int
    next_attempt_time: str | None
    seconds_until_retry: float
    config: BreakerConfig
    metrics: BreakerMetrics


class Heal(BaseModel):
    """One time that the database was reopened."""

    at: str
    reason: str
    seconds: float
    attempts: int


class HealingStatus(BaseModel):
    """How often the database was reopened after a failure."""

    is_healing: bool
    failure: str
    count: int
    last_heal: Heal | None


class Restarts(BaseModel):
    """How often the server's process was replaced."""

    supervised: bool
    count: int
    last_at: str | None
    last_reason: str | None


class QueryCounters(BaseModel):
    """Counters of statements since the start. `success_rate` also counts the mistakes of users."""

    total_connections: int
    active_connections: int
    total_queries: int
    successful_queries: int
    failed_queries: int
    success_rate: Annotated[float, Field(description="Percent.")]
    avg_query_time: float
    last_query_time: str | None
    memory_usage_mb: float


class SystemLoad(BaseModel):
    """Memory and processors of this process and its machine."""

    process_memory_mb: float
    process_memory_percent: float
    cpu_percent: float
    system_memory_percent: float
    system_cpu_percent: float
    disk_usage_percent: float


class ComponentHealth(BaseModel):
    """One part of the service, and what to do if it is not healthy."""

    component: str
    status: str
    reason: str
    hint: str


class Wall(BaseModel):
    """One wall of the sandbox, and why it does not stand."""

    stands: bool
    reason: str


class Sandbox(BaseModel):
    """The walls around statements, and those that the operator demands."""

    demanded: list[str]
    walls: dict[str, Wall]


class Health(BaseModel):
    """How the service is; `database_path` and `sandbox` are for admins."""

    status: Literal["healthy", "degraded", "unhealthy", "not_initialized"]
    timestamp: str
    service_initialized: bool
    database_exists: bool
    database_path: str | None = None
    database_size_mb: float
    query_test: QueryTest
    connection_pool: PoolStatus
    queue: QueueStatus
    circuit_breaker: BreakerStatus
    healing: HealingStatus
    restarts: Restarts
    extensions: dict[str, str]
    sandbox: Sandbox | None = None
    metrics: QueryCounters
    system: SystemLoad
    components: dict[str, ComponentHealth]
    errors: list[str]


class Alive(BaseModel):
    """The process answers."""

    status: Literal["alive"]


class Readiness(BaseModel):
    """Whether statements are taken, and the health behind it."""

    status: Literal["ready", "not_ready"]
    health: str
