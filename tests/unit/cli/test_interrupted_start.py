"""Ctrl-C while a command is still imported."""

from __future__ import annotations

import signal
import subprocess
import sys

_PROGRAM = """
import chronoduck.__main__ as main

def interrupted():
    raise KeyboardInterrupt

main._run = interrupted
main.run()
"""


def test_an_interrupt_while_it_starts_shows_no_traceback() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", _PROGRAM], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == -signal.SIGINT
    assert ended.stderr == ""
