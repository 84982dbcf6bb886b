"""The live files as the shadow sees them: one checkpoint's file, and the WAL that belongs to it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from chronoduck.engine.disk_format import DatabaseFile, DatabaseHeader, read_header
from chronoduck.errors import DatabaseFormatError
from chronoduck.shadow.held_wal import HeldWal

__all__ = ["Generation", "LiveFiles"]

_STALLED_LOOKS = 50


@dataclass
class Generation:
    """What one checkpoint left, and what was committed since."""

    headers: bytes
    header: DatabaseHeader
    wal: HeldWal | None = None

    @property
    def iteration(self) -> int:
        """The checkpoint's number."""
        return self.header.iteration

    @property
    def offset(self) -> int:
        """Bytes of the WAL that were read."""
        return 0 if self.wal is None else self.wal.cursor.offset

    @property
    def commits(self) -> int:
        """Transactions that were read."""
        return 0 if self.wal is None else self.wal.cursor.commits

    @property
    def has_more(self) -> bool:
        """Whether the WAL has grown since it was read."""
        return self.wal is not None and self.wal.size > self.wal.cursor.offset

    def close(self) -> None:
        """Let go of the WAL."""
        if self.wal is not None:
            self.wal.close()
            self.wal = None


class LiveFiles:
    """Follows the database file and its WAL from checkpoint to checkpoint, without opening DuckDB."""

    def __init__(self, database: Path) -> None:
        self._database = database
        self._wal_path = database.with_name(database.name + ".wal")
        self.file: DatabaseFile | None = None
        self._stalled = 0

    def close(self) -> None:
        """Let go of the file."""
        if self.file is not None:
            self.file.close()
            self.file = None

    def is_same(self, generation: Generation) -> bool:
        """Whether no checkpoint was made since."""
        return self.file is not None and self.file.headers() == generation.headers

    def reopen(self) -> bool:
        """Hold the file that has the name now; False when it is another one than before, or none."""
        if self.file is not None and self.file.is_current():
            return True
        self.close()
        try:
            self.file = DatabaseFile(self._database)
        except FileNotFoundError:
            return False
        return False

    def begin(self, old: Generation | None) -> Generation | None:
        """Return the generation that the headers name now; None while a checkpoint is under way.

        Raises:
            DatabaseFormatError: the headers are damaged.
        """
        if self.file is None:
            return None
        headers = self.file.headers()
        try:
            header = read_header(headers)
        except DatabaseFormatError:
            if headers != self.file.headers():
                return None
            raise
        if old is not None and old.wal is not None and old.wal.is_current():
            return None  # the checkpoint has yet to delete its WAL
        generation = Generation(headers, header, self._hold())
        wal = generation.wal
        if wal is not None and wal.size and wal.checkpoint_root() == header.meta_block:
            generation.close()
            return None
        return generation

    def _hold(self) -> HeldWal | None:
        try:
            return HeldWal(self._wal_path)
        except FileNotFoundError:
            return None

    def follow_wal(self, generation: Generation) -> bool:
        """Hold the WAL that appeared; False when the one that was held is not the file's any more."""
        wal = generation.wal
        if wal is not None and wal.is_current():
            self._stalled = 0
            return not wal.was_taken_back()
        if wal is None or wal.cursor.commits == 0:
            generation.close()
            generation.wal = self._hold()
            return True
        # It was deleted and the headers are as before: they were read a moment too early.
        self._stalled += 1
        return self._stalled < _STALLED_LOOKS
