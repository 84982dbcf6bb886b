"""One server's process as its supervisor sees it: started, told to go, heard, ended."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

from chronoduck.supervision.allocator import allocator_environment
from chronoduck.supervision.channel import VARIABLE, Channel, Message
from chronoduck.supervision.running_record import new_record

__all__ = ["ServerProcess"]


class ServerProcess:
    """A process that imports what a server needs, then waits until it is told to be one."""

    def __init__(self, arguments: Sequence[str]) -> None:
        self.channel, theirs = Channel.pair()
        self.record = new_record()
        """The descriptor of what it works on."""
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                # -P: a supervisor's directory must not decide what a restart imports.
                [sys.executable, "-P", "-m", "chronoduck", *arguments],
                env={
                    **os.environ,
                    **allocator_environment(os.environ),
                    VARIABLE: f"{theirs.fileno()}:{os.getpid()}:{self.record}",
                },
                pass_fds=[theirs.fileno(), self.record],
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is the supervisor's to pass on
            )
        self.serving_since: float | None = None
        """``time.monotonic()``."""
        self.silent_ticks = 0
        self.last_words: dict[str, Any] = {}
        """Why it wants to be replaced."""
        self.opening_until: float | None = None
        """``time.monotonic()`` after which it has taken too long to open the database; None: it does not
        open it now. What dies meanwhile has died of that."""
        self.ends_by: float | None = None
        """``time.monotonic()`` after which it is killed."""

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    def go(self, listener: socket.socket | None, lost: int | None, **facts: Any) -> None:
        """Tell it to be the server; ``lost`` is the record of the one before, if that died at work."""
        self.channel.say("go", listener, lost, **facts)

    def hear(self) -> list[Message]:
        """Return what it has said since the last time."""
        messages = []
        try:
            while (message := self.channel.hear()) is not None:
                messages.append(message)
        except BlockingIOError:
            pass
        return messages

    def poll(self) -> int | None:
        """Return its exit code, negative for a signal; None while it lives."""
        return self._process.poll()

    def terminate(self, wish: signal.Signals) -> None:
        """Ask it to end, as we were asked."""
        self._send(wish)

    def reload(self) -> None:
        """Ask it to read its files again."""
        self._send(signal.SIGHUP)

    def kill(self) -> None:
        """End it."""
        self._send(signal.SIGKILL)

    def _send(self, number: signal.Signals) -> None:
        if self._process.poll() is None:
            self._process.send_signal(number)

    def wait(self) -> int:
        """Wait for its end and return its code."""
        return self._process.wait()

    @property
    def served_seconds(self) -> float | None:
        """For how long it has served; None: not yet."""
        return None if self.serving_since is None else time.monotonic() - self.serving_since
