"""What a statement needs of the engine, in one piece."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol

from chronoduck.engine.database import Connection, DuckDBInstance
from chronoduck.engine.healing import Healer
from chronoduck.engine.pool import ConnectionPool
from chronoduck.engine.scopes.registry import Scopes
from chronoduck.engine.workers import Workers
from chronoduck.resilience.admission import Admission
from chronoduck.resilience.write_gate import WriteGate
from chronoduck.service.acknowledging import AckBarrier
from chronoduck.service.alone import AloneGate
from chronoduck.service.penalties import Penalties
from chronoduck.service.stuck import StuckStatements
from chronoduck.supervision.running_record import RunningRecord

__all__ = ["Checkpoints", "EngineAccess"]


class Checkpoints(Protocol):
    """What a user's CHECKPOINT must be run under."""

    def counted(
        self, timeout: float, is_busy: Callable[[], bool], /
    ) -> AbstractAsyncContextManager[None]: ...


@dataclass
class EngineAccess:
    """What every session needs of the engine."""

    instance: DuckDBInstance
    pool: ConnectionPool[Connection]
    healer: Healer
    admission: Admission
    workers: Workers
    gate: WriteGate
    checkpoints: Checkpoints
    scopes: Scopes
    stuck: StuckStatements
    barrier: AckBarrier
    penalties: Penalties = field(default_factory=Penalties)
    alone: AloneGate = field(default_factory=AloneGate)
    record: RunningRecord = field(default_factory=RunningRecord)
    """What works now, for the supervisor to read after a crash."""
