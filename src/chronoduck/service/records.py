"""What is told about a statement: while it runs, and once when it has ended."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from random import getrandbits
from typing import Literal, Protocol

from chronoduck.principals import LOCAL, Principal

__all__ = [
    "Caller",
    "Outcome",
    "RunningStatement",
    "StatementObserver",
    "StatementRecord",
    "new_statement_id",
]

Outcome = Literal["ok", "user_error", "aborted", "cancelled", "timeout", "refused", "failed"]
"""How a statement ended; ``aborted``: the caller's own code raised inside a transaction."""


def new_statement_id() -> str:
    """Return an id by which operators see and cancel a statement."""
    return f"{getrandbits(64):016x}"


@dataclass(frozen=True)
class Caller:
    """Who asks: a name for logs and listings, the request's id, what the principal may do."""

    name: str = "python"
    request_id: str | None = None
    principal: Principal = LOCAL
    address: str | None = None
    """Where the request came from."""
    template: str | None = None
    """The name of the template that its statement is of."""
    sub_user: str | None = None
    """Whom a key that serves many people asks for; the penalty box holds for them, not for the key."""


@dataclass
class RunningStatement:
    """A statement between its admission and its end, as ``GET queries`` lists it.

    It starts with its judgement: the time that an analyzer takes counts against its deadline.
    """

    id: str
    sql: str
    kind: str
    query_hash: str
    caller: Caller
    timeout_seconds: float
    started_at: float = field(default_factory=time.time)
    """Unix time."""
    started: float = field(default_factory=time.perf_counter)
    state: Literal["waiting", "running", "streaming"] = "waiting"
    queue_seconds: float = 0.0
    engine_seconds: float = 0.0
    encode_seconds: float = 0.0
    rows: int = 0
    bytes: int = 0
    memory_mb: float = 0.0
    is_in_engine: bool = False
    """A worker is at it, or is just about to be: also after its caller was sent away."""
    shown: str | None = None
    """Its text as lists show it, once somebody has asked."""
    clock: int | None = None
    """Of the processor time of the thread that runs it now, or ran it last."""

    def processor_seconds(self) -> float:
        """Return the processor time of that thread, whatever it worked on before."""
        return 0.0 if self.clock is None else time.clock_gettime(self.clock)

    def predate(self, seconds: float) -> None:
        """Have it come so much earlier."""
        self.started_at -= seconds
        self.started -= seconds

    @property
    def age_seconds(self) -> float:
        """Seconds since it came, its judgement included."""
        return time.perf_counter() - self.started


@dataclass(frozen=True, slots=True)
class StatementRecord:
    """A statement that has ended. Times in seconds, memory in MB."""

    id: str
    sql: str
    kind: str
    query_hash: str
    caller: Caller
    outcome: Outcome
    error_code: str | None
    ended_at: float
    """Unix time."""
    execution_time: float
    """From its arrival to its last row, waiting included."""
    queue_time: float
    rows: int
    memory_mb: float
    engine_seconds: float = 0.0
    """Time that it held a worker; a cancelled one may still hold it and is charged for that later."""
    encode_seconds: float = 0.0
    """The part of it that went into the bytes of the result."""
    bytes: int = 0
    """Of the encoded result; 0 when its rows were handed over as Python values or Arrow batches."""
    rule: str | None = None
    """Why it was refused."""
    harm: Literal["internal_error", "engine_lost"] | None = None
    """What it did to the engine: an internal error of DuckDB, or one that ended the instance."""
    is_read_only: bool = False
    """It changed no data. The kind does not say it: a SELECT may have a CTE that writes."""
    error_type: str | None = None
    """DuckDB's own type of the error, in snake case; None: no error of the engine ended it."""

    @property
    def template(self) -> str | None:
        """The name of the template that it was of."""
        return self.caller.template


class StatementObserver(Protocol):
    """Is told of every ended statement, on the event loop: must be quick and must not raise."""

    def __call__(self, record: StatementRecord, /) -> None: ...
