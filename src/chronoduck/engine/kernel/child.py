"""Starting a process that reads what strangers send: it inherits no secret and no way out."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

__all__ = ["start_child"]

_INHERITED = ("LANG", "LC_ALL", "LD_LIBRARY_PATH", "PATH", "PYTHONHOME", "PYTHONPATH")
"""Variables that a Python needs to start; the service's secrets are in the others."""
_ONE_THREAD = {
    "OPENBLAS_NUM_THREADS": "1",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
}
"""Keeps numpy and Arrow from starting threads when they are imported: Landlock does not bind those."""


def start_child(module: str, connection: socket.socket, *arguments: str) -> subprocess.Popen[bytes]:
    """Run ``python -m module``; its first argument is the descriptor of its end of the connection.

    Raises:
        OSError: it cannot be started.
    """
    return subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, "-P", "-m", module, str(connection.fileno()), *arguments],
        env={name: os.environ[name] for name in _INHERITED if name in os.environ} | _ONE_THREAD,
        cwd="/",
        pass_fds=[connection.fileno()],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is the service's
    )
