"""A service on an event loop of its own thread, and the CPU time of that loop's longest step."""

from __future__ import annotations

import asyncio
import gc
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

from chronoduck.api import create_app
from chronoduck.api.http_server import server_config
from chronoduck.assembly import DuckDBService
from chronoduck.settings import Settings
from tests.patience import PATIENCE_SECONDS

__all__ = ["LoopWatch", "serving"]


class LoopWatch:
    """Measures each callback that the loop of one thread runs: CPU time, so that load does not count."""

    def __init__(self) -> None:
        self.thread_id: int | None = None
        self.worst_ms = 0.0
        self.worst = ""
        self._run = asyncio.Handle._run  # type: ignore[attr-defined] # what runs every callback

    def reset(self) -> None:
        """Forget what was measured."""
        self.worst_ms, self.worst = 0.0, ""

    def install(self) -> None:
        """Measure from now on."""
        run = self._run

        def measured(handle: Any) -> None:
            if threading.get_ident() != self.thread_id:
                run(handle)
                return
            started = time.thread_time()
            try:
                run(handle)
            finally:
                milliseconds = (time.thread_time() - started) * 1000
                if milliseconds > self.worst_ms:
                    self.worst_ms, self.worst = milliseconds, repr(handle)[:300]

        asyncio.Handle._run = measured  # type: ignore[attr-defined]

    def remove(self) -> None:
        """Measure no more."""
        asyncio.Handle._run = self._run  # type: ignore[attr-defined]


@contextmanager
def serving(settings: Settings) -> Iterator[tuple[int, LoopWatch]]:
    """Serve on a free port as ``chronoduck serve`` does; yield the port and the watch."""
    watch = LoopWatch()
    listener = socket.create_server(("127.0.0.1", 0))
    ready, stop = threading.Event(), threading.Event()
    failures: list[BaseException] = []

    async def run() -> None:
        service = DuckDBService(settings)
        async with service:
            config = server_config(create_app(service), settings, None)
            server = uvicorn.Server(config)
            config.load()
            server.lifespan = config.lifespan_class(config)
            await server.startup(sockets=[listener])
            gc.collect()
            gc.freeze()
            watch.thread_id = threading.get_ident()
            ready.set()
            await asyncio.to_thread(stop.wait)
            watch.thread_id = None
            await server.shutdown(sockets=[listener])

    def work() -> None:
        try:
            asyncio.run(run())
        except BaseException as error:  # noqa: BLE001 - told in the other thread
            failures.append(error)
            ready.set()

    thread = threading.Thread(target=work)
    watch.install()
    thread.start()
    try:
        assert ready.wait(PATIENCE_SECONDS)
        if failures:
            raise failures[0]
        yield listener.getsockname()[1], watch
    finally:
        stop.set()
        thread.join()
        watch.remove()
        gc.unfreeze()
