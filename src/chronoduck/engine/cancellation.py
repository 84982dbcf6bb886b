"""Ending a statement early: at its deadline, when its caller left, or on an operator's word."""

from __future__ import annotations

import threading
from enum import StrEnum

from chronoduck.engine.database import Connection
from chronoduck.errors import DuckDBException, StatementCancelledError, StatementTimeoutError
from chronoduck.sql.engine_errors import EngineFailure

__all__ = ["CancelReason", "CancelToken"]


class CancelReason(StrEnum):
    """Why a statement was ended early."""

    DEADLINE = "deadline"
    CALLER_LEFT = "caller_left"
    OPERATOR = "operator"
    SHUTDOWN = "shutdown"
    ENGINE_LOST = "engine_lost"
    QUOTA = "quota"
    CHECKPOINT = "checkpoint"
    NO_SPACE = "no_space"


class CancelToken:
    """One statement's word to stop; shared by the event loop and the worker that runs it.

    The interrupt is sent under the lock that binds a connection to the statement: it can never hit
    the next statement on that connection. An interrupt sent before DuckDB begins is lost, so the
    caller repeats ``cancel`` until the worker has come back.
    """

    def __init__(self, timeout_seconds: float) -> None:
        self.timeout_seconds = timeout_seconds
        self.reason: CancelReason | None = None
        self._error: DuckDBException | None = None
        self._lock = threading.Lock()
        self._connection: Connection | None = None

    def cancel(self, reason: CancelReason, error: DuckDBException | None = None) -> None:
        """Interrupt the statement now, or make it stop before it begins; the first reason stays.

        ``error`` is what its caller gets; without one the reason tells.
        """
        with self._lock:
            if self.reason is None:
                self.reason = reason
                self._error = error
            if self._connection is not None:
                self._connection.interrupt()

    def interrupt_engine(self) -> None:
        """Interrupt the engine without ending the statement: one that only waits goes on waiting."""
        with self._lock:
            if self._connection is not None:
                self._connection.interrupt()

    def bind(self, connection: Connection) -> None:
        """Let ``cancel`` interrupt this connection until ``unbind``.

        Raises:
            StatementTimeoutError, StatementCancelledError: it was cancelled already.
        """
        with self._lock:
            if self.reason is not None:
                raise self.error()
            self._connection = connection

    def unbind(self) -> None:
        """Keep later interrupts away from the connection."""
        with self._lock:
            self._connection = None

    def check(self) -> None:
        """Raise the statement's end, if it was cancelled."""
        if self.reason is not None:
            raise self.error()

    @property
    def has_own_error(self) -> bool:
        """Whether the error does not follow from the reason alone."""
        return self._error is not None

    def error(self) -> DuckDBException:
        """Return the error that the caller gets."""
        if self._error is not None:
            return self._error
        if self.reason is CancelReason.ENGINE_LOST:
            return EngineFailure(
                "the database was reopened after a failure before the end of the result",
                operator_detail="the session was idle while the instance was reopened",
                is_fatal=False,
                had_no_effect=True,
            )
        if self.reason is CancelReason.DEADLINE:
            return StatementTimeoutError(
                f"the statement was interrupted at its deadline of {self.timeout_seconds:g} s"
            )
        sentence = {
            CancelReason.CALLER_LEFT: "the caller went away and the statement was interrupted",
            CancelReason.OPERATOR: "an operator interrupted the statement",
            CancelReason.SHUTDOWN: "the service is shutting down and interrupted the statement",
        }
        return StatementCancelledError(
            sentence.get(self.reason or CancelReason.OPERATOR, "the statement was interrupted"),
            hint="" if self.reason is CancelReason.CALLER_LEFT else "Run it again later.",
        )
