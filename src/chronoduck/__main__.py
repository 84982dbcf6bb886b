"""``chronoduck`` and ``python -m chronoduck``.

A command that serves runs below a supervisor, which this process becomes before anything heavy is
imported; the other commands are run here.
"""

from __future__ import annotations

import os
import signal
import sys

from chronoduck.environment_file import take_environment_file
from chronoduck.supervision.supervisor import is_supervised, supervise

__all__ = ["run"]

_SERVING = ("serve", "demo")


def run() -> None:
    """Run the command of this process's arguments and exit with its code."""
    try:
        _run()
    except KeyboardInterrupt:  # while the command is still imported: end by the signal, in silence
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)


def _run() -> None:
    sys.argv[1:] = take_environment_file(sys.argv[1:])
    if sys.argv[1:2] and sys.argv[1] in _SERVING and not is_supervised():
        sys.exit(supervise(sys.argv[1:]))
    from chronoduck.cli.main import run as run_command  # noqa: PLC0415 - a second and 150 MB

    run_command()


if __name__ == "__main__":
    run()
