"""The record of file calls on the event loop of a served process, and what of it is allowed."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["LoopCall", "LoopCalls", "build_library"]

_HERE = Path(__file__).parent
_PROGRAM = (sys.prefix, sys.base_prefix, str(_HERE.parents[2]))
"""Modules that are imported late, pages that are part of the package: never on the data's volume."""


@dataclass(frozen=True)
class LoopCall:
    """A call of the C library on a file, made while the event loop could do nothing else."""

    program: str
    """The first arguments of the process."""
    name: str
    path: str
    frames: tuple[str, ...]
    """``file:function:line`` within the package, innermost first."""

    @property
    def functions(self) -> frozenset[str]:
        """``file:function`` of each frame."""
        return frozenset(frame.rpartition(":")[0] for frame in self.frames)

    def __str__(self) -> str:
        return f"{self.name} {self.path}\n    " + "\n    ".join(self.frames[:8])


def build_library(directory: Path) -> Path:
    """Compile the library to preload.

    Raises:
        CalledProcessError: The compiler failed.
    """
    library = directory / "loop_calls.so"
    source = _HERE / "calls.c"
    subprocess.run(["gcc", "-O1", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return library


class LoopCalls:
    """What processes record that are started with ``environment``."""

    def __init__(self, path: Path, library: Path) -> None:
        self.path = path
        self.environment: dict[str, Any] = {
            "LD_PRELOAD": library,
            "LOOP_CALLS": path,
            "PYTHONPATH": _HERE,
        }

    def of_server(self) -> list[LoopCall]:
        """Return the calls of the processes that serve; children have loops that nobody waits for."""
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        calls = [LoopCall(*told[:3], tuple(told[3])) for told in map(json.loads, lines)]
        return [
            call
            for call in calls
            if call.program.startswith("serve") and not call.path.startswith(_PROGRAM)
        ]
