"""Makes a program that shows a finding as small as it gets."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from tests.fuzz.program import Life, Program, Step
from tests.fuzz.replay import run_program

__all__ = ["shrink", "sql_of"]

Run = Callable[[Program], str]


def shrink(
    program: Program, kind: str, *, seconds: float = 60.0, deadline: float = 10.0
) -> Program:
    """Return a smaller program that ends in a finding of the same kind."""
    end = time.monotonic() + seconds

    def still_shows(candidate: Program) -> bool:
        finding = run_program(candidate, deadline=deadline).finding
        return finding is not None and finding.kind == kind

    flat = [(number, step) for number, life in enumerate(program.lives) for step in life.steps]
    size = max(1, len(flat) // 2)
    while size >= 1 and time.monotonic() < end:
        start, is_smaller = 0, False
        while start < len(flat) and time.monotonic() < end:
            fewer = flat[:start] + flat[start + size :]
            if still_shows(_rebuilt(program, fewer)):
                flat, is_smaller = fewer, True
            else:
                start += size
        if not is_smaller or size > 1:
            size = size // 2 if size > 1 else (1 if is_smaller else 0)
    return _rebuilt(program, flat)


def _rebuilt(program: Program, flat: list[tuple[int, Step]]) -> Program:
    """Return the program with these statements only, and without lives that became empty."""
    lives = []
    for number, life in enumerate(program.lives):
        steps = tuple(step for owner, step in flat if owner == number)
        if steps:
            lives.append(Life(steps, life.is_killed))
    return replace(program, lives=tuple(lives))


def sql_of(program: Program) -> str:
    """Return the program as SQL with comments where a process ends."""
    lines = [f"-- seed {program.seed}, storage version {program.storage}, wal_autocheckpoint 1TB"]
    for life in program.lives:
        for step in life.steps:
            mark = "  -- second connection" if step.connection else ""
            lines.append(f"{step.sql};{mark}")
        lines.append("-- kill -9" if life.is_killed else "-- close")
    return "\n".join(lines)
