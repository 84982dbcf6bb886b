"""Documents sent and deletions asked for, no further ahead of Meilisearch than is declared."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from chronoduck.export.failures import ExportDataError
from chronoduck.export.meilisearch.server import PayloadTooLargeError, SearchServer
from chronoduck.export.meilisearch.spool import Piece, split_piece

__all__ = ["Upload"]

_IDS_AT_ONCE = 10_000
Progress = Callable[[str, int, int], None]


class Upload:
    """Into one index. ``finish`` must be awaited: what was sent is not there before."""

    def __init__(
        self, server: SearchServer, index: str, primary_key: str, show: Progress, total: int
    ) -> None:
        self._server = server
        self._index = index
        self._primary_key = primary_key
        self._show = show
        self._total = total
        self._pending: deque[tuple[int, int]] = deque()
        """Tasks, oldest first, and how many documents are in each."""
        self._done = 0

    async def send(self, pieces: Sequence[Piece]) -> None:
        """Send documents; a piece that is too large for the server goes as two.

        Raises:
            ExportDataError: one document alone is too large.
            ExportTaskError: Meilisearch failed at some of them.
        """
        waiting = deque(pieces)
        while waiting:
            piece = waiting.popleft()
            try:
                task = await self._server.send(self._index, piece.path, self._primary_key)
            except PayloadTooLargeError:
                halves = await asyncio.to_thread(split_piece, piece)
                if halves is None:
                    raise self._too_large(piece) from None
                waiting.extendleft(reversed(halves))
                continue
            await self._follow(task, piece.documents)
            await asyncio.to_thread(piece.path.unlink)

    def _too_large(self, piece: Piece) -> ExportDataError:
        return ExportDataError(
            f"a document of {piece.bytes:,} bytes is more than Meilisearch at "
            f"{self._server.declared.url} takes in one request",
            hint="Raise MEILI_HTTP_PAYLOAD_SIZE_LIMIT there (or the limit of the proxy before it), "
            "or cut the text in the query: left(text, 60000).",
        )

    async def delete(self, ids: Sequence[str]) -> None:
        """Ask for documents to be deleted; those that are not there are fine."""
        start, at_once = 0, _IDS_AT_ONCE
        while start < len(ids):
            part = ids[start : start + at_once]
            try:
                task = await self._server.delete_documents(self._index, part)
            except PayloadTooLargeError:
                if len(part) == 1:
                    raise
                at_once = len(part) // 2
                continue
            await self._follow(task, len(part))
            start += len(part)

    async def _follow(self, task: int, documents: int) -> None:
        self._pending.append((task, documents))
        self._tell()
        while len(self._pending) >= self._server.declared.max_pending:
            await self._take()

    async def finish(self) -> None:
        """Return once all that was asked for is done."""
        while self._pending:
            await self._take()

    async def _take(self) -> None:
        task, documents = self._pending[0]
        await self._server.wait(task)
        self._pending.popleft()
        self._done += documents
        self._tell()

    def _tell(self) -> None:
        self._show("indexing", self._done, max(self._total, self._done))
