"""A gate that writers pass, and that can be closed for a while: readers never notice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
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
        self._inside = 0
        self._closers = 0

    async def enter(self, timeout: float) -> None:
        """Pass the gate; ``leave`` must be called afterwards.

        Raises:
            StatementTimeoutError: it stayed closed.
        """
        if not self._open.is_set():
            try:
                async with asyncio.timeout(timeout):
                    await self._open.wait()
            except TimeoutError:
                raise StatementTimeoutError(
                    "the database's files are being worked on; the statement waited in vain",
                    hint="Nothing of it was run. Send it again in a while, or with a longer timeout.",
                ) from None
        self._inside += 1
        self._idle.clear()

    def leave(self) -> None:
        """Say that the writer has ended."""
        self._inside -= 1
        if not self._inside:
            self._idle.set()

    @asynccontextmanager
    async def closed(self, timeout: float) -> AsyncIterator[None]:
        """Let nobody in and enter the block once all writers have left.

        Raises:
            WritersBusyError: they had not after ``timeout`` seconds.
        """
        self._closers += 1
        self._open.clear()
        try:
            try:
                async with asyncio.timeout(timeout):
                    await self._idle.wait()
            except TimeoutError:
                raise WritersBusyError(
                    f"{self._inside} writing statements had not ended after {timeout:g} s",
                    hint="GET queries shows them; try again when they are done.",
                ) from None
            yield
        finally:
            self._closers -= 1
            if not self._closers:
                self._open.set()
