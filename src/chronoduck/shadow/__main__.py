"""``python -m chronoduck.shadow``: the shadow's process; the service starts it.

The process ignores signals. It ends when the service sends "stop", or dies and so closes the pipe.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any

# Before numpy comes with the file format: a process with a thread of OpenBLAS could not be forked.
os.environ["OPENBLAS_NUM_THREADS"] = "1"

from chronoduck.engine.replay_check import judge
from chronoduck.shadow.commands import Commands, StopRequestedError
from chronoduck.shadow.messages import Orders, to_line
from chronoduck.shadow.shadow import Judge, Shadow

__all__ = ["main"]

_NICE = 5
_OOM_SCORE = "1000"
_ALIVE_SECONDS = 5.0
"""How often it tells that it lives, whatever it does. A timer does it: children are forked, which a
second thread would forbid."""


def main(judge: Judge = judge) -> int:
    """Run until the service ends it; ``judge`` is what children do with the copy."""
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, signal.SIG_IGN)
    os.nice(_NICE)
    _be_the_first_to_go()
    out = os.dup(1)
    os.set_inheritable(out, False)
    os.dup2(2, 1)  # nothing but messages may get into the pipe

    def emit(kind: str, **fields: Any) -> None:
        with contextlib.suppress(OSError):  # the service is dead: standard input ends, too
            os.write(out, to_line(kind, **fields))

    signal.signal(signal.SIGALRM, lambda number, frame: emit("alive"))
    signal.setitimer(signal.ITIMER_REAL, _ALIVE_SECONDS, _ALIVE_SECONDS)
    commands = Commands(0)
    try:
        orders = Orders(**commands.read_first())
        Shadow(orders, commands, emit, judge).run()
    except StopRequestedError:
        return 0
    return 1


def _be_the_first_to_go() -> None:
    """Have the kernel end this process and its children before anything that serves."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_OOM_SCORE, encoding="ascii")
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (hard, hard))


if __name__ == "__main__":
    sys.exit(main())
