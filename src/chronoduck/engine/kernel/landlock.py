"""Landlock: a thread, and what it starts later, keeps only the named rights over files."""

from __future__ import annotations

import ctypes
import errno
import os
import stat
from collections.abc import Iterable
from pathlib import Path

__all__ = ["READ", "RUN", "WRITE", "landlock_absence", "restrict"]

_PR_SET_NO_NEW_PRIVS = 38
_CREATE, _ADD, _RESTRICT = 444, 445, 446
_VERSION_FLAG = 1
_PATH_BENEATH = 1
_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
"""How many rights over files each version of Landlock knows; a later version knows as many as 5."""
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 2, 4, 8
_TRUNCATE, _IOCTL = 1 << 14, 1 << 15
_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL
READ = _READ_FILE | _READ_DIR
RUN = READ | _EXECUTE
"""Reading, and running programs."""
WRITE = ((1 << 16) - 1) & ~_EXECUTE
"""Everything but that: a directory of the service's own."""


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("network", ctypes.c_uint64))


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("rights", ctypes.c_uint64), ("directory", ctypes.c_int32))


def _version() -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    return int(libc.syscall(_CREATE, None, ctypes.c_size_t(0), _VERSION_FLAG))


def landlock_absence() -> str:
    """Return why this kernel has no Landlock; empty when it has it."""
    if _version() >= 1:
        return ""
    number = ctypes.get_errno()
    if number == errno.EOPNOTSUPP:
        return "the kernel was started without Landlock (see the boot option lsm=)"
    if number == errno.ENOSYS:
        return "the kernel has no Landlock (Linux 5.13 and later can have it)"
    return f"Landlock is refused: {os.strerror(number)}"


def restrict(allowed: Iterable[tuple[Path, int]] = (), *, without_network: bool = True) -> bool:
    """Leave this thread the rights over what is ``allowed``, and no other right over files.

    ``allowed``: paths with ``READ``, ``RUN`` or ``WRITE``; paths that do not exist are left out. Threads
    that run already are not bound. ``without_network`` also takes TCP (Linux 6.7). Returns whether the
    wall stands.
    """
    version = _version()
    if version < 1:
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    known = (1 << _RIGHTS[min(version, max(_RIGHTS))]) - 1
    ruleset = _Ruleset(known, 3 if without_network and version >= 4 else 0)
    size = ctypes.sizeof(ruleset) if version >= 4 else ctypes.sizeof(ctypes.c_uint64)
    handle = int(libc.syscall(_CREATE, ctypes.byref(ruleset), ctypes.c_size_t(size), 0))
    if handle < 0:
        return False
    try:
        for path, rights in allowed:
            if not _allow(libc, handle, path, rights & known):
                return False
        libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        return int(libc.syscall(_RESTRICT, handle, 0)) == 0
    finally:
        os.close(handle)


def _allow(libc: ctypes.CDLL, handle: int, path: Path, rights: int) -> bool:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return True
    try:
        if not stat.S_ISDIR(os.fstat(place).st_mode):
            rights &= _OF_FILES
        rule = _Beneath(rights, place)
        return int(libc.syscall(_ADD, handle, _PATH_BENEATH, ctypes.byref(rule), 0)) == 0
    finally:
        os.close(place)
