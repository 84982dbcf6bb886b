"""Writes down the file calls that a process makes on its event loop; Python imports it at each start.

``LOOP_CALLS`` names the record, ``LD_PRELOAD`` the library of ``calls.c``. One line a call and stack:
the program's arguments, the call, the path, and the frames of the package, innermost first.
"""

from __future__ import annotations

import atexit
import ctypes
import json
import os
import sys
import threading
from typing import Any

_PACKAGE = f"{os.sep}chronoduck{os.sep}"
_SYSTEM = ("/proc/", "/sys/", "/dev/")
_DEEPEST = 60


def _frames() -> list[str]:
    """Return ``file:function:line`` of each frame of the package."""
    frame: Any = sys._getframe(2)
    found: list[str] = []
    for _ in range(_DEEPEST):
        if frame is None:
            break
        code = frame.f_code
        name = code.co_filename.rpartition(_PACKAGE)
        if name[1] and "site-packages" not in name[0]:
            found.append(f"{name[2]}:{code.co_name}:{frame.f_lineno}")
        frame = frame.f_back
    return found


def _begin(library: str, record: str) -> None:
    known: set[tuple[str, str]] = set()
    descriptor = os.open(record, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def report(name: bytes, path: bytes) -> None:
        loops = sys.modules.get("asyncio.events")
        running = getattr(loops, "_get_running_loop", None)
        if running is None or running() is None or path.startswith(_NOT_FILES):
            return
        frames = _frames()
        key = (name.decode(), " < ".join(frames))
        if key not in known:
            known.add(key)
            told = [" ".join(sys.argv[1:3]), key[0], os.fsdecode(path), frames]
            os.write(descriptor, json.dumps(told).encode() + b"\n")

    report_type = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_char_p)
    preloaded = ctypes.CDLL(library)
    callback = report_type(report)
    preloaded.report_file_calls(callback)
    # Registered first, so called last. The callback must live as long.
    atexit.register(lambda: (preloaded.report_file_calls(None), callback))


_NOT_FILES = tuple(each.encode() for each in _SYSTEM)
if "LOOP_CALLS" in os.environ and threading.current_thread() is threading.main_thread():
    _begin(os.environ["LD_PRELOAD"], os.environ["LOOP_CALLS"])
