"""The event loop that the service lives on, and the ways into it from other loops and threads."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

from chronoduck.errors import DuckDBException

__all__ = ["LoopDoor", "own_loop"]

T = TypeVar("T")


class LoopDoor:
    """Runs work on one event loop for callers on any loop and in any thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop

    @property
    def is_here(self) -> bool:
        """Whether the caller runs on the loop itself."""
        try:
            return asyncio.get_running_loop() is self.loop
        except RuntimeError:
            return False

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Begin the work, in the order of the calls; return its future, which may be cancelled."""
        return asyncio.run_coroutine_threadsafe(work, self.loop)

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Return the work's result. A caller that is cancelled cancels the work."""
        return await (work if self.is_here else asyncio.wrap_future(self.submit(work)))

    def result(self, future: Future[T]) -> T:
        """Wait for work that was submitted; blocks the calling thread, which may run another loop.

        Raises:
            DuckDBException: it is called on the loop itself, which would wait for itself.
        """
        if self.is_here and not future.done():
            future.cancel()
            raise DuckDBException(
                "this call would block the event loop that the service lives on",
                hint="Await it where that is possible, or call it by asyncio.to_thread.",
            )
        try:
            return future.result()
        except BaseException:
            future.cancel()  # a keyboard interrupt
            raise

    def call(self, function: Callable[[], T]) -> T:
        """Return what a function returns that must be called on the loop and does not wait."""

        async def run() -> T:
            return function()

        return function() if self.is_here else self.result(self.submit(run()))

    def call_soon(self, function: Callable[[], object]) -> None:
        """Have a function called on the loop; never blocks and never raises."""
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(function)

    async def each(self, source: AsyncIterator[T]) -> AsyncGenerator[T, None]:
        """Yield what an iterator yields that lives on the loop."""

        async def following() -> tuple[bool, T | None]:
            try:
                return True, await anext(source)
            except StopAsyncIteration:
                return False, None

        while True:
            is_there, value = await self.run(following())
            if not is_there:
                return
            yield value  # type: ignore[misc]  # it is there


_lock = threading.Lock()
_own: LoopDoor | None = None


def own_loop() -> LoopDoor:
    """Return the loop in a thread of its own, which never keeps the process from exiting."""
    global _own
    with _lock:
        if _own is None:
            loop = asyncio.new_event_loop()
            threading.Thread(target=loop.run_forever, name="duckdb-service", daemon=True).start()
            _own = LoopDoor(loop)
        return _own
