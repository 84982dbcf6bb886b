"""The service's side of the nursery: starts it when needed, and orders analyzers."""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import socket
import subprocess
import threading

from chronoduck.engine.kernel.child import start_child
from chronoduck.engine.kernel.enclosure import KernelWalls

__all__ = ["Nursery", "nursery_of_this_process"]

_MODULE = "chronoduck.engine.analyzers.nursery"
_STOP_SECONDS = 2.0


def nursery_of_this_process(
    *, has_stores: bool, demanded: KernelWalls = KernelWalls.NONE
) -> Nursery:
    """Return the nursery that all services in this process share; it ends with the process."""
    return _nursery_of(os.getpid(), has_stores=has_stores, demanded=demanded)


@functools.cache
def _nursery_of(process: int, *, has_stores: bool, demanded: KernelWalls) -> Nursery:
    nursery = Nursery(has_stores=has_stores, demanded=demanded)
    atexit.register(nursery.close)
    return nursery


class Nursery:
    """One process that forks analyzers; safe from any thread.

    ``start`` may block for some milliseconds, and the first analyzer comes 0.3 s after it. A nursery
    that dies is started again by the next ``start``; its analyzers die with it.
    """

    def __init__(self, *, has_stores: bool, demanded: KernelWalls = KernelWalls.NONE) -> None:
        """``has_stores``: admins may read from S3. ``demanded``: no analyzer works without these."""
        self._arguments = (str(int(demanded)), *(("stores",) if has_stores else ()))
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._count = 0

    @property
    def pid(self) -> int | None:
        """The process, if it was started."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Start the process unless it runs."""
        with self._lock:
            if self._process is not None and self._process.poll() is None:
                return
            self._stop()
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with theirs:
                self._process = start_child(_MODULE, theirs, *self._arguments)
            ours.setblocking(False)
            self._control = ours

    def order(self) -> tuple[int, socket.socket]:
        """Return a new analyzer's number and our end of its socket; it says when it is ready.

        Raises:
            OSError: there is no nursery.
        """
        with self._lock:
            if self._control is None:
                raise BrokenPipeError("no nursery was started")
            self._count += 1
            ours, theirs = socket.socketpair()
            with theirs:
                try:
                    socket.send_fds(self._control, [b"%d" % self._count], [theirs.fileno()])
                except OSError:
                    ours.close()
                    raise
            ours.setblocking(False)
            return self._count, ours

    def kill(self, number: int) -> None:
        """End an analyzer, whatever it does; nothing happens if it is gone."""
        with self._lock, contextlib.suppress(OSError):
            if self._control is not None:
                self._control.send(b"%d" % number)

    def close(self) -> None:
        """End the process and its analyzers."""
        with self._lock:
            self._stop()

    def _stop(self) -> None:
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._process is not None:
            try:
                self._process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
