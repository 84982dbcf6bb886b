"""A gate that writers pass, and that can be closed for a while: readers never notice."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from chronoduck.errors import DuckDBException, StatementTimeoutError

__all__ = ["WriteGate", "WritersBusyError"]


class WritersBusyError(DuckDBException):
    """The writers that were inside did not leave in time."""

    code = "writers_busy"
    title = "Writers did not end in time"
    http_status = 409
    exit_code = 75
    retryable = True


class WriteGate:
    """Counts writers. Use from one event loop."""

    def __init__(self) -> None:
        self._open = asyncio.Event()
        self._open.set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._single = asyncio.Event()
        """Nobody is inside, or one."""
        self._single.set()
        self._inside = 0
        self._closers = 0
        self._alone = asyncio.Lock()
        """Held by the one who is alone inside, or waits for that."""

    async def enter(self, timeout: float) -> None:
        """Pass the gate; ``leave`` must be called afterwards.

        Raises:
            StatementTimeoutError: it stayed closed.
        """
        if not self._open.is_set():
            try:
                async with asyncio.timeout(timeout):
                    # It may be closed again before those who waited for it come to run.
                    while not self._open.is_set():
                        await self._open.wait()
            except TimeoutError:
                raise StatementTimeoutError(
                    "the database's files are being worked on; the statement waited in vain",
                    hint="Nothing of it was run. Send it again in a while, or with a longer timeout.",
                ) from None
        self._inside += 1
        self._idle.clear()
        if self._inside > 1:
            self._single.clear()

    def leave(self) -> None:
        """Say that the writer has ended."""
        self._inside -= 1
        if self._inside <= 1:
            self._single.set()
        if not self._inside:
            self._idle.set()

    async def enter_alone(self, timeout: float) -> None:
        """Pass the gate and be the only one inside; ``leave_alone`` must be called afterwards.

        Raises:
            StatementTimeoutError: it stayed closed.
            WritersBusyError: the others had not left in time.
        """
        end = time.monotonic() + timeout
        try:
            async with asyncio.timeout(timeout):
                await self._alone.acquire()
        except TimeoutError:
            raise self._busy(timeout) from None
        try:
            await self.enter(max(0.0, end - time.monotonic()))
            try:
                await self._wait_until_alone(max(0.0, end - time.monotonic()))
            except BaseException:
                self.leave()
                raise
        except BaseException:
            self._alone.release()
            raise

    async def stay_alone(self, timeout: float) -> None:
        """Having passed the gate, wait until all others have left; then ``leave_alone``.

        Raises:
            WritersBusyError: they had not in time, or one of them waits for this one to leave.
        """
        if self._alone.locked():
            raise WritersBusyError(
                "an ALTER of somebody else waits for this transaction to end",
                hint="Leave the transaction, and run it again.",
            )
        await self._alone.acquire()
        try:
            await self._wait_until_alone(timeout)
        except BaseException:
            self._alone.release()
            raise

    def leave_alone(self) -> None:
        """Say that the one who was alone has ended."""
        self.leave()
        self._alone.release()
        self._reopen()

    async def _wait_until_alone(self, timeout: float) -> None:
        self._shut()
        try:
            async with asyncio.timeout(timeout):
                await self._single.wait()
        except TimeoutError:
            self._reopen()
            raise self._busy(timeout) from None
        except BaseException:
            self._reopen()
            raise

    def hold(self) -> Callable[[], None]:
        """Let nobody in until the returned function is called; it may be called more than once."""
        self._shut()
        is_held = True

        def let_in() -> None:
            nonlocal is_held
            if is_held:
                is_held = False
                self._reopen()

        return let_in

    def _shut(self) -> None:
        self._closers += 1
        self._open.clear()

    def _reopen(self) -> None:
        self._closers -= 1
        if not self._closers:
            self._open.set()

    def _busy(self, timeout: float) -> WritersBusyError:
        return WritersBusyError(
            f"{self._inside} writing statements had not ended after {timeout:g} s",
            hint="GET queries shows them; try again when they are done.",
        )

    @asynccontextmanager
    async def closed(self, timeout: float) -> AsyncIterator[None]:
        """Let nobody in and enter the block once all writers have left.

        Raises:
            WritersBusyError: they had not after ``timeout`` seconds.
        """
        self._shut()
        try:
            try:
                async with asyncio.timeout(timeout):
                    await self._idle.wait()
            except TimeoutError:
                raise self._busy(timeout) from None
            yield
        finally:
            self._reopen()
