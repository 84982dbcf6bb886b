"""Runs a program life by life, kills it, and compares what is left with two models."""

from __future__ import annotations

import json
import os
import resource
import select
import shutil
import signal
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.fuzz.child import IS_NEW_ENGINE, Tell, live, look, teller
from tests.fuzz.program import Life, Model, Program

__all__ = ["SILENT", "Finding", "Result", "Told", "fast_directory", "in_child", "run_program"]

DEADLINE_SECONDS = 30.0
SILENT = frozenset({"rows differ", "model differs", "catalog differs", "index differs"})
"""Findings that no error would have told."""


@dataclass(frozen=True)
class Finding:
    """What went wrong first."""

    kind: str
    """``rows differ``, ``open failed``, ``checkpoint hung`` and so on."""
    detail: str
    life: int


@dataclass
class Result:
    """What came of one program."""

    finding: Finding | None = None
    acknowledged: int = 0
    """Statements that the living instance answered without an error."""
    refused: int = 0
    kills: int = 0
    errors: dict[str, int] = field(default_factory=dict)


@dataclass
class Told:
    """What a child told, and how it ended."""

    facts: list[tuple[str, Any]]
    how: str
    """``ended``, ``crashed (signal N)`` or ``hung``."""

    def last(self, what: str) -> Any:
        return next((fact for name, fact in reversed(self.facts) if name == what), None)


def run_program(program: Program, *, deadline: float = DEADLINE_SECONDS) -> Result:
    """Run a program in a directory of its own; stop at the first finding."""
    directory = Path(tempfile.mkdtemp(prefix="replay-fuzz-", dir=fast_directory()))
    try:
        return _run(program, str(directory / "a.db"), deadline)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _run(program: Program, path: str, deadline: float) -> Result:
    result, model = Result(), Model()
    for number, life in enumerate(program.lives):

        def run(tell: Tell, life: Any = life) -> None:
            live(path, program.storage, life, tell, with_macros=program.has_macros)

        told = in_child(run, deadline)
        before, uncertain = _follow(told, life.steps, model, result)
        model.die()
        finding = _judge_life(told, model)
        held = _comparable(told.last("holds"), life)
        result.kills += life.is_killed
        looked = in_child(
            lambda tell: look(path, program.storage, tell, with_macros=program.has_macros), deadline
        )
        finding = _judge_look(held, looked, (model, before), is_torn=uncertain) or finding
        if finding:
            result.finding = Finding(*finding, number)
            return result
    return result


def _follow(told: Told, steps: tuple[Any, ...], model: Model, result: Result) -> tuple[Model, bool]:
    """Apply to the model what was acknowledged; return the model without the last statement, and
    whether that statement may or may not have happened."""
    before, uncertain = model, False
    for name, fact in told.facts:
        if name == "ok":
            model.apply(steps[fact], is_ok=True)
            result.acknowledged += 1
        elif name == "error":
            model.apply(steps[fact[0]], is_ok=False)
            result.refused += 1
            kind = fact[1].split(":")[0]
            result.errors[kind] = result.errors.get(kind, 0) + 1
    begun = told.last("begins")
    ended = {
        fact if name == "ok" else fact[0] for name, fact in told.facts if name in ("ok", "error")
    }
    if begun is not None and begun not in ended and begun < len(steps):
        before, uncertain = model.copy(), True
        model.apply(steps[begun], is_ok=True)
        before.die()
    return before, uncertain


def _judge_life(told: Told, model: Model) -> tuple[str, str] | None:
    if told.how != "ended":
        return f"life {told.how.split(' ')[0]}", told.how
    if told.last("failed"):
        raise RuntimeError(f"the fuzz itself failed: {told.last('failed')}")
    fatal = told.last("fatal")
    if fatal:
        return "life fatal", fatal[1]
    difference = _model_difference(told.last("holds"), model)
    if difference:
        return "model differs in life", difference
    damages = told.last("indexes")
    return ("index differs in life", "; ".join(damages)) if damages else None


def _judge_look(
    held: dict[str, Any] | None, told: Told, models: tuple[Model, Model], *, is_torn: bool
) -> tuple[str, str] | None:
    stage = str(told.last("stage"))
    if told.how != "ended":
        return f"{stage} {told.how.split(' ')[0]}", told.how
    if told.last("failed"):
        return f"{stage} failed", told.last("failed")
    for name, kind in (("holds", ""), ("again", " after the checkpoint")):
        found = told.last(name)
        difference = held and _difference(held, found)
        if difference:
            return f"{difference[0]}{kind}", difference[1]
        differs = _model_difference(found, models[0])
        if differs and (not is_torn or _model_difference(found, models[1])):
            return f"model differs{kind}", differs
    for name, kind in (("indexes", ""), ("indexes again", " after the checkpoint")):
        if told.last(name):
            return f"index differs{kind}", "; ".join(told.last(name))
    return None


def _comparable(held: dict[str, Any] | None, life: Life) -> dict[str, Any] | None:
    """Leave out the values of sequences where they need not survive.

    What nextval() gave in a transaction counts from its COMMIT on. DuckDB 1.5 shows another
    last_value after a replay, although nextval() goes on as it should.
    """
    is_sure = IS_NEW_ENGINE and all(step.sql != "BEGIN" for step in life.steps)
    if held is not None and not is_sure:
        held = {what: rows for what, rows in held.items() if what != "sequence values"}
    return held


def _difference(held: dict[str, Any], found: dict[str, Any]) -> tuple[str, str] | None:
    for what in ("rows", *(name for name in held if name != "rows")):
        if held[what] != found[what]:
            kind = "rows differ" if what == "rows" else "catalog differs"
            return kind, f"{what}: {_first_difference(held[what], found[what])}"
    return None


def _first_difference(held: Any, found: Any) -> str:
    if isinstance(held, dict):
        held, found = sorted(held.items()), sorted(found.items())
    lost = [each for each in held if each not in found]
    new = [each for each in found if each not in held]
    return f"the living instance held {lost[:2]}, the replayed one holds {new[:2]}"[:600]


def _model_difference(found: dict[str, Any] | None, model: Model) -> str:
    if found is None:
        return ""
    sums = model.sums()
    for name, (rows, ids, numbers) in sums.items():
        seen = found["rows"].get(name)
        if seen is None:
            return f"table {name} is missing"
        if (seen[0], seen[2] or 0, seen[3] or 0) != (rows, ids, numbers):
            return f"table {name}: {seen} instead of {(rows, ids, numbers)}"
    extra = set(found["rows"]) - set(sums)
    return f"tables {sorted(extra)} should not be there" if extra else ""


def in_child(work: Callable[[Tell], None], deadline: float) -> Told:
    """Fork, work, read what it tells; kill it at the deadline."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.close(reader)
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            quiet = os.open(os.devnull, os.O_WRONLY)
            os.dup2(quiet, 2)  # a crash prints a stack
            work(teller(writer))
            status = 0
        except BaseException as error:  # noqa: BLE001 - the parent raises it again
            with suppress(OSError):
                teller(writer)("failed", f"{type(error).__name__}: {error}")
        finally:
            os._exit(status)  # as a kill does: nothing is closed
    os.close(writer)
    data, is_hung = _read_until_end(reader, deadline)
    if is_hung:
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    facts = [json.loads(line) for line in data.splitlines() if line.endswith(b"]")]
    how = "hung" if is_hung else "ended"
    if not is_hung and os.WIFSIGNALED(status):
        how = f"crashed (signal {os.WTERMSIG(status)})"
    return Told([(name, fact) for name, fact in facts], how)


def _read_until_end(reader: int, deadline: float) -> tuple[bytes, bool]:
    pieces, end = [], time.monotonic() + deadline
    try:
        while True:
            ready, _, _ = select.select([reader], [], [], max(0.0, end - time.monotonic()))
            if not ready:
                return b"".join(pieces), True
            piece = os.read(reader, 1 << 20)
            if not piece:
                return b"".join(pieces), False
            pieces.append(piece)
    finally:
        os.close(reader)


def fast_directory() -> str | None:
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
