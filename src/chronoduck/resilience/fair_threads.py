"""Threads for long work on users' files, of which one user never holds the last.

Python's own pool of threads has few, and everything short needs one of them: whoever keeps a commit's
acknowledgement, or the catalog that statements are judged by, waiting there keeps everybody waiting.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, TypeVar

from chronoduck.resilience.admission import Admission
from chronoduck.resilience.standing_threads import standing_threads

__all__ = ["FairThreads"]

T = TypeVar("T")
_QUEUE = 1_000


class FairThreads:
    """Calls wait in turn of their parties. For one event loop."""

    def __init__(self, count: int, share: int, name: str) -> None:
        """At most ``share`` of the ``count`` threads work for one capped party at once."""
        self.admission = Admission(count, _QUEUE, place_share=share)
        self._executor = standing_threads(count, name)

    async def run(
        self,
        party: str,
        function: Callable[..., T],
        *arguments: Any,
        is_capped: bool = True,
        timeout: float | None = None,
    ) -> T:
        """Return what the function returns; blocks in a thread, once one is there for the party.

        A call that was cancelled holds its thread until the function has ended.

        Raises:
            QueueFullError: too many wait already.
            StatementTimeoutError: no thread came free within ``timeout`` seconds.
            Exception: what the function raises.
        """
        await self.admission.acquire(timeout, party, is_capped=is_capped)
        loop = asyncio.get_running_loop()

        def free(_: Future[T]) -> None:
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(self._free, party)

        try:
            work = self._executor.submit(function, *arguments)
        except BaseException:
            self._free(party)
            raise
        work.add_done_callback(free)
        return await asyncio.wrap_future(work)

    def _free(self, party: str) -> None:
        self.admission.release(party)
        self.admission.leave(party)

    def close(self) -> None:
        """Take nothing more; what works goes on to its end."""
        self._executor.shutdown(wait=False, cancel_futures=True)
