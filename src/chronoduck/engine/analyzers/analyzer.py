"""One analyzer process as the service sees it."""

from __future__ import annotations

import asyncio

from chronoduck.engine.analyzers.answers import UnsoundAnswerError, read_answer
from chronoduck.engine.analyzers.messages import (
    HEADER,
    MAX_ANSWER_BYTES,
    Answer,
    FilterQuestion,
    HandOver,
    Question,
    frame,
)
from chronoduck.engine.analyzers.nursery_link import Nursery
from chronoduck.engine.kernel.enclosure import KernelWalls

__all__ = ["Analyzer"]

_ALL_WALLS = range((KernelWalls.LANDLOCK | KernelWalls.SYSCALLS) + 1)


class Analyzer:
    """A connection to one process; one question at a time. ``end`` must be called in every case."""

    def __init__(self, nursery: Nursery) -> None:
        """Order one; it is there once ``greet`` returns.

        Raises:
            OSError: there is no nursery.
        """
        self._nursery = nursery
        self.number, self._connection = nursery.order()
        self._version = 0
        self.walls = KernelWalls.NONE
        """What stands around it; known once it has greeted."""

    async def greet(self) -> None:
        """Wait until it is ready.

        Raises:
            EOFError: it could not be made.
            UnsoundAnswerError: it says something else.
        """
        (walls,) = HEADER.unpack(await self._receive(HEADER.size))
        if walls not in _ALL_WALLS:
            raise UnsoundAnswerError("an analyzer began with an answer")
        self.walls = KernelWalls(walls)

    async def ask(self, question: Question | FilterQuestion, handed: HandOver | None) -> Answer:
        """Return its answer; ``handed``: what it must know for that.

        Raises:
            OSError: it was dead before it took the question.
            EOFError: it died of it.
            UnsoundAnswerError: it sent no answer.
        """
        loop = asyncio.get_running_loop()
        data = frame(question)
        if handed is not None and handed.version != self._version:
            # A catalog of many tables takes longer than the event loop may wait.
            data = await asyncio.to_thread(frame, handed) + data
            self._version = handed.version
        await loop.sock_sendall(self._connection, data)
        (length,) = HEADER.unpack(await self._receive(HEADER.size))
        if not 0 < length <= MAX_ANSWER_BYTES:
            raise UnsoundAnswerError(f"an analyzer announced an answer of {length} bytes")
        return read_answer(await self._receive(length))

    async def _receive(self, count: int) -> bytes:
        loop = asyncio.get_running_loop()
        data = bytearray()
        while len(data) < count:
            piece = await loop.sock_recv(self._connection, count - len(data))
            if not piece:
                raise EOFError("an analyzer died")
            data += piece
        return bytes(data)

    def end(self) -> None:
        """End the process whatever it does, and close the connection; no task may be reading."""
        self._nursery.kill(self.number)
        self._connection.close()
