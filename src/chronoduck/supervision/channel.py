"""What supervisor and server say to each other: small messages, one a packet, with a socket now and then.

The server hears ``go``, once: with the listening socket when it follows another server, without when
it must open the socket itself, and with the record of what a server that died worked on. The supervisor
hears ``warm``, ``bound`` (with the socket and what it must know of the settings), ``opening``,
``serving``, ``alive`` several times a second, ``ending`` and ``replace``.
"""

from __future__ import annotations

import array
import json
import socket
from dataclasses import dataclass, field
from typing import Any

__all__ = ["REPLACE_ME", "VARIABLE", "Channel", "Message"]

VARIABLE = "CHRONODUCK_SUPERVISOR"
"""Tells the server's process the descriptor of its end."""
REPLACE_ME = 86
"""A server's exit code: it ended on purpose, and its successor is to take over at once."""
_PACKET_BYTES = 32_768
_NO_SPACE = (BlockingIOError, BrokenPipeError, ConnectionError)


@dataclass(frozen=True)
class Message:
    """A kind, its fields, and the socket and the record that came with it."""

    kind: str
    fields: dict[str, Any] = field(default_factory=dict)
    listener: socket.socket | None = None
    record: int | None = None
    """A descriptor, the receiver's to close."""


class Channel:
    """One end of the conversation."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end

    @classmethod
    def pair(cls) -> tuple[Channel, socket.socket]:
        """Return the supervisor's end, which never blocks, and the one that a server inherits."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        return cls(ours), theirs

    @classmethod
    def inherited(cls, descriptor: int) -> Channel:
        """Return the end that this process was started with."""
        end = socket.socket(fileno=descriptor)
        end.set_inheritable(False)
        return cls(end)

    def never_block(self) -> None:
        """Have ``say`` give up at once when the other side does not read."""
        self._end.setblocking(False)

    def fileno(self) -> int:
        """The descriptor, to wait on."""
        return self._end.fileno()

    def say(
        self,
        kind: str,
        listener: socket.socket | None = None,
        record: int | None = None,
        **fields: Any,
    ) -> bool:
        """Send a message; false when the other side is gone, or does not read."""
        opened = None if listener is None else listener.fileno()
        given = {"listener": opened, "record": record}
        sent = {name: number for name, number in given.items() if number is not None}
        packet = json.dumps({"kind": kind, "sent": list(sent), **fields}).encode()
        try:
            if sent:
                socket.send_fds(self._end, [packet], list(sent.values()))
            else:
                self._end.send(packet)
        except _NO_SPACE:
            return False
        return True

    def hear(self) -> Message | None:
        """Return the next message, None at the end of the conversation.

        Raises:
            BlockingIOError: there is none yet, at the end that never blocks.
        """
        ancillary = socket.CMSG_SPACE(2 * array.array("i").itemsize)
        try:
            packet, control, _, _ = self._end.recvmsg(_PACKET_BYTES, ancillary)
        except ConnectionError:
            return None
        if not packet:
            return None
        fields = json.loads(packet)
        descriptors = array.array("i")
        for level, kind, data in control:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                descriptors.frombytes(data)
        sent = dict(zip(fields.pop("sent"), descriptors, strict=False))
        listener = socket.socket(fileno=sent["listener"]) if "listener" in sent else None
        return Message(fields.pop("kind"), fields, listener, sent.get("record"))

    def close(self) -> None:
        """End the conversation."""
        self._end.close()
