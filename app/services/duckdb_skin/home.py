"""The service with the event loop that it lives on: a thread's, or a server's."""

from __future__ import annotations

import asyncio
from typing import Any

from chronoduck.assembly import DuckDBService

from .event_loop import LoopDoor, own_loop

__all__ = ["HomeService"]


class HomeService(DuckDBService):
    """Lives on the loop that opens it. A server that opens it later takes it over to its own loop."""

    home: LoopDoor | None = None

    @property
    def door(self) -> LoopDoor:
        """The way in for everybody else."""
        home = self.home
        return own_loop() if home is None or home.loop.is_closed() else home

    async def initialize(self) -> None:
        """Open the database on the running loop; what was open on another one is closed first."""
        here = asyncio.get_running_loop()
        home = self.home
        if home is not None and home.loop is not here:
            if self.is_initialized and not home.loop.is_closed():
                await home.run(self.shutdown())
            self._starting = asyncio.Lock()
        await super().initialize()
        self.home = LoopDoor(here)
        await self._report()  # counters() needs it

    def counters(self) -> dict[str, Any] | None:
        """Return the ``metrics`` of the statistics, None before the first start. For any thread."""
        return None if self._reports is None else self._reports.metrics()
