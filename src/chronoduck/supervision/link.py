"""The server's side of its supervisor: waits to be needed, tells that it lives, asks to be replaced."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from chronoduck.supervision.channel import VARIABLE, Channel
from chronoduck.supervision.running_record import LostWork, RunningRecord, read_record

__all__ = ["Handover", "SupervisorLink"]

_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Handover:
    """What a server takes over: the socket, unless it is the first one, and what came before."""

    listener: socket.socket | None
    restarts: int
    last_restart: dict[str, Any] | None
    lost: LostWork
    """What the server before worked on when it died."""


class SupervisorLink:
    """The conversation with the supervisor that started this process."""

    def __init__(self, channel: Channel, record: int | None = None) -> None:
        """``record``: the descriptor where the supervisor reads what this process works on."""
        self._channel = channel
        self.running = RunningRecord(record)

    @classmethod
    def from_environment(cls) -> SupervisorLink | None:
        """Return the link, None when no supervisor started this process; dies with it from now on.

        Call it once, early: the variable is gone afterwards, so that no child of ours finds it.
        """
        value = os.environ.pop(VARIABLE, None)
        if value is None:
            return None
        descriptor, parent, record = map(int, value.split(":"))
        _end_with(parent)
        # A core dump would hold users' data, and takes longer to write than a restart.
        _, hard = resource.getrlimit(resource.RLIMIT_CORE)
        resource.setrlimit(resource.RLIMIT_CORE, (0, hard))
        return cls(Channel.inherited(descriptor), record)

    def wait_until_needed(self) -> Handover:
        """Block until this process is to be the server; the process ends if that never comes."""
        self._channel.say("warm")
        message = self._channel.hear()
        if message is None:
            sys.exit(0)
        self._channel.never_block()
        lost = LostWork()
        if message.record is not None:
            lost = read_record(message.record)
            os.close(message.record)
        return Handover(
            message.listener, message.fields["restarts"], message.fields["last_restart"], lost
        )

    def bound(
        self,
        listener: socket.socket,
        *,
        standby: bool,
        silent_seconds: float,
        stop_seconds: float,
        tls: Sequence[str] | None,
    ) -> None:
        """Give the supervisor the socket, and what it must know.

        ``silent_seconds``: after so long without ``beat`` it ends us; ``stop_seconds``: so long may an
        orderly end take. ``tls``: the files of certificate and key, for answers while nobody serves.
        """
        self._channel.say(
            "bound",
            listener,
            standby=standby,
            silent_seconds=silent_seconds,
            stop_seconds=stop_seconds,
            tls=tls,
        )

    def opening(self, seconds: float | None) -> None:
        """Tell that the database is being opened, and how long that may take; None: it has ended."""
        self._channel.say("opening", seconds=seconds)

    def serving(self) -> None:
        """Tell that requests are answered from now on."""
        self._channel.say("serving")

    def beat(self) -> None:
        """Tell that the event loop goes round."""
        self._channel.say("alive")

    def ending(self) -> None:
        """Tell that the event loop has done its work and this process is on its way out."""
        self._channel.say("ending")

    def replace(self, reason: str, **facts: Any) -> None:
        """Tell why this process is about to end; its successor is told too."""
        self._channel.say("replace", reason=reason, **facts)


def _end_with(parent: int) -> None:
    """Have the kernel end this process when its parent dies, however that dies."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)  # it died before we could say so
