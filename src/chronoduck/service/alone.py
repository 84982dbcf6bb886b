"""The gate before the engine: open, but while a statement must run alone."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from chronoduck.errors import StatementTimeoutError

__all__ = ["ALONE_SECONDS", "DRAIN_SECONDS", "AloneGate"]

DRAIN_SECONDS = 1.0
"""How long those who are in the engine may take to leave it; the others go on beside it then."""
ALONE_SECONDS = 0.5
"""How long nobody else is let in; a statement that runs longer has proved itself."""
_REST = 3.0
"""The gate stays open between two of them for so many times as long as it was shut."""


class AloneGate:
    """Counts steps in the engine. A statement that must be alone shuts the gate for a moment.

    Nobody waits at it for longer than ``DRAIN_SECONDS + ALONE_SECONDS`` at a time, and it is open for
    three quarters of the time however many must be alone. For one event loop.
    """

    def __init__(self) -> None:
        self.is_shut = False
        self.inside = 0
        self.total_alone = 0
        self._open = asyncio.Event()
        self._empty = asyncio.Event()
        self._turn = asyncio.Lock()
        self._turns: dict[str, asyncio.Lock] = {}
        """One of a party at a time waits for the turn: a hundred of one do not delay another's."""
        self._next_at = 0.0
        self._shut_at = 0.0

    async def enter(self, timeout: float) -> None:
        """Go in once the gate is open; ``leave`` must be called afterwards.

        Raises:
            StatementTimeoutError: it stayed shut.
        """
        try:
            async with asyncio.timeout(timeout):
                while self.is_shut:
                    await self._open.wait()
        except TimeoutError:
            raise _too_late() from None
        self.inside += 1

    async def enter_alone(self, party: str, timeout: float) -> bool:
        """Go in with nobody else inside; ``end_turn`` and ``leave`` must be called afterwards.

        Returns whether really nobody is; false when somebody did not leave in time.

        Raises:
            StatementTimeoutError: others of its kind took their turns for too long.
        """
        try:
            async with asyncio.timeout(timeout):
                await self._take_turn(party)
        except TimeoutError:
            raise _too_late() from None
        try:
            self._shut()
            if self.inside:
                self._empty.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(min(DRAIN_SECONDS, timeout)):
                        await self._empty.wait()
        except BaseException:
            self.let_in()
            self._turn.release()
            raise
        is_alone = not self.inside
        self.inside += 1
        self.total_alone += is_alone
        return is_alone

    async def _take_turn(self, party: str) -> None:
        own = self._turns.setdefault(party, asyncio.Lock())
        try:
            async with own:
                await self._turn.acquire()
        finally:
            if not own.locked():
                self._turns.pop(party, None)
        try:
            loop = asyncio.get_running_loop()
            await asyncio.sleep(max(0.0, self._next_at - loop.time()))
        except BaseException:
            self._turn.release()
            raise

    def _shut(self) -> None:
        self.is_shut = True
        self._open.clear()
        self._shut_at = asyncio.get_running_loop().time()

    def let_in(self) -> None:
        """Open the gate; idempotent."""
        if self.is_shut:
            self.is_shut = False
            now = asyncio.get_running_loop().time()
            self._next_at = now + _REST * (now - self._shut_at)
            self._open.set()

    def leave(self) -> None:
        """Say that a step has ended."""
        self.inside -= 1
        if not self.inside:
            self._empty.set()

    def end_turn(self) -> None:
        """Let the next one of those who must be alone have its turn."""
        self.let_in()
        self._turn.release()


def _too_late() -> StatementTimeoutError:
    return StatementTimeoutError(
        "the statement waited in vain for others that must run alone after a crash",
        hint="Nothing of it was run. Send it again in a while, or with a longer timeout.",
    )
