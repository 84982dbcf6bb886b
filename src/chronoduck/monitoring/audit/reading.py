"""Reads the trail: newest first by pages, or all of it in its order; memory stays flat."""

from __future__ import annotations

import base64
import binascii
import time
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from chronoduck.errors import InvalidRequestError
from chronoduck.monitoring.audit.event import time_text
from chronoduck.monitoring.audit.files import (
    RotatedFile,
    lines_backwards,
    lines_of,
    parse,
    rotated_files,
)
from chronoduck.units import parse_seconds

__all__ = ["AuditFilter", "AuditPage", "AuditReader", "moment"]

_SCANNED_LINES = 200_000
"""Lines that one page may cost, about a second; a page may so be short and still have a next one."""


def moment(text: str | None) -> float | None:
    """Return the Unix time of ``2026-11-23T10:00:00Z`` or of a duration before now (``1h``).

    Raises:
        InvalidRequestError: it is neither.
    """
    if text is None:
        return None
    with suppress(ValueError):
        return time.time() - parse_seconds(text)
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidRequestError(
            f"{text!r} is no time",
            hint="Write it like 2026-11-23T10:00:00Z, or 1h for an hour ago.",
        ) from None
    return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()


@dataclass(frozen=True)
class AuditFilter:
    """Which events are wanted; ``principal`` is an id or a name, times are Unix times."""

    since: float | None = None
    until: float | None = None
    principal: str | None = None
    event: str | None = None
    verdict: str | None = None
    code: str | None = None

    def accepts(self, event: dict[str, Any]) -> bool:
        """Whether the event is wanted."""
        return (
            (self.since is None or event["time"] >= time_text(self.since))
            and (self.until is None or event["time"] < time_text(self.until))
            and self.principal in (None, event.get("principal"), event.get("name"))
            and self.event in (None, event["event"])
            and self.verdict in (None, event.get("verdict"))
            and self.code in (None, event.get("code"))
        )


@dataclass(frozen=True)
class AuditPage:
    """Events, newest first, and where the next page begins; None: there are no more."""

    events: list[dict[str, Any]]
    next_cursor: str | None


@dataclass
class _Scan:
    """One page on its way."""

    wanted: AuditFilter
    limit: int
    before: int | None
    """Only events of smaller numbers."""
    events: list[dict[str, Any]] = field(default_factory=list)
    lines: int = 0

    @property
    def is_over(self) -> bool:
        return len(self.events) >= self.limit or self.lines >= _SCANNED_LINES

    def look(self, event: dict[str, Any]) -> None:
        # Files may hold a line twice while one is rotated: numbers only go down.
        if self.before is None or event["seq"] < self.before:
            self.lines += 1
            self.before = event["seq"]
            if self.wanted.accepts(event):
                self.events.append(event)


class AuditReader:
    """Reads beside the process that writes, in any other process or thread."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def page(self, wanted: AuditFilter, limit: int, cursor: str | None = None) -> AuditPage:
        """Return the newest events that are wanted, older than the cursor's page; blocks.

        Raises:
            InvalidRequestError: the cursor is not one of ours.
        """
        scan = _Scan(wanted, limit, None if cursor is None else _decoded(cursor))
        with ExitStack() as stack:
            current, rotated = self._files(stack)
            if current is not None and self._scan_current(scan, current):
                return self._page(scan)
            for file in reversed(rotated):
                if scan.before is not None and file.first_seq >= scan.before:
                    continue
                if wanted.since is not None and file.last_written_at() < wanted.since:
                    break
                if self._scan_rotated(scan, file):
                    return self._page(scan)
        return AuditPage(scan.events, None)

    @staticmethod
    def _page(scan: _Scan) -> AuditPage:
        is_end = scan.before is None or scan.before <= 1
        return AuditPage(scan.events, None if is_end else _encoded(scan.before))

    @staticmethod
    def _scan_current(scan: _Scan, file: IO[bytes]) -> bool:
        for text in lines_backwards(file):
            if event := parse(text):
                scan.look(event)
                if scan.is_over:
                    return True
        return False

    @staticmethod
    def _scan_rotated(scan: _Scan, file: RotatedFile) -> bool:
        """Look at a file from its begin, which compressed ones allow alone; its newest events count."""
        missing = scan.limit - len(scan.events)
        newest: deque[dict[str, Any]] = deque(maxlen=missing)
        count = found = 0
        for text in lines_of(file):
            event = parse(text)
            if event is None:
                continue
            if scan.before is not None and event["seq"] >= scan.before:
                break
            count += 1
            if scan.wanted.accepts(event):
                found += 1
                newest.append(event)
        scan.lines += count
        scan.events += reversed(newest)
        scan.before = newest[0]["seq"] if found > missing else file.first_seq
        return scan.is_over

    def export(self, wanted: AuditFilter) -> Iterator[bytes]:
        """Yield the lines of the events that are wanted, oldest first, as they are in the files."""
        after = 0
        with ExitStack() as stack:
            current, rotated = self._files(stack)
            for file in rotated:
                if wanted.since is not None and file.last_written_at() < wanted.since:
                    continue
                for text in lines_of(file):
                    if (event := parse(text)) and event["seq"] > after:
                        after = event["seq"]
                        if wanted.accepts(event):
                            yield text + b"\n"
            for text in current or ():
                if (event := parse(text)) and event["seq"] > after and wanted.accepts(event):
                    yield text

    def _files(self, stack: ExitStack) -> tuple[IO[bytes] | None, list[RotatedFile]]:
        """Open the current file before the others are listed: none is missed if it is rotated now."""
        current = None
        with suppress(FileNotFoundError):
            current = stack.enter_context(self._path.open("rb"))
        return current, rotated_files(self._path)


def _encoded(seq: int | None) -> str:
    return base64.urlsafe_b64encode(f"before:{seq}".encode()).decode().rstrip("=")


def _decoded(cursor: str) -> int:
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
        return int(text.removeprefix("before:"))
    except (ValueError, binascii.Error):
        raise InvalidRequestError(
            "the cursor is not valid", hint="Hand over next_cursor of the page before, as it is."
        ) from None
