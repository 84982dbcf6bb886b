"""Reads the whole database file again and again, slowly: damage is found before it is needed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

from chronoduck.engine.disk_format import BLOCK_BYTES, DatabaseFile, is_block_intact

__all__ = ["Scrubber"]

_PAUSE_SECONDS = 0.25
_ROUND_SECONDS = 3600.0
"""A round begins so long after the one before it began, at the earliest."""
_SETTLE_SECONDS = 0.5


class Scrubber:
    """A thread that checks each block against its checksum, at a bounded rate.

    A block that the replica holds with the very checksum that stands in the file was whole once: if
    its content does not agree any more, it has rotted. Blocks that the replica does not know are
    being written, or were torn by a crash and belong to nobody.
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
        self.damaged: frozenset[int] = frozenset()
        """Of the round under way and the one before it."""

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
            self._stop.wait(max(1.0, _ROUND_SECONDS - (time.monotonic() - started)))

    def _round(self, file: DatabaseFile) -> None:
        found: set[int] = set()
        count = file.block_count
        for number in range(count):
            if number % self._blocks_per_pause == 0 and self._stop.wait(self._pause):
                return
            if not file.is_current():
                return
            if self._is_damaged(file, number):
                found.add(number)
                self.damaged |= {number}
            self.share = (number + 1) / count
        self.damaged = frozenset(found)
        self.ended_us = time.time_ns() // 1000

    def _is_damaged(self, file: DatabaseFile, number: int) -> bool:
        for attempt in range(2):
            block = file.block(number)
            stored = int.from_bytes(block[:8], "little")
            if is_block_intact(block) or not self._is_shipped(number, stored):
                return False
            if attempt == 0:
                self._stop.wait(_SETTLE_SECONDS)
        return True
