"""A server that first says that it is not ready, and only then stops listening."""

from __future__ import annotations

import asyncio
import signal
from types import FrameType

import uvicorn

from chronoduck.api.access import Access
from chronoduck.logs import get_logger

__all__ = ["LeavingServer"]


class LeavingServer(uvicorn.Server):
    """Gives load balancers the time to notice: they ask `health/ready` every few seconds.

    Only SIGTERM is waited with: whoever presses Ctrl-C is there.
    """

    def __init__(self, config: uvicorn.Config, access: Access, delay_seconds: float) -> None:
        super().__init__(config)
        self._access = access
        self._delay_seconds = delay_seconds
        self._loop = asyncio.get_running_loop()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to leave; called in the middle of whatever the main thread does."""
        if sig != signal.SIGTERM or not self._delay_seconds or self._access.is_leaving:
            super().handle_exit(sig, frame)
            return
        self._access.is_leaving = True
        self._loop.call_soon_threadsafe(self._leave_later, sig)

    def _leave_later(self, sig: int) -> None:
        get_logger("service").info("leaving", in_seconds=self._delay_seconds)
        self._loop.call_later(self._delay_seconds, super().handle_exit, sig, None)
