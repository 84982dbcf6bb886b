"""A trial of the kernel's walls: a child process encloses itself, then tries to get out.

``python -m chronoduck.engine.kernel.trial`` is that child; its last line is the number of the walls.
"""

from __future__ import annotations

import functools
import os
import socket
import subprocess
import sys
from collections.abc import Callable

from chronoduck.engine.kernel.enclosure import KernelWalls, enclose
from chronoduck.engine.kernel.landlock import landlock_absence
from chronoduck.engine.kernel.seccomp import seccomp_absence

__all__ = ["main", "try_walls"]

_SECONDS = 30.0
_MEMORY_BYTES = 100_000_000


@functools.cache
def try_walls() -> dict[KernelWalls, str]:
    """Return why each wall of the kernel does not stand here; empty when it does. Blocks for 0.1 s.

    The answer holds for the life of this process: a kernel does not lose a wall.
    """
    absences = {KernelWalls.LANDLOCK: landlock_absence(), KernelWalls.SYSCALLS: seccomp_absence()}
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "chronoduck.engine.kernel.trial"],
            env={name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ},
            cwd="/",
            capture_output=True,
            timeout=_SECONDS,
            check=True,
        )
        stood = KernelWalls(int(done.stdout))
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        return {wall: absence or f"its trial failed: {error}" for wall, absence in absences.items()}
    return {
        wall: "" if wall in stood else absence or "a trial process got through it"
        for wall, absence in absences.items()
    }


def main() -> None:
    """Enclose this process, try the walls, write which of them stand."""
    place = os.open("/", os.O_RDONLY)
    stood = enclose(16, _MEMORY_BYTES, may_open=True)
    if _works(lambda: os.open(".", os.O_RDONLY, dir_fd=place)):
        stood &= ~KernelWalls.LANDLOCK
    if _works(socket.socket) or _works(lambda: os.kill(os.getppid(), 0)):
        stood &= ~KernelWalls.SYSCALLS
    os.write(1, b"%d" % stood)
    os._exit(0)


def _works(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except OSError:
        return False
    return True


if __name__ == "__main__":
    main()
