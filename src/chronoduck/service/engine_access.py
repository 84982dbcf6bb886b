"""What a statement needs of the engine, in one piece."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol

from chronoduck.engine.database import Connection, DuckDBInstance
from chronoduck.engine.healing import Healer
from chronoduck.engine.pool import ConnectionPool, PooledConnection
from chronoduck.engine.scopes.registry import Scopes
from chronoduck.engine.workers import Workers
from chronoduck.resilience.admission import Admission
from chronoduck.resilience.write_gate import WriteGate
from chronoduck.service.acknowledging import AckBarrier
from chronoduck.service.alone import AloneGate
from chronoduck.service.penalties import Penalties
from chronoduck.service.stuck import StuckStatements
from chronoduck.supervision.running_record import RunningRecord

__all__ = ["Checkpoints", "Connections", "EngineAccess", "Lender", "Places"]


class Checkpoints(Protocol):
    """What a user's CHECKPOINT must be run under."""

    def counted(
        self, timeout: float, is_busy: Callable[[], bool], /
    ) -> AbstractAsyncContextManager[None]: ...


class Connections(Protocol):
    """Where a session gets its connection; see ``ConnectionPool``."""

    async def get_connection(
        self, timeout: float | None = None
    ) -> PooledConnection[Connection]: ...

    def return_connection(
        self,
        lease: PooledConnection[Connection],
        *,
        tainted: bool = True,
        on_free: Callable[[], None] | None = None,
    ) -> None: ...


class Places(Protocol):
    """Where a session gets its turn in a worker; see ``Admission``."""

    async def acquire(
        self,
        timeout: float | None = None,
        party_id: str = "",
        *,
        is_capped: bool = False,
        has_seat: bool = False,
    ) -> float: ...

    def release(self, party_id: str = "") -> None: ...
    def leave(self, party_id: str = "") -> None: ...


class Lender(Connections, Places, Protocol):
    """Keeps a connection and its seat from one session to the next."""


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
    lender: Lender | None = None
    """Of a borrowed connection, which its sessions use instead of the pool."""

    @property
    def leases(self) -> Connections:
        """Where sessions get their connection."""
        return self.lender or self.pool

    @property
    def places(self) -> Places:
        """Where sessions get their turn."""
        return self.lender or self.admission
