"""The longest beginning of a WAL with which DuckDB opens the file, found by bisection."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from chronoduck.engine.disk_format import (
    find_damage,
    transaction_ends,
)
from chronoduck.engine.offline.attempt import AttemptFailedError
from chronoduck.engine.offline.files import side_files
from chronoduck.engine.offline.replayed_wal import replayed_wal

__all__ = ["Transactions", "find_longest", "write_wal"]


@dataclass(frozen=True)
class Transactions:
    """The transactions that a database's WAL holds and the file does not."""

    log: bytes
    ends: tuple[int, ...]
    """Where in ``log`` each of them ends."""
    hidden: int
    """At least so many more stand behind damage, where nothing can be read any more."""

    @classmethod
    def of(cls, database: Path) -> Transactions:
        """Read them; no process has the database open."""
        log = replayed_wal(database)
        damages = [
            find_damage(path.read_bytes()) for path in side_files(database)[:2] if path.exists()
        ]
        hidden = sum(damage.lost_commits for damage in damages if damage is not None)
        return cls(log, tuple(transaction_ends(log)), hidden)

    @property
    def count(self) -> int:
        """How many there are, the hidden ones included."""
        return len(self.ends) + self.hidden

    def prefix(self, count: int) -> bytes:
        """Return the WAL with the first ``count`` of them."""
        return self.log[: self.ends[count - 1]] if count else b""

    def rest(self, count: int) -> bytes:
        """Return the bytes behind the first ``count`` of them."""
        return self.log[self.ends[count - 1] if count else 0 :]


def find_longest(
    accepts: Callable[[int], None], count: int, *, until: float | None = None
) -> int | None:
    """Return how many of ``count`` transactions are accepted, None when not even none of them is.

    ``accepts(n)`` raises AttemptFailedError when DuckDB refuses the first ``n``. The result ``n`` was
    accepted and ``n + 1`` refused, unless ``until`` (``time.monotonic()``) came first: then more
    might be accepted.
    """
    if not _try(accepts, 0):
        return None
    low, high = 0, count
    if _try(accepts, count):  # what refused it before was something else, such as damage behind
        return count
    while high - low > 1 and (until is None or time.monotonic() < until):
        middle = (low + high) // 2
        if _try(accepts, middle):
            low = middle
        else:
            high = middle
    return low


def _try(accepts: Callable[[int], None], count: int) -> bool:
    try:
        accepts(count)
    except AttemptFailedError:
        return False
    return True


def write_wal(database: Path, log: bytes) -> None:
    """Write and sync the WAL of a database that no process has open; remove the files beside it."""
    for path in side_files(database):
        path.unlink(missing_ok=True)
    if log:
        descriptor = os.open(
            side_files(database)[0], os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640
        )
        with os.fdopen(descriptor, "wb") as file:
            file.write(log)
            file.flush()
            os.fsync(file.fileno())
