"""seccomp: a process keeps a short list of system calls; the kernel refuses all others with EPERM.

The list is what a program needs that has begun already: memory, its own threads, clocks, and reading
and writing what is open. So there is no socket, no new program, no look into another process, no file
that is opened for writing, and no memory that can be executed.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct

__all__ = ["filter_calls", "seccomp_absence"]

_PR_SET_NO_NEW_PRIVS = 38
_FILTER_MODE, _IS_AVAILABLE, _ALL_THREADS = 1, 2, 1
_ALLOW, _ERRNO, _KILL_PROCESS = 0x7FFF0000, 0x00050000, 0x80000000
_LOAD, _EQUAL, _ANY_BIT, _RETURN = 0x20, 0x15, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16
_STEP = struct.Struct("=HBBI")
_CLONE_THREAD, _PROT_EXEC = 0x10000, 4
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_Numbers = dict[str, tuple[int, int | None]]
"""Of each call, on x86_64 and on aarch64, which never had the old ones."""
# fmt: off
_ALWAYS: _Numbers = {
    "read": (0, 63), "readv": (19, 65), "pread64": (17, 67), "write": (1, 64), "writev": (20, 66),
    "sendto": (44, 206), "recvfrom": (45, 207), "close": (3, 57), "lseek": (8, 62),
    "fstat": (5, 80), "ppoll": (271, 73), "munmap": (11, 215), "mremap": (25, 216),
    "madvise": (28, 233), "mincore": (27, 232), "brk": (12, 214), "futex": (202, 98),
    "membarrier": (324, 283), "sched_yield": (24, 124), "sched_getaffinity": (204, 123),
    "getcpu": (309, 168), "rseq": (334, 293), "set_robust_list": (273, 99),
    "set_tid_address": (218, 96), "sigaltstack": (131, 132), "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135), "rt_sigreturn": (15, 139), "restart_syscall": (219, 128),
    "nanosleep": (35, 101), "clock_nanosleep": (230, 115), "clock_gettime": (228, 113),
    "clock_getres": (229, 114), "gettimeofday": (96, 169), "getitimer": (36, 102),
    "setitimer": (38, 103), "times": (100, 153), "getrusage": (98, 165), "getrlimit": (97, 163),
    "sysinfo": (99, 179), "uname": (63, 160), "getpid": (39, 172), "gettid": (186, 178),
    "getrandom": (318, 278), "exit": (60, 93), "exit_group": (231, 94), "poll": (7, None),
}
_FOR_READING: _Numbers = {
    "newfstatat": (262, 79), "statx": (332, 291), "getdents64": (217, 61), "readlinkat": (267, 78),
    "faccessat": (269, 48), "fadvise64": (221, 223), "fcntl": (72, 25), "fstatfs": (138, 44),
    "statfs": (137, 43), "getcwd": (79, 17), "stat": (4, None), "lstat": (6, None),
    "access": (21, None), "readlink": (89, None),
}
_BY_ARGUMENT: _Numbers = {
    "openat": (257, 56), "open": (2, None), "mmap": (9, 222), "mprotect": (10, 226),
    "clone": (56, 220), "clone3": (435, 435), "tgkill": (234, 131), "prlimit64": (302, 261),
}
# fmt: on
_MACHINES = {"x86_64": (0xC000003E, 317), "aarch64": (0xC00000B7, 277)}
"""The kernel's name of the kind of program, and the number of seccomp itself."""


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("steps", ctypes.c_char_p))


def seccomp_absence() -> str:
    """Return why the filter cannot be had here; empty when it can."""
    machine = platform.machine()
    if machine not in _MACHINES or struct.calcsize("P") != 8:
        return f"the filter is not written for {machine}"
    libc = ctypes.CDLL(None, use_errno=True)
    action = ctypes.c_uint32(_KILL_PROCESS)
    if libc.syscall(_MACHINES[machine][1], _IS_AVAILABLE, 0, ctypes.byref(action)) == 0:
        return ""
    return f"the kernel refuses seccomp filters: {os.strerror(ctypes.get_errno())}"


def filter_calls(*, may_open: bool = False) -> bool:
    """Give up all system calls but the list, in all threads of this process; False: not possible.

    ``may_open``: files may still be opened to be read.
    """
    if seccomp_absence():
        return False
    machine = platform.machine()
    steps = _program(machine, may_open=may_open)
    program = _Program(len(steps) // _STEP.size, steps)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    call = _MACHINES[machine][1]
    return int(libc.syscall(call, _FILTER_MODE, _ALL_THREADS, ctypes.byref(program))) == 0


def _step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return _STEP.pack(code, if_true, if_false, value)


_REFUSE = _step(_RETURN, _ERRNO | errno.EPERM)
_PERMIT = _step(_RETURN, _ALLOW)


def _program(machine: str, *, may_open: bool) -> bytes:
    """Return the filter. Every call that is not named falls through to the refusal at the end."""
    column = list(_MACHINES).index(machine)
    steps = [
        _step(_LOAD, _ARCHITECTURE),
        _step(_EQUAL, _MACHINES[machine][0], 1, 0),
        _step(_RETURN, _KILL_PROCESS),  # in another kind of program the numbers mean other calls
        _step(_LOAD, _NUMBER),
    ]

    def when(numbers: _Numbers, name: str, *then: bytes) -> None:
        number = numbers[name][column]
        if number is not None:
            steps.extend((_step(_EQUAL, number, 0, len(then)), *then))

    for name in _ALWAYS:
        when(_ALWAYS, name, _PERMIT)
    if may_open:
        for name in _FOR_READING:
            when(_FOR_READING, name, _PERMIT)
        when(_BY_ARGUMENT, "openat", *_without(2, _WRITING))
        when(_BY_ARGUMENT, "open", *_without(1, _WRITING))
    when(_BY_ARGUMENT, "mmap", *_without(2, _PROT_EXEC))
    when(_BY_ARGUMENT, "mprotect", *_without(2, _PROT_EXEC))
    thread = (_load(0), _step(_ANY_BIT, _CLONE_THREAD, 1, 0), _REFUSE, _PERMIT)
    when(_BY_ARGUMENT, "clone", *thread)
    # A filter cannot read the flags of clone3; without it the C library takes clone.
    when(_BY_ARGUMENT, "clone3", _step(_RETURN, _ERRNO | errno.ENOSYS))
    own = (_load(0), _step(_EQUAL, os.getpid(), 1, 0), _REFUSE, _PERMIT)  # its own abort()
    when(_BY_ARGUMENT, "tgkill", *own)
    is_null = (_step(_EQUAL, 0, 1, 0), _REFUSE)
    look = (_load(2), *is_null, _load(2, 4), *is_null, _PERMIT)  # limits are read, not set
    when(_BY_ARGUMENT, "prlimit64", *look)
    steps.append(_REFUSE)
    return b"".join(steps)


def _load(argument: int, offset: int = 0) -> bytes:
    return _step(_LOAD, _ARGUMENTS + 8 * argument + offset)


def _without(argument: int, bits: int) -> tuple[bytes, ...]:
    return (_load(argument), _step(_ANY_BIT, bits, 0, 1), _REFUSE, _PERMIT)
