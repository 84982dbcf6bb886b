"""What systemd is told of a service of ``Type=notify``; nothing happens under another init."""

from __future__ import annotations

import contextlib
import os
import socket

__all__ = ["ServiceManager"]


class ServiceManager:
    """The datagram socket that systemd named to its main process."""

    def __init__(self) -> None:
        """Take the socket's name out of the environment: no child of ours speaks for the service."""
        name = os.environ.pop("NOTIFY_SOCKET", "")
        self._address = "\0" + name[1:] if name.startswith("@") else name
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) if name else None
        if self._socket is not None:
            self._socket.setblocking(False)

    def tell(self, *assignments: str) -> None:
        """Send assignments such as ``READY=1``."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.sendto("\n".join(assignments).encode(), self._address)

    def close(self) -> None:
        """Give the socket back."""
        if self._socket is not None:
            self._socket.close()
