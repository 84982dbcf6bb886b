"""A session's leave to write: asked for once, given back at its end."""

from __future__ import annotations

from chronoduck.resilience.write_gate import WriteGate

__all__ = ["WritePass"]

_ALTER_PATIENCE_SECONDS = 10.0
"""How long an ALTER waits for the writers before it; those after it wait for it."""


class WritePass:
    """Passes the gate of writers before the first step, alone if it is for an ALTER."""

    def __init__(self, gate: WriteGate, *, is_writer: bool, is_alter: bool) -> None:
        self._gate = gate
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
            self._is_alone = True
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
            self._is_alone = True

    def leave(self) -> None:
        """Give it back for good: all was written. Idempotent."""
        self._is_over = True
        if not self._is_inside:
            return
        self._is_inside = False
        if self._is_alone:
            self._is_alone = False
            self._gate.leave_alone()
        else:
            self._gate.leave()
