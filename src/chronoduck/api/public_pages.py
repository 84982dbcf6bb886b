"""Pages that need no credential: made once for all who ask at the same time, and kept for a second."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from fastapi import Response

__all__ = ["PublicPages"]

_BURST = 10
"""Pages that may be made at once, for those who look again right away; then one a second."""
_NAMES = 32
"""Pages that are kept; the forms of one that a header asks for are few."""


@dataclass
class _Page:
    made: Response | None = None
    task: asyncio.Task[Response] | None = None
    allowance: float = _BURST
    looked_at: float = 0.0


class PublicPages:
    """Keeps the last page of each name. For one event loop.

    Making one costs 5 to 50 ms: strangers who ask 200 times a second would take all of a processor.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._pages: dict[str, _Page] = {}

    async def get(self, name: str, make: Callable[[], Awaitable[Response]]) -> Response:
        """Return the page of that name, made now if it may be; names are ours, never a stranger's.

        Raises:
            Exception: what ``make`` raised, for all who waited for it; it is not kept.
        """
        page = self._pages.get(name)
        if page is None:
            if len(self._pages) >= _NAMES:
                del self._pages[next(iter(self._pages))]
            page = self._pages[name] = _Page(looked_at=self._clock())
        if page.task is None and (page.made is None or self._may_make(page)):
            page.task = asyncio.get_running_loop().create_task(self._make(page, make))
        made = page.made if page.task is None else await asyncio.shield(page.task)
        assert made is not None  # noqa: S101 - without one there is a task
        copy = Response(made.body, made.status_code)
        copy.raw_headers = list(made.raw_headers)
        return copy

    def _may_make(self, page: _Page) -> bool:
        now = self._clock()
        page.allowance = min(_BURST, page.allowance + now - page.looked_at)
        page.looked_at = now
        if page.allowance < 1:
            return False
        page.allowance -= 1
        return True

    async def _make(self, page: _Page, make: Callable[[], Awaitable[Response]]) -> Response:
        try:
            page.made = await make()
            return page.made
        finally:
            page.task = None
