"""Spreadsheets as CSV, read in a process of its own."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from chronoduck.engine.kernel.child import start_child
from chronoduck.engine.kernel.enclosure import KernelWalls
from chronoduck.errors import LoadError, ServiceUnavailableError

__all__ = ["SheetFacts", "SheetReader"]

_MODULE = "chronoduck.engine.sheet_worker"
_START_SECONDS = 30.0
_BLOCK_BYTES = 1_000_000
_HEAD_BYTES = 100_000
_TRAILER_BYTES = 4_000_000
_NOTHING = "Nothing was loaded."


@dataclass(frozen=True)
class SheetFacts:
    """Which sheet was read."""

    sheet: str
    others: int
    """How many more the file has."""
    kinds: dict[int, dict[str, int]]
    """Of each column the kinds of its cells, and the last record (from 1) with one of that kind."""
    gaps: list[tuple[int, int]]
    """From a record on: what its number is less than that of its row."""
    errors: int = 0
    """Cells of an XLSX file that hold an error such as #N/A; they are read as empty."""


class SheetReader:
    """Starts a process for each file. Blocks; for any thread."""

    def __init__(
        self, memory_bytes: int, deadline_seconds: float, demanded: KernelWalls = KernelWalls.NONE
    ) -> None:
        """No process works without the ``demanded`` walls."""
        self._memory_bytes = memory_bytes
        self._deadline_seconds = deadline_seconds
        self._demanded = demanded

    def write_csv(
        self,
        path: Path,
        target: Path,
        sheet: str,
        name: str,
        largest_bytes: int | None,
        nulls: Sequence[str] = (),
    ) -> SheetFacts:
        """Write the rows of a sheet, the first one if it is not named; ``nulls``: texts for no value.

        Raises:
            LoadError: it cannot be read, has no such sheet, or becomes larger than it may.
            ServiceUnavailableError: no process can be started.
        """
        if importlib.util.find_spec("python_calamine") is None:
            raise LoadError(
                f"{name} is a spreadsheet, and the library that reads them is not installed",
                hint=f"{_NOTHING} pip install python-calamine on the server, or save it as CSV.",
            )
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                process = start_child(
                    _MODULE,
                    theirs,
                    str(path),
                    sheet,
                    json.dumps(nulls),
                    str(self._memory_bytes),
                    f"{self._deadline_seconds:.0f}",
                    str(int(self._demanded)),
                )
        except OSError as error:
            ours.close()
            raise ServiceUnavailableError(
                "the process that reads spreadsheets cannot be started",
                hint="Try again; the server log says why.",
                operator_detail=f"no reader of sheets: {error!r}",
            ) from error
        try:
            return self._receive(ours, process, target, name, largest_bytes)
        finally:
            ours.close()
            process.kill()
            process.wait()

    def _receive(
        self,
        connection: socket.socket,
        process: subprocess.Popen[bytes],
        target: Path,
        name: str,
        largest_bytes: int | None,
    ) -> SheetFacts:
        until = time.monotonic() + self._deadline_seconds + _START_SECONDS
        head = b""
        total = 0
        with target.open("wb") as file:
            facts: dict[str, object] | None = None
            while True:
                connection.settimeout(max(0.001, until - time.monotonic()))
                try:
                    block = connection.recv(_BLOCK_BYTES)
                except (TimeoutError, OSError):
                    process.send_signal(signal.SIGALRM)
                    raise self._late(name) from None
                if not block:
                    break
                if facts is None:
                    head += block
                    line, found, block = head.partition(b"\n")
                    if not found and len(head) > _HEAD_BYTES:
                        raise _damaged(name)
                    if not found:
                        continue
                    facts = _facts_of(line, name)
                total += len(block)
                if largest_bytes is not None and total > largest_bytes:
                    raise LoadError(
                        f"{name} has more text than an upload may have",
                        hint=f"{_NOTHING} Split it, or raise DUCKDB_MAX_UPLOAD_SIZE.",
                    )
                file.write(block)
        if facts is None or process.wait() != 0:
            if -process.wait() == signal.SIGPROF:
                raise self._late(name)
            raise _damaged(name)
        kinds, gaps = _take_trailer(target, name)
        others, errors = (int(str(facts.get(each, 0))) for each in ("others", "errors"))
        return SheetFacts(str(facts.get("sentence")), others, kinds, gaps, errors)

    def _late(self, name: str) -> LoadError:
        return LoadError(
            f"{name} was not read to its end within {self._deadline_seconds:g} s",
            hint=f"{_NOTHING} Split it, or save it as CSV.",
        )


def _facts_of(line: bytes, name: str) -> dict[str, object]:
    """Return what a reader says first; it may have been taken over: only its form is believed."""
    try:
        facts = json.loads(line)
    except ValueError:
        raise _damaged(name) from None
    if not isinstance(facts, dict) or facts.get("verdict") != "read":
        sentence = str(facts.get("sentence", ""))[:300] if isinstance(facts, dict) else ""
        raise LoadError(f"{name} cannot be read as a spreadsheet: {sentence}", hint=_NOTHING)
    return facts


def _take_trailer(
    target: Path, name: str
) -> tuple[dict[int, dict[str, int]], list[tuple[int, int]]]:
    """Cut off the last line, and return what it says."""
    with target.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        start = file.seek(max(0, size - _TRAILER_BYTES))
        body, _, last = (b"\n" + file.read().rstrip(b"\n")).rpartition(b"\n")
        try:
            said = json.loads(last)
            kinds: dict[int, dict[str, int]] = {}
            for column, kind, record in said["kinds"]:
                kinds.setdefault(int(column), {})[str(kind)] = int(record)
            gaps = [(int(record), int(shift)) for record, shift in said["gaps"]]
        except (ValueError, KeyError, TypeError):
            raise _damaged(name) from None
        file.truncate(start + len(body))
    return kinds, gaps


def _damaged(name: str) -> LoadError:
    return LoadError(
        f"{name} cannot be read as a spreadsheet: it is damaged, or too large to be one",
        hint=f"{_NOTHING} Save it as CSV.",
    )
