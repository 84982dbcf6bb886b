"""A session's leave to write: asked for once, given back at its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from chronoduck.errors import DuckDBException, StatementTimeoutError
from chronoduck.resilience.write_gate import WriteGate

__all__ = ["WritePass"]

_ALTER_PATIENCE_SECONDS = 10.0
"""How long an ALTER waits for the writers before it. Those after it wait for a part of that only."""


class WritePass:
    """Passes the gate of writers before the first step, alone if it is for an ALTER."""

    def __init__(
        self,
        gate: WriteGate,
        *,
        is_writer: bool,
        is_alter: bool,
        alone_seconds: float | None = None,
        on_too_long: Callable[[DuckDBException], None] = lambda error: None,
    ) -> None:
        """``on_too_long`` gets an error when it keeps others out for ``alone_seconds``; None: never."""
        self._gate = gate
        self._alone_seconds = alone_seconds
        self._on_too_long = on_too_long
        self._timer: asyncio.TimerHandle | None = None
        self.is_writer = is_writer
        self._is_alter = is_alter
        self._is_inside = False
        self._is_alone = False
        self._is_over = False

    async def enter(self, timeout: float) -> None:
        """Pass the gate unless that was done; readers need not.

        Raises:
            WritersBusyError: the others do not end in time.
        """
        if not self.is_writer or self._is_inside or self._is_over:
            return
        if self._is_alter:
            await self._gate.enter_alone(min(_ALTER_PATIENCE_SECONDS, timeout))
            self._note_alone()
        else:
            await self._gate.enter(timeout)
        self._is_inside = True

    async def stay_alone(self, timeout: float) -> None:
        """Wait until nobody else writes, and let nobody begin.

        Raises:
            WritersBusyError: the others do not end in time.
        """
        if self._is_inside and not self._is_alone:
            await self._gate.stay_alone(min(_ALTER_PATIENCE_SECONDS, timeout))
            self._note_alone()

    def _note_alone(self) -> None:
        self._is_alone = True
        if self._alone_seconds is not None:
            self._timer = asyncio.get_running_loop().call_later(
                self._alone_seconds, self._on_too_long, _too_long(self._alone_seconds)
            )

    def note_commit(self) -> None:
        """Say that others wait from now on for a commit of DDL, and bound that."""
        if self._alone_seconds is not None and self._timer is None and not self._is_over:
            self._timer = asyncio.get_running_loop().call_later(
                self._alone_seconds, self._on_too_long, _long_commit(self._alone_seconds)
            )

    def leave(self) -> None:
        """Give it back for good: all was written. Idempotent."""
        self._is_over = True
        if self._timer is not None:
            self._timer.cancel()
        if not self._is_inside:
            return
        self._is_inside = False
        if self._is_alone:
            self._is_alone = False
            self._gate.leave_alone()
        else:
            self._gate.leave()


def _long_commit(seconds: float) -> StatementTimeoutError:
    return StatementTimeoutError(
        f"other writers wait for a commit of DDL at most {seconds:g} s, and it took longer",
        hint="Make tables and indexes in one transaction, and write their rows in another one.",
    )


def _too_long(seconds: float) -> StatementTimeoutError:
    return StatementTimeoutError(
        f"other writers wait for an ALTER at most {seconds:g} s, and it took longer",
        hint="Make a new table by CREATE TABLE AS and rename it. An admin's ALTER may take longer; an "
        "operator can raise DUCKDB_DEADLINE_ALTER.",
    )
