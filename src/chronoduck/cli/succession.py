"""How a served process makes way for the next one, and what it knows of the one before."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import time
from collections.abc import Callable
from typing import NoReturn

import uvicorn

from chronoduck.assembly import DuckDBService
from chronoduck.logs import get_logger
from chronoduck.monitoring.restarts import RestartHistory
from chronoduck.sql.statements import StatementParser
from chronoduck.supervision.channel import REPLACE_ME
from chronoduck.supervision.link import Handover, SupervisorLink

__all__ = ["Succession", "warm_up"]

_ENDING_SECONDS = 0.25
"""How long statements that run well may end by themselves before the process does."""
_FLUSH_SECONDS = 0.3
"""How long the last answers may take to leave."""
_AUDIT_SECONDS = 0.5
"""How long the audit trail may take for its last lines: they tell of the statement that did this."""
_LOOK_SECONDS = 0.01


def warm_up() -> None:
    """Do once what costs time only the first time, so that taking over does not."""
    parser = StatementParser()
    parser.parse("SELECT 1")
    parser.close()
    # The first collection looks at a whole program (0.15 s); the next ones only at what came after.
    gc.collect()
    gc.freeze()


class Succession:
    """Ends this process so that nobody waits in vain: ``begin`` is the service's ``on_stuck``.

    The process ends without closing its database: what holds it would have to be waited for, and what
    was acknowledged is in the file and its log.
    """

    def __init__(self, link: SupervisorLink, handover: Handover) -> None:
        self.link = link
        self.handover = handover
        self._server: uvicorn.Server | None = None
        self._service: DuckDBService | None = None
        self._task: asyncio.Task[None] | None = None
        self._has_begun = False
        self._log = get_logger("service")

    @property
    def restart_history(self) -> RestartHistory:
        """What health tells of the processes before this one."""
        handover = self.handover
        return RestartHistory(True, handover.restarts, handover.last_restart, handover.lost)

    def log_predecessor(self) -> None:
        """Write into the log why this process took over."""
        if self.handover.last_restart is not None:
            self._log.warning(
                "server_replaced", restarts=self.handover.restarts, **self.handover.last_restart
            )

    def attach(self, server: uvicorn.Server, service: DuckDBService) -> None:
        """Name what is to be ended in good order from now on."""
        self._server, self._service = server, service

    def begin(self, reason: str) -> None:
        """Make way for a new process; returns at once, the first call counts."""
        if self._has_begun:
            return
        self._has_begun = True
        self._log.error("server_gives_up", reason=reason)
        self.link.replace(reason)
        if self._server is None or self._service is None:
            _end()
        self._task = asyncio.get_running_loop().create_task(
            self._make_way(self._server, self._service)
        )

    async def _make_way(self, server: uvicorn.Server, service: DuckDBService) -> None:
        """Accept nobody any more, answer everybody who waits, and end."""
        for listening in server.servers:
            listening.close()  # whoever connects now waits in the kernel for the next process
        connections = server.server_state.connections
        for connection in list(connections):
            connection.shutdown()  # at once when idle, else after its answer
        await service.abandon(_ENDING_SECONDS)
        await _wait_until(lambda: not connections, _FLUSH_SECONDS)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_AUDIT_SECONDS):
                await asyncio.to_thread(service.audit.close)
        _end()


def _end() -> NoReturn:
    logging.shutdown()
    os._exit(REPLACE_ME)


async def _wait_until(condition: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:  # noqa: ASYNC110 - many ways lead there
        await asyncio.sleep(_LOOK_SECONDS)
