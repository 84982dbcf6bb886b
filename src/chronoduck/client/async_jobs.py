"""Jobs and exports of the client for asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import httpx2

from chronoduck.client import calls
from chronoduck.client.calls import Call
from chronoduck.client.job_facts import JobFacts, OnProgress, finish, pauses, target_of
from chronoduck.client.result import Result
from chronoduck.client.streams import AsyncBatchStream, AsyncRowStream

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["AsyncJob"]

T = TypeVar("T")


class Sender(Protocol):
    """What sends a call, and sends it again where that is right."""

    url: str

    async def send(self, call: Call[T]) -> T: ...
    def open(self, call: Call[Any]) -> AbstractAsyncContextManager[httpx2.Response]: ...
    def pieces(self, response: httpx2.Response) -> AsyncIterator[bytes]: ...


class AsyncJob(JobFacts):
    """Work of the service that outlives its request: a statement, or an export."""

    def __init__(self, sender: Sender, fields: dict[str, Any]) -> None:
        super().__init__(fields)
        self._sender = sender

    async def refresh(self) -> AsyncJob:
        """Ask how it is now."""
        self.fields = await self._sender.send(calls.answer(calls.job_path(self.id)))
        return self

    async def wait(
        self, on_progress: OnProgress | None = None, *, timeout: float | None = None
    ) -> AsyncJob:
        """Return when it has succeeded.

        Raises:
            DuckDBException: it failed, or was cancelled or interrupted.
            TimeoutError: ``timeout`` seconds are over; the job goes on.
        """
        told: Mapping[str, Any] | None = None
        waits = pauses(timeout, self.id)
        while not self.has_ended:
            if on_progress is not None and self.progress != told:
                told = self.progress
                on_progress(told)
            await asyncio.sleep(next(waits))
            await self.refresh()
        error = self.error()
        if error is not None:
            raise error
        if on_progress is not None:
            on_progress(self.progress)
        return self

    async def cancel(self) -> None:
        """End it if it runs; forget it and its result if it has ended."""
        await self._sender.send(calls.answer(calls.job_path(self.id), "DELETE"))

    async def result(self, *, offset: int = 0, limit: int | None = None) -> Result:
        """Return the rows of its result from ``offset`` on, at most ``limit``."""
        return await self._sender.send(calls.job_result(self.id, offset, limit))

    async def pages(self, rows: int = 10_000) -> AsyncIterator[Result]:
        """Yield its result in pages of so many rows."""
        offset = 0
        while True:
            page = await self.result(offset=offset, limit=rows)
            if page.rows or offset == 0:
                yield page
            offset += len(page)
            if len(page) < rows:
                return

    async def arrow(self) -> pa.Table:
        """Return its result as a ``pyarrow.Table``."""
        return await self._sender.send(calls.job_table(self.id))

    @asynccontextmanager
    async def stream(self) -> AsyncIterator[AsyncRowStream]:
        """Enter its rows, read piece by piece."""
        async with self._sender.open(calls.job_stream(self.id, "json")) as response:
            stream = AsyncRowStream(self._sender.pieces(response))
            await stream.begin()
            yield stream

    @asynccontextmanager
    async def stream_arrow(self) -> AsyncIterator[AsyncBatchStream]:
        """Enter its result as Arrow record batches, read piece by piece."""
        async with self._sender.open(calls.job_stream(self.id, "arrow")) as response:
            stream = AsyncBatchStream(self._sender.pieces(response))
            await stream.begin()
            yield stream

    async def download(self, directory: Path | str) -> list[Path]:
        """Write the files of an export into a directory; each is complete or not there."""
        written = []
        for file in self.files:
            target = target_of(Path(directory), file["name"])
            target.parent.mkdir(parents=True, exist_ok=True)
            part = target.with_name(target.name + ".part")
            try:
                async with self._sender.open(calls.export_file(self.id, file["name"])) as response:
                    sink = await asyncio.to_thread(part.open, "wb")
                    with sink:
                        async for piece in self._sender.pieces(response):
                            await asyncio.to_thread(sink.write, piece)
                await asyncio.to_thread(finish, part, target)
            finally:
                part.unlink(missing_ok=True)
            written.append(target)
        return written

    async def link(self, name: str, *, expires_in_seconds: int = 3600) -> str:
        """Return a URL by which anybody may fetch a file of an export for a while."""
        told = await self._sender.send(calls.export_link(self.id, name, expires_in_seconds))
        return self._sender.url + str(told["url"])
