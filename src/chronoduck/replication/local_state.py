"""A note beside the database: which replicas hold it, and how much of it.

Used when the replica cannot be asked, and to recognize the database by what this machine has seen.
"""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path

import orjson

from chronoduck.engine.disk_format import DatabaseFile, database_id, read_roots
from chronoduck.storage.durable_write import write_durably

__all__ = ["KnownReplica", "LocalState", "root_mark", "state_path"]

_MOST_REPLICAS = 16


def state_path(database: Path) -> Path:
    """Return the note's file."""
    return database.with_name(database.name + ".replica")


@dataclass(frozen=True)
class KnownReplica:
    """Another replica that this database was shipped to before."""

    url: str
    commits: int
    time_us: int
    generation: str


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
    url: str = ""
    """Where the replica was; empty in a note of the first chronoduck."""
    generation: str = ""
    """The newest one that was shipped."""
    database_id: str = ""
    """DuckDB's identifier of the file."""
    root_mark: str = ""
    """Of the newest checkpoint seen in the file, shipped or not."""
    others: dict[str, KnownReplica] = field(default_factory=dict)
    """Replicas of before, by id."""

    @classmethod
    def of_restored(
        cls,
        replica_id: str,
        database: Path,
        commits: int,
        time_us: int,
        before: LocalState | None = None,
    ) -> LocalState:
        """Return the note for a file just restored, which may well be older than the replica.

        ``before``: the note of the file that it replaces; what it knows of replicas stays known.
        """
        with DatabaseFile(database) as file:
            headers = file.headers()
            mark = root_mark(file, read_roots(headers)[0])
        known = before or cls(replica_id, "", 0, "", 0, 0)
        return replace(
            known.moved_to(replica_id, known.url if known.replica_id == replica_id else ""),
            headers_sha256=hashlib.sha256(headers).hexdigest(),
            log_bytes=0,
            log_sha256="",
            commits=commits,
            time_us=time_us,
            database_id=database_id(headers),
            root_mark=mark,
        )

    def moved_to(self, replica_id: str, url: str) -> LocalState:
        """Return the note for another replica; this one is remembered among the others."""
        if replica_id == self.replica_id:
            return replace(self, url=url or self.url)
        others = dict(self.others)
        if self.generation or self.commits:
            others[self.replica_id] = KnownReplica(
                self.url, self.commits, self.time_us, self.generation
            )
        back = others.pop(replica_id, None)
        kept = dict(list(others.items())[-_MOST_REPLICAS:])
        return LocalState(
            replica_id,
            self.headers_sha256 if back is None else "",
            0,
            "",
            back.commits if back else 0,
            back.time_us if back else 0,
            url,
            back.generation if back else "",
            self.database_id,
            self.root_mark,
            kept,
        )

    def knows_place(self, url: str) -> bool:
        """Whether a replica of this database was at an address."""
        if any(each.url == url for each in self.others.values()):
            return True
        # The first chronoduck did not note where: there was one replica, and it is asked for now.
        return bool(self.replica_id) and self.url in ("", url)

    @classmethod
    def read(cls, database: Path) -> LocalState | None:
        """Return the note, None when there is none that can be read."""
        names = {each.name for each in fields(cls)}
        with contextlib.suppress(OSError, orjson.JSONDecodeError, TypeError, AttributeError):
            facts = orjson.loads(state_path(database).read_bytes())
            known = {name: value for name, value in facts.items() if name in names}
            others = {key: KnownReplica(**each) for key, each in known.pop("others", {}).items()}
            return cls(**known, others=others)
        return None

    def write(self, database: Path) -> None:
        """Replace the note. An old one is harmless: it claims less than is true."""
        write_durably(state_path(database), [orjson.dumps(asdict(self))])


def root_mark(file: DatabaseFile, root: bytes) -> str:
    """Return a mark of one checkpoint: its root header, and where its catalog begins.

    A root header alone holds counters, which two databases may have in common. The mark stays the same
    until the second checkpoint after it.
    """
    return hashlib.sha256(root + file.catalog_start(root)).hexdigest()
