"""Appends lines to the current file, chains them by hash, rotates; for the trail's own thread.

Crash safety: lines are only appended; a crash leaves at most a torn last line, which the next start
ends by a line's end and readers skip. The rotated file keeps every line while it is compressed.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from chronoduck.logs import get_logger
from chronoduck.monitoring.audit.event import Act, act_fields, line
from chronoduck.monitoring.audit.files import (
    compress,
    last_event,
    parse,
    rotated_files,
    rotated_name,
)
from chronoduck.resilience.service_time import CarefulClock
from chronoduck.settings import AuditSettings
from chronoduck.storage.durable_write import replace_file

__all__ = ["FIRST", "AuditWriter"]

FIRST = "0" * 64
"""What the first event of all has for the hash of the one before."""
_SYNC_SECONDS = 1.0
_PRUNE_SECONDS = 3600.0
_DAY_SECONDS = 86_400.0
_WRITE_BYTES = 262_144
"""At once: on a disk that is nearly full a little is written rather than nothing."""


class AuditWriter:
    """Knows the head of the chain; lines that could not be written wait here in their order."""

    def __init__(self, path: Path, settings: AuditSettings) -> None:
        self._path = path
        self._settings = settings
        self._log = get_logger("audit")
        self._clock = CarefulClock()
        self._file: int | None = None
        self._size = 0
        self._first_seq = 1
        self._lines: list[bytes] = []
        self._has_head = False
        self._is_dirty = False
        self._synced_at = 0.0
        self._pruned_at = 0.0
        self._is_prune_due = True
        self._compressing: threading.Thread | None = None
        self.seq = 0
        self.head = FIRST
        self._written_head = (0, FIRST)
        self.kept_head = (0, FIRST)
        """Number and hash of the last event that the disk surely has."""
        self.written = 0
        self.waiting_bytes = 0

    # --- the file -----------------------------------------------------------------------------

    def open(self) -> None:
        """Find the head of the chain and open the file for appending; does nothing when that is done.

        Raises:
            OSError: it is no file that can be written here, the disk is full, or another process
                writes it (BlockingIOError).
        """
        if self._has_head:
            return
        self._path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        self._open_file()
        self._find_head()
        self._has_head = True
        self._compress_in_background()

    def _open_file(self) -> None:
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        file = os.open(self._path, flags, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(file)
            raise
        self._file = file
        self._size = os.fstat(file).st_size
        if self._size and os.pread(file, 1, self._size - 1) != b"\n":
            self._size += os.write(file, b"\n")  # behind a line that a crash has torn

    def _find_head(self) -> None:
        """Go on where the newest event is, in whichever file."""
        if found := last_event(self._path):
            event, text = found
            self.seq, self.head = event["seq"], hashlib.sha256(text).hexdigest()
            self._written_head = self.kept_head = (self.seq, self.head)
        elif rotated := rotated_files(self._path):
            self.seq = rotated[-1].first_seq  # unreadable; no file may take its name
        with self._path.open("rb") as file:
            first = next(filter(None, map(parse, file)), None)
        self._first_seq = self.seq + 1 if first is None else first["seq"]

    def _follow(self) -> None:
        """Open the file anew when its name is another's now: logrotate moved it, or it was deleted."""
        if self._file is not None:
            with suppress(FileNotFoundError):
                named, opened = self._path.stat(), os.fstat(self._file)
                if (named.st_dev, named.st_ino) == (opened.st_dev, opened.st_ino):
                    self._size = opened.st_size  # copytruncate shortens it under us
                    return
            self._close_file()
        self._open_file()
        if self._size == 0:
            self._first_seq = self.seq + 1 - len(self._lines)

    def _close_file(self) -> None:
        if self._file is not None:
            try:
                self.sync()
            except OSError as error:
                self._log.error("audit_not_synced", error=str(error))
            file, self._file = self._file, None
            os.close(file)

    def close(self) -> None:
        """Bring what is written to the disk and close."""
        self._close_file()
        self._has_head = False
        self._lines.clear()
        self.waiting_bytes = 0
        if self._compressing is not None:
            self._compressing.join()

    # --- lines --------------------------------------------------------------------------------

    def add(self, fields: dict[str, Any]) -> None:
        """Make the next line of the chain, to be written by ``flush``."""
        self.seq += 1
        text = line(fields, self.seq, self.head)
        self.head = hashlib.sha256(text).hexdigest()
        self._lines.append(text + b"\n")
        self.waiting_bytes += len(text) + 1

    def flush(self) -> None:
        """Write the lines that wait.

        Raises:
            OSError: not all could be written; the others wait for the next call.
        """
        self._follow()
        while self._lines:
            count = self._fitting()
            data = b"".join(self._lines[:count])
            self._append(data)
            last = self._lines[count - 1].rstrip(b"\n")
            del self._lines[:count]
            seq = self.seq - len(self._lines)
            self._written_head = (seq, hashlib.sha256(last).hexdigest())
            self.waiting_bytes -= len(data)
            self.written += count
            if self._size >= self._settings.max_size:
                self._rotate()
        if self._is_dirty and time.monotonic() - self._synced_at >= _SYNC_SECONDS:
            self.sync()

    def _fitting(self) -> int:
        """Return how many lines are written at once; the one that fills the file is the last."""
        size = self._size
        for count, text in enumerate(self._lines, 1):
            size += len(text)
            if size >= self._settings.max_size or size - self._size >= _WRITE_BYTES:
                return count
        return len(self._lines)

    def _append(self, data: bytes) -> None:
        assert self._file is not None  # noqa: S101 - flush opens it
        done = 0
        try:
            while done < len(data):
                done += os.write(self._file, data[done:])
        except OSError:
            # Our own half line goes again, or is ended when the file is opened anew.
            with suppress(OSError):
                os.ftruncate(self._file, self._size)
            file, self._file = self._file, None
            os.close(file)
            raise
        self._size += len(data)
        self._is_dirty = True

    def sync(self) -> None:
        """Bring what was written to the disk."""
        if self._file is not None and self._is_dirty:
            os.fdatasync(self._file)
            self._is_dirty = False
            self.kept_head = self._written_head
            self._synced_at = time.monotonic()

    # --- rotation -----------------------------------------------------------------------------

    def _rotate(self) -> None:
        self._close_file()
        replace_file(self._path, rotated_name(self._path, self._first_seq))
        self._open_file()
        self._first_seq = self.seq + 1 - len(self._lines)
        self._is_prune_due = True
        self._compress_in_background()

    def _compress_in_background(self) -> None:
        if self._compressing is None or not self._compressing.is_alive():
            self._compressing = threading.Thread(
                target=self._compress, name="audit-compressor", daemon=True
            )
            self._compressing.start()

    def _compress(self) -> None:
        while plain := [file for file in rotated_files(self._path) if file.paths[0].exists()]:
            try:
                compress(plain[0])
            except OSError as error:
                self._log.warning("audit_not_compressed", error=str(error))
                return

    def prune(self) -> None:
        """Delete rotated files that are too many or too old; the event that says so comes first.

        Looks once an hour and after rotations.
        """
        if not self._is_prune_due and time.monotonic() - self._pruned_at < _PRUNE_SECONDS:
            return
        self._is_prune_due, self._pruned_at = False, time.monotonic()
        rotated = rotated_files(self._path)
        oldest_kept = self._clock.now() - self._settings.keep_days * _DAY_SECONDS
        surplus = len(rotated) - self._settings.keep_files
        doomed = [
            file
            for index, file in enumerate(rotated)
            if index < surplus or file.last_written_at() < oldest_kept
        ]
        if not doomed:
            return
        kept = rotated[len(doomed) :]
        through = (kept[0].first_seq if kept else self._first_seq) - 1
        facts = {"files": len(doomed), "through_seq": through}
        self.add(act_fields(Act("audit_pruned", time.time(), facts=facts), str))
        self.flush()
        self.sync()
        for file in doomed:
            file.delete()
