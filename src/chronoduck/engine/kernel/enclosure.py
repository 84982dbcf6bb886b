"""The walls around a process that parses strangers' input, whatever is done to the parser in it."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
from collections.abc import Iterable
from contextlib import suppress
from enum import IntFlag
from pathlib import Path

from chronoduck.engine.kernel.landlock import READ, restrict
from chronoduck.engine.kernel.seccomp import filter_calls

__all__ = ["KernelWalls", "enclose", "end_with_parent"]

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE = 1, 4
_PAGE_BYTES = resource.getpagesize()


class KernelWalls(IntFlag):
    """The walls that not every kernel has."""

    NONE = 0
    LANDLOCK = 1
    SYSCALLS = 2


def end_with_parent(parent: int) -> None:
    """Have the kernel end this process when its parent dies."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)


def enclose(
    descriptors: int, memory_bytes: int, readable: Iterable[Path] = (), *, may_open: bool = False
) -> KernelWalls:
    """Take everything from this process but its first descriptors and some memory.

    ``memory_bytes``: what it may take beyond what it has now. Call it before there is a second thread.
    ``may_open``: it may open files below the ``readable`` directories, to read them; without Landlock,
    any file that its user may read. Returns which kernel walls stand; the limits always do. Without
    ``may_open`` no descriptor is left to open anything with, neither a file nor a socket.
    """
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("800")  # it goes before the service does
    size = int(Path("/proc/self/statm").read_text().split()[0]) * _PAGE_BYTES
    has_landlock = restrict((path, READ) for path in readable)
    for limit, value in (
        (resource.RLIMIT_AS, size + memory_bytes),
        (resource.RLIMIT_CORE, 0),  # a core would hold users' texts
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, descriptors),
    ):
        _, most = resource.getrlimit(limit)
        bound = value if most == resource.RLIM_INFINITY else min(value, most)
        resource.setrlimit(limit, (bound, bound))
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    has_filter = filter_calls(may_open=may_open)  # the last one: nothing above is on its list
    return (KernelWalls.LANDLOCK if has_landlock else KernelWalls.NONE) | (
        KernelWalls.SYSCALLS if has_filter else KernelWalls.NONE
    )
