"""``python -m chronoduck.engine.analyzers.nursery``: forks analyzers for the service that started it.

It imports DuckDB and makes an analyst once; a new analyzer is a copy of it, which takes milliseconds
where a new process would take 0.3 s. It never parses anything itself. Messages on its socket are
``number`` with the descriptor of a new analyzer's socket, or ``number`` alone: end that one.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import socket
import sys
from typing import NoReturn

from chronoduck.engine.analyzers.analyst import Analyst, serve
from chronoduck.engine.kernel.enclosure import KernelWalls, enclose, end_with_parent

__all__ = ["main"]

_MEMORY_BYTES = 700_000_000
"""How much address space an analyzer may take beyond what it is born with."""
_CONNECTION = 3
_WORD_BYTES = 32


def main() -> None:
    """Fork analyzers until the service is gone."""
    control = socket.socket(fileno=int(sys.argv[1]))
    demanded = KernelWalls(int(sys.argv[2]))
    analyst = Analyst(has_stores="stores" in sys.argv[3:])
    gc.collect()
    gc.freeze()  # so that a collection in an analyzer copies no page
    children: dict[int, int] = {}
    # A signal that comes just before a wait begins would not end the wait: a byte does.
    deaths, tells = socket.socketpair()
    deaths.setblocking(False)
    tells.setblocking(False)
    signal.set_wakeup_fd(tells.fileno(), warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the service's
    while True:
        readable, _, _ = select.select([control, deaths], [], [])
        if deaths in readable:
            deaths.recv(_WORD_BYTES)
        _reap(children)
        if control not in readable:
            continue
        word, descriptors, _, _ = socket.recv_fds(control, _WORD_BYTES, 1)
        if not word:
            os._exit(0)  # the kernel ends the analyzers with this process
        key = int(word)
        if descriptors:
            _fork(key, descriptors[0], children, analyst, demanded)
        elif key in children:
            os.kill(children[key], signal.SIGKILL)


def _reap(children: dict[int, int]) -> None:
    for key, child in list(children.items()):
        if os.waitpid(child, os.WNOHANG)[0]:
            del children[key]


def _fork(
    key: int, descriptor: int, children: dict[int, int], analyst: Analyst, demanded: KernelWalls
) -> None:
    nursery = os.getpid()
    try:
        child = os.fork()
    except OSError:
        child = -1  # the service sees that the socket is closed, and tries again
    if child == 0:
        _become(descriptor, nursery, analyst, demanded)
    if child > 0:
        children[key] = child
    os.close(descriptor)


def _become(descriptor: int, nursery: int, analyst: Analyst, demanded: KernelWalls) -> NoReturn:
    try:
        end_with_parent(nursery)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.dup2(descriptor, _CONNECTION)
        os.closerange(_CONNECTION + 1, os.sysconf("SC_OPEN_MAX"))
        connection = socket.socket(fileno=_CONNECTION)
        walls = enclose(_CONNECTION + 1, _MEMORY_BYTES)
        if demanded in walls:
            serve(connection, analyst, walls)
    finally:
        os._exit(1)


if __name__ == "__main__":
    main()
