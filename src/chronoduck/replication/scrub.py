"""Reads the whole database file again and again, slowly: damage is found before it is needed."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from pathlib import Path

from chronoduck.engine.disk_format import BLOCK_BYTES, DatabaseFile, is_block_intact
from chronoduck.engine.file_damage import find_damage_in

__all__ = ["Scrubber"]

_PAUSE_SECONDS = 0.25
_ROUND_SECONDS = 3600.0
"""A round begins so long after the one before it began, at the earliest."""
_LENGTH_SECONDS = 5.0
"""How often the file's length is checked between two rounds."""
_SETTLE_SECONDS = (0.5, 4.0)
"""Waits between looks at a block that may be being written: a write takes milliseconds."""


class Scrubber:
    """A thread that checks each block against its checksum, at a bounded rate.

    A block that the replica holds with the very checksum that stands in the file was whole once: if
    its content does not fit any more, it has rotted. Another block that does not fit may be in the
    middle of being written, or a crash has torn it and nothing uses it. So it is read again, and it is
    damaged if the last checkpoint uses it. The same goes for blocks behind the end of the file.
    """

    def __init__(
        self,
        database: Path,
        is_shipped: Callable[[int, int], bool],
        *,
        bytes_per_second: float,
    ) -> None:
        self._database = database
        self._is_shipped = is_shipped
        self._blocks_per_pause = max(1, int(bytes_per_second * _PAUSE_SECONDS / BLOCK_BYTES))
        self._pause = self._blocks_per_pause * BLOCK_BYTES / max(1.0, bytes_per_second)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="scrub", daemon=True)
        self.share = 0.0
        self.ended_us = 0
        self._found: frozenset[int] = frozenset()
        """Of the round under way and the one before it."""
        self._missing: frozenset[int] = frozenset()

    @property
    def damaged(self) -> frozenset[int]:
        """Blocks that are damaged, or missing at the end of the file."""
        return self._found | self._missing

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End after the block under way."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            started = time.monotonic()
            try:
                with DatabaseFile(self._database) as file:
                    self._round(file)
            except OSError:
                pass  # the file is being replaced: next round
            self._watch_length(until=max(time.monotonic() + 1.0, started + _ROUND_SECONDS))

    def _watch_length(self, until: float) -> None:
        """Wait for the next round; a file that becomes shorter is noticed meanwhile."""
        while (left := until - time.monotonic()) > 0:
            if self._stop.wait(min(left, _LENGTH_SECONDS)):
                return
            with contextlib.suppress(OSError), DatabaseFile(self._database) as file:
                self._check_length(file)

    def _check_length(self, file: DatabaseFile) -> None:
        missing = find_damage_in(file).missing
        if missing:
            self._stop.wait(_SETTLE_SECONDS[0])
            missing &= find_damage_in(file).missing
        self._missing = missing

    def _round(self, file: DatabaseFile) -> None:
        found: set[int] = set()
        count = file.block_count
        for number in range(count):
            if number % self._blocks_per_pause == 0 and self._stop.wait(self._pause):
                return
            if not file.is_current():
                return
            if number % self._blocks_per_pause == 0:
                self._check_length(file)
            if self._is_damaged(file, number):
                found.add(number)
                self._found |= {number}
            self.share = (number + 1) / count
        self._check_length(file)
        self._found = frozenset(found)
        self.ended_us = time.time_ns() // 1000

    def _is_damaged(self, file: DatabaseFile, number: int) -> bool:
        block = file.block(number)
        for seconds in _SETTLE_SECONDS:
            if is_block_intact(block) or self._stop.wait(seconds):
                return False
            block = file.block(number)
        if is_block_intact(block):
            return False
        stored = int.from_bytes(block[:8], "little")
        return self._is_shipped(number, stored) or bool(find_damage_in(file, (number,)).blocks)
