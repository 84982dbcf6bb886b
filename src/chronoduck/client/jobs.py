"""Jobs and exports of the client that waits."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import httpx2

from chronoduck.client import calls
from chronoduck.client.calls import Call
from chronoduck.client.job_facts import JobFacts, OnProgress, finish, pauses, target_of
from chronoduck.client.result import Result
from chronoduck.client.streams import BatchStream, RowStream

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Job"]

T = TypeVar("T")


class Sender(Protocol):
    """What sends a call, and sends it again where that is right."""

    url: str

    def send(self, call: Call[T]) -> T: ...
    def open(self, call: Call[Any]) -> AbstractContextManager[httpx2.Response]: ...
    def pieces(self, response: httpx2.Response) -> Iterator[bytes]: ...


class Job(JobFacts):
    """Work of the service that outlives its request: a statement, or an export."""

    def __init__(self, sender: Sender, fields: dict[str, Any]) -> None:
        super().__init__(fields)
        self._sender = sender

    def refresh(self) -> Job:
        """Ask how it is now."""
        self.fields = self._sender.send(calls.answer(calls.job_path(self.id)))
        return self

    def wait(self, on_progress: OnProgress | None = None, *, timeout: float | None = None) -> Job:
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
            time.sleep(next(waits))
            self.refresh()
        error = self.error()
        if error is not None:
            raise error
        if on_progress is not None:
            on_progress(self.progress)
        return self

    def cancel(self) -> None:
        """End it if it runs; forget it and its result if it has ended."""
        self._sender.send(calls.answer(calls.job_path(self.id), "DELETE"))

    def result(self, *, offset: int = 0, limit: int | None = None) -> Result:
        """Return the rows of its result from ``offset`` on, at most ``limit``."""
        return self._sender.send(calls.job_result(self.id, offset, limit))

    def pages(self, rows: int = 10_000) -> Iterator[Result]:
        """Yield its result in pages of so many rows."""
        offset = 0
        while True:
            page = self.result(offset=offset, limit=rows)
            if page.rows or offset == 0:
                yield page
            offset += len(page)
            if len(page) < rows:
                return

    def arrow(self) -> pa.Table:
        """Return its result as a ``pyarrow.Table``."""
        return self._sender.send(calls.job_table(self.id))

    @contextmanager
    def stream(self) -> Iterator[RowStream]:
        """Enter its rows, read piece by piece."""
        with self._sender.open(calls.job_stream(self.id, "json")) as response:
            yield RowStream(self._sender.pieces(response))

    @contextmanager
    def stream_arrow(self) -> Iterator[BatchStream]:
        """Enter its result as Arrow record batches, read piece by piece."""
        with self._sender.open(calls.job_stream(self.id, "arrow")) as response:
            yield BatchStream(self._sender.pieces(response))

    def download(self, directory: Path | str) -> list[Path]:
        """Write the files of an export into a directory; each is complete or not there."""
        written = []
        for file in self.files:
            target = target_of(Path(directory), file["name"])
            target.parent.mkdir(parents=True, exist_ok=True)
            part = target.with_name(target.name + ".part")
            try:
                with (
                    self._sender.open(calls.export_file(self.id, file["name"])) as response,
                    part.open("wb") as sink,
                ):
                    sink.writelines(self._sender.pieces(response))
                finish(part, target)
            finally:
                part.unlink(missing_ok=True)
            written.append(target)
        return written

    def link(self, name: str, *, expires_in_seconds: int = 3600) -> str:
        """Return a URL by which anybody may fetch a file of an export for a while."""
        told = self._sender.send(calls.export_link(self.id, name, expires_in_seconds))
        return self._sender.url + str(told["url"])
