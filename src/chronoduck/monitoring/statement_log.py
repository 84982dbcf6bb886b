"""One log line per statement; slow ones are warnings."""

from __future__ import annotations

import logging
from typing import Any, Protocol

from chronoduck.logs import line_writer

__all__ = ["LoggedStatement", "StatementLog"]


class _Caller(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def request_id(self) -> str | None: ...


class LoggedStatement(Protocol):
    """What is needed of a statement that has ended; times in seconds, memory in MB."""

    @property
    def id(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def query_hash(self) -> str: ...
    @property
    def caller(self) -> _Caller: ...
    @property
    def outcome(self) -> str: ...
    @property
    def error_code(self) -> str | None: ...
    @property
    def execution_time(self) -> float: ...
    @property
    def queue_time(self) -> float: ...
    @property
    def rows(self) -> int: ...
    @property
    def memory_mb(self) -> float: ...


class StatementLog:
    """Writes statements without their text: a text may hold secrets, its hash does not."""

    def __init__(self, slow_seconds: float) -> None:
        self._slow_seconds = slow_seconds
        self._write = line_writer("statements")

    def record(self, statement: LoggedStatement) -> None:
        """Write the line. ``execution_time`` comes last: the guide's grep looks behind it."""
        fields: dict[str, Any] = {
            "statement_id": statement.id,
            "request_id": statement.caller.request_id,
            "user": statement.caller.name,
            "kind": statement.kind,
            "query_hash": statement.query_hash,
            "outcome": statement.outcome,
            "rows": statement.rows,
            "memory_mb": statement.memory_mb,
            "queue_time": round(statement.queue_time, 6),
        }
        if statement.error_code is not None:
            fields["code"] = statement.error_code
        fields["execution_time"] = round(statement.execution_time, 6)
        if statement.execution_time >= self._slow_seconds:
            self._write(logging.WARNING, "slow_statement", fields)
        else:
            self._write(logging.INFO, "statement", fields)
