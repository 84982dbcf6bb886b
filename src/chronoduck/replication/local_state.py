"""A note beside the database: which replica holds it, and how much. Used when that cannot be asked."""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson

from chronoduck.engine.disk_format import HEADER_BYTES
from chronoduck.storage.durable_write import write_durably

__all__ = ["LocalState", "state_path"]


def state_path(database: Path) -> Path:
    """Return the note's file."""
    return database.with_name(database.name + ".replica")


@dataclass(frozen=True)
class LocalState:
    """What this machine knows of its replica."""

    replica_id: str
    headers_sha256: str
    """Of the database file's headers, at the newest restore point (or as it was restored)."""
    log_bytes: int
    """How much of the log is in the replica."""
    log_sha256: str
    """Of that."""
    commits: int
    time_us: int

    @classmethod
    def of_restored(cls, replica_id: str, database: Path, commits: int, time_us: int) -> LocalState:
        """Return the note for a file just restored, which may well be older than the replica."""
        with database.open("rb") as file:
            headers = file.read(HEADER_BYTES)
        return cls(replica_id, hashlib.sha256(headers).hexdigest(), 0, "", commits, time_us)

    @classmethod
    def read(cls, database: Path) -> LocalState | None:
        """Return the note, None when there is none that can be read."""
        with contextlib.suppress(OSError, orjson.JSONDecodeError, TypeError):
            return cls(**orjson.loads(state_path(database).read_bytes()))
        return None

    def write(self, database: Path) -> None:
        """Replace the note. An old one is harmless: it claims less than is true."""
        write_durably(state_path(database), [orjson.dumps(asdict(self))])
