"""A gate that writers pass, and that can be closed for a while: readers never notice."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
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


_WINDOW_SECONDS = 0.5
"""How long the gate is shut for one who waits to be alone, before others are let in again."""
_BETWEEN_SECONDS = 2.0
"""How long it then stays open at least, whoever waits to be alone."""


class WriteGate:
    """Counts writers. Use from one event loop.

    Whoever waited is inside before the gate can be shut again: those who shut it one after the other
    keep nobody out for longer than one of them does.
    """

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._idle = asyncio.Event()
        self._idle.set()
        self._single = asyncio.Event()
        """Nobody is inside, or one."""
        self._single.set()
        self._inside = 0
        self._closers = 0
        self._next_window = 0.0
        """Loop time from which on it may be shut again for one who waits to be alone."""
        self._alone = asyncio.Lock()
        """Held by the one who is alone inside, or waits for that."""

    async def enter(self, timeout: float) -> None:
        """Pass the gate; ``leave`` must be called afterwards.

        Raises:
            StatementTimeoutError: it stayed closed.
        """
        if not self._closers:
            self._let_in()
            return
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        try:
            async with asyncio.timeout(timeout):
                await waiter
        except BaseException as error:
            if waiter.done() and not waiter.cancelled():
                self.leave()  # it was let in, and goes
            else:
                with contextlib.suppress(ValueError):  # passed over by who opened the gate
                    self._waiting.remove(waiter)
            if isinstance(error, TimeoutError):
                raise StatementTimeoutError(
                    "the database's files are being worked on; the statement waited in vain",
                    hint="Nothing of it was run. Send it again in a while, or with a longer timeout.",
                ) from None
            raise

    def _let_in(self) -> None:
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
        """Return once nobody else is inside, with the gate shut.

        It is shut for a short time only while it waits: a writer that takes long is not waited for by
        others. Between two such times it stays open, and is shut at once when the others have left.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout
        while True:
            await self._wait_for_single(min(end, self._next_window))
            self._shut()
            try:
                async with asyncio.timeout_at(min(end, loop.time() + _WINDOW_SECONDS)):
                    await self._single.wait()
                return
            except TimeoutError:
                self._reopen()
                self._next_window = loop.time() + _BETWEEN_SECONDS
                if loop.time() >= end:
                    raise self._busy(timeout) from None
            except BaseException:
                self._reopen()
                raise

    async def _wait_for_single(self, until: float) -> None:
        """Wait with the gate open: until that time, or until nobody else is inside."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                while self._inside > 1:
                    await self._single.wait()

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

    def _reopen(self) -> None:
        self._closers -= 1
        if not self._closers:
            for waiter in self._waiting:
                if not waiter.done():
                    self._let_in()
                    waiter.set_result(None)
            self._waiting.clear()

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
