"""Verifies the chain: each line holds the hash of the one before, across all files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from chronoduck.monitoring.audit.files import lines_of, parse, rotated_files
from chronoduck.monitoring.audit.writer import FIRST

__all__ = ["ChainReport", "verify_chain"]

_MAX_PROBLEMS = 20


@dataclass
class ChainReport:
    """What was found; ``problems`` are sentences."""

    events: int = 0
    torn_lines: int = 0
    """Lines that a crash has cut; nothing is missing around them if there are no problems."""
    dropped_events: int = 0
    """Events that the service itself says it could not write."""
    first_seq: int = 0
    last_seq: int = 0
    head: str = FIRST
    first_time: str = ""
    last_time: str = ""
    problems: list[str] = field(default_factory=list)
    has_known_head: bool | None = None
    """Whether the hash that was asked for is in the chain."""

    @property
    def is_intact(self) -> bool:
        return not self.problems


def verify_chain(path: Path, known_head: str | None = None) -> ChainReport:
    """Read all files of the trail; ``known_head``: a hash noted earlier, which must be in the chain.

    It finds lines that were edited, removed or put in between. A chain that was written anew from
    some line on, or cut at its end, can be told by a head alone that was noted elsewhere.
    """
    report = ChainReport(has_known_head=None if known_head is None else False)
    pruned_through = 0
    for text in _lines(path):
        event = parse(text)
        if event is None:
            report.torn_lines += bool(text)
            continue
        _follow(report, event)
        report.head = hashlib.sha256(text).hexdigest()
        if report.head == known_head:
            report.has_known_head = True
        if event["event"] == "audit_pruned":
            pruned_through = max(pruned_through, event["through_seq"])
        elif event["event"] == "events_dropped":
            report.dropped_events += event["count"]
    if report.first_seq > 1 and pruned_through < report.first_seq - 1:
        report.problems.insert(
            0,
            f"the events before {report.first_seq} are missing, and no event says that they were "
            "deleted for their age",
        )
    if report.has_known_head is False:
        report.problems.append(f"no event has the hash {known_head}")
    return report


def _follow(report: ChainReport, event: dict[str, Any]) -> None:
    seq, previous = event["seq"], event.get("prev")
    is_first = report.events == 0
    if (previous != report.head) if not is_first else (seq == 1 and previous != FIRST):
        _add_problem(report, seq)
    report.events += 1
    if is_first:
        report.first_seq, report.first_time = seq, event["time"]
    report.last_seq, report.last_time = seq, event["time"]


def _add_problem(report: ChainReport, seq: int) -> None:
    last = report.last_seq
    if seq > last + 1:
        sentence = f"events {last + 1} to {seq - 1} are missing"
    elif seq == last + 1:
        sentence = f"event {last} or event {seq} was changed"
    else:
        sentence = f"event {seq} stands behind event {last}: a chain begins anew"
    if len(report.problems) < _MAX_PROBLEMS:
        report.problems.append(sentence)


def _lines(path: Path) -> Iterator[bytes]:
    with ExitStack() as stack:
        current = None
        with suppress(FileNotFoundError):
            current = stack.enter_context(path.open("rb"))
        for file in rotated_files(path):
            if current is not None and _is_same(current, file.plain_path):
                current = None  # it was rotated this moment
            yield from lines_of(file)
        for text in current or ():
            yield text.rstrip(b"\n")


def _is_same(opened: IO[bytes], path: Path) -> bool:
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(opened.fileno()), path.stat())
    return False
