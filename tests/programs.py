"""System programs that tests use, what for and which package has them; how long a run takes.

``python3 -m tests.programs`` prints it at the start of ``make test``; ``.ci/run`` installs what
``--packages`` prints. Python's standard library alone: nothing is installed yet.
"""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

__all__ = ["PROGRAMS", "Program", "is_there", "minutes"]

_MEASURED_CORES = 2
_MEASURED_MINUTES = 47
"""A whole run on two cores; `make quick` takes a quarter of it."""
_PROCESSES = 3
"""Of ``PARALLEL`` in the Makefile: more cores than that are not used."""


@dataclass(frozen=True)
class Program:
    """A program, the Debian or Ubuntu package that has it, and what a run lacks without it."""

    name: str
    package: str
    use: str
    is_in_ci: bool = True


PROGRAMS = (
    Program("curl", "curl", "the commands of the pages"),
    Program("jq", "jq", "the commands of the pages"),
    Program("gcc", "build-essential", "system calls that fail, and power cuts"),
    Program("chattr", "e2fsprogs", "a directory that cannot be written"),
    Program("gpg", "gnupg", "encrypted backups"),
    Program("promtool", "prometheus", "alerts, rules and the dashboard's expressions"),
    Program("prometheus", "prometheus", "alerts of a service that fails"),
    Program("amtool", "prometheus-alertmanager", "the routes of alerts"),
    Program("prometheus-alertmanager", "prometheus-alertmanager", "alerts of a service that fails"),
    Program("nginx", "nginx-light", "the shipped proxy"),
    Program("openssl", "openssl", "the shipped proxy"),
    Program("systemd-analyze", "systemd", "the unit"),
    Program("systemd-sysusers", "systemd", "the unit's user"),
    Program("systemd-tmpfiles", "systemd", "the unit's directories"),
    Program("strace", "strace", "the order in which files reach the disk"),
    Program("initdb", "postgresql", "syncs"),
    Program("chromium", "chromium", "the page of the API in a browser", is_in_ci=False),
)


def is_there(program: Program) -> bool:
    """Whether a program is installed; Debian keeps those of PostgreSQL out of the path."""
    if program.name == "initdb" and list(Path("/usr/lib/postgresql").glob("*/bin/initdb")):
        return True
    return shutil.which(program.name) is not None


def minutes(cores: int) -> int:
    """Return about how long a whole run takes: half of a test's time is waiting, whatever the cores."""
    used = min(cores, _PROCESSES)
    return round(_MEASURED_MINUTES * (1 + _MEASURED_CORES / used) / 2)


def main() -> None:
    """Print the packages that CI must install, or what somebody should know before a whole run."""
    missing = [program for program in PROGRAMS if not is_there(program)]
    if "--packages" in sys.argv:
        print(*sorted({program.package for program in missing if program.is_in_ci}))
        return
    cores = len(os.sched_getaffinity(0))
    print(
        f"make test runs everything: about {minutes(cores)} minutes on {cores} idle cores "
        f"({_MEASURED_MINUTES} measured on {_MEASURED_CORES}), longer on busy ones.\n"
        f"make quick runs the fast tests: about {round(minutes(cores) / 4)} minutes. "
        "One file: make test ARGS=tests/unit/test_units.py"
    )
    if missing:
        print("Not installed; their tests are skipped:")
        for program in missing:
            print(f"  {program.name:24} {program.use}")
        print(f"  apt-get install {' '.join(sorted({each.package for each in missing}))}")
    print(flush=True)


if __name__ == "__main__":
    main()
