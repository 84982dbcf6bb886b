"""A shadow whose children meet a fault that DuckDB is not known for: ``faulty_shadow.py KIND``."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

from chronoduck.engine.replay_check import Case, judge
from chronoduck.shadow.__main__ import main


def crash(case: Case, say: Callable[[str], None]) -> dict[str, Any]:
    say("opening it")
    os.kill(os.getpid(), signal.SIGSEGV)
    return {}


def spin(case: Case, say: Callable[[str], None]) -> dict[str, Any]:
    say("running CHECKPOINT")
    while True:
        pass


def sleep(case: Case, say: Callable[[str], None]) -> dict[str, Any]:
    say("opening it")
    time.sleep(3600)
    return {}


def starve(case: Case, say: Callable[[str], None]) -> dict[str, Any]:
    raise MemoryError("it would need more")


def killed(case: Case, say: Callable[[str], None]) -> dict[str, Any]:
    os.kill(os.getpid(), signal.SIGKILL)
    return {}


def crash_after_ddl(case: Case, say: Callable[[str], None]) -> dict[str, Any]:
    """Crash as long as the WAL holds an ALTER of a table called ``bad``."""
    if case.names and any(b"bad" in name for name in case.names):
        return crash(case, say)
    return judge(case, say)


if __name__ == "__main__":
    sys.exit(main(globals()[sys.argv[1]]))
