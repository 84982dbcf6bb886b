"""A service that nobody shuts down is closed with its event loop, or with the process.

A script that ends without ``shutdown()`` must end at once and leave a closed file behind. Threads of an
executor are joined at the interpreter's exit, and the engine's checkpoint needs its last transactions.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable

__all__ = ["ClosedAtEnd"]

_LATE_SECONDS = 60.0
"""How long a loop in another thread may take to close a service when the process ends."""


class ClosedAtEnd:
    """Has one service closed when its event loop ends, or else when the process does.

    ``close`` runs on the loop; ``close_engine`` needs none. Both do nothing when nothing is open.
    """

    def __init__(
        self, close: Callable[[], Awaitable[None]], close_engine: Callable[[], None]
    ) -> None:
        self._close = close
        self._close_engine = close_engine
        self._loop: asyncio.AbstractEventLoop | None = None
        self._end: AsyncGenerator[None, None] | None = None
        self._process = os.getpid()

    async def watch(self) -> None:
        """Watch the running event loop from now on; call it when the service has been opened."""
        _watched.add(self)
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop, self._end = loop, self._until_the_loop_ends()
            await anext(self._end)

    def forget(self) -> None:
        """Take in that the service is closed."""
        _watched.discard(self)

    async def _until_the_loop_ends(self) -> AsyncGenerator[None, None]:
        """Wait for ``shutdown_asyncgens``, which asyncio.run, uvicorn and pytest call before they close.

        The loop still runs then, after its tasks were cancelled.
        """
        loop = self._loop
        try:
            yield
        finally:
            if self._loop is loop:  # else it was opened again on another one
                await self._close()

    def close_now(self) -> None:
        """Close the service from outside of its loop, whatever became of the loop."""
        loop = self._loop
        if loop is None or self._process != os.getpid():
            return
        if loop.is_closed():
            self._close_engine()
        elif loop.is_running():
            asyncio.run_coroutine_threadsafe(self._closed(), loop).result(_LATE_SECONDS)
        else:
            loop.run_until_complete(self._closed())

    async def _closed(self) -> None:
        await self._close()


_watched: set[ClosedAtEnd] = set()
"""Of services that are open: they are not collected before they are closed."""


def _close_all() -> None:
    for each in list(_watched):
        with contextlib.suppress(TimeoutError, RuntimeError):  # it ends anyhow; so do the others
            each.close_now()


# ``atexit`` is too late: executors take no work any more, and closing a service needs them. This hook is
# the one by which ``concurrent.futures`` itself ends; the last one that was registered runs first.
threading._register_atexit(_close_all)  # type: ignore[attr-defined]
