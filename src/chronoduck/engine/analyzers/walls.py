"""What the kernel keeps an analyzer from, whatever is done to the parser in it."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
from contextlib import suppress
from pathlib import Path

__all__ = ["enclose", "end_with_parent"]

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 1, 4, 38
_LANDLOCK_CREATE, _LANDLOCK_RESTRICT = 444, 446
_LANDLOCK_VERSION_FLAG = 1
_FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
"""How many rights over files each version of Landlock knows; all are taken."""
_PAGE_BYTES = resource.getpagesize()


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("network", ctypes.c_uint64))


def end_with_parent(parent: int) -> None:
    """Have the kernel end this process when its parent dies."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)


def enclose(descriptors: int, memory_bytes: int) -> bool:
    """Take everything from this process but its first descriptors and some memory.

    ``memory_bytes``: what it may take beyond what it has now. Call it before there is a second
    thread. Returns whether Landlock stands, which not every kernel has; the limits always do: with
    no descriptor left nothing can be opened, neither a file nor a socket.
    """
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("800")  # it goes before the service does
    size = int(Path("/proc/self/statm").read_text().split()[0]) * _PAGE_BYTES
    has_landlock = _landlock()
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
    return has_landlock


def _landlock() -> bool:
    """Give up all files and connections; the rules that would allow some are left out."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    version = libc.syscall(_LANDLOCK_CREATE, None, ctypes.c_size_t(0), _LANDLOCK_VERSION_FLAG)
    if version < 1:
        return False
    files = (1 << _FILE_RIGHTS[min(version, max(_FILE_RIGHTS))]) - 1
    ruleset = _Ruleset(files, 3 if version >= 4 else 0)
    size = ctypes.sizeof(ruleset) if version >= 4 else ctypes.sizeof(ctypes.c_uint64)
    handle = libc.syscall(_LANDLOCK_CREATE, ctypes.byref(ruleset), ctypes.c_size_t(size), 0)
    if handle < 0:
        return False
    is_closed = int(libc.syscall(_LANDLOCK_RESTRICT, handle, 0)) == 0
    os.close(handle)
    return is_closed
