"""Commands of the service, read between two steps of the shadow and while a child runs."""

from __future__ import annotations

import json
import os
import select
from typing import Any

from chronoduck.shadow.messages import Request

__all__ = ["Commands", "StopRequestedError"]


class StopRequestedError(Exception):
    """The service sent "stop", or is dead."""


class Commands:
    """Reads standard input; each wait has a limit."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._buffer = b""
        self.requests: list[Request] = []
        """Proofs that the service waits for."""

    def read_first(self) -> dict[str, Any]:
        """Return the first line, waiting for it.

        Raises:
            StopRequestedError: the service died before it sent a line.
        """
        while b"\n" not in self._buffer:
            data = os.read(self._descriptor, 65536)
            if not data:
                raise StopRequestedError
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        first: dict[str, Any] = json.loads(line)
        self._take(b"")
        return first

    def wait(self, other: int | None, seconds: float) -> None:
        """Wait for a command, or until ``other`` can be read, at most ``seconds``.

        Raises:
            StopRequestedError: it is time to end.
        """
        poll = select.poll()
        poll.register(self._descriptor, select.POLLIN)
        if other is not None:
            poll.register(other, select.POLLIN)
        for descriptor, _ in poll.poll(seconds * 1000):
            if descriptor == self._descriptor:
                self._read()

    def _read(self) -> None:
        data = os.read(self._descriptor, 65536)
        if not data:
            raise StopRequestedError
        self._take(data)

    def _take(self, data: bytes) -> None:
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            message = json.loads(line)
            if message["kind"] == "stop":
                raise StopRequestedError
            if message["kind"] == "forget":
                self.requests = [each for each in self.requests if each.id != message["id"]]
                continue
            self.requests.append(Request(message["id"], message["iteration"], message["offset"]))
