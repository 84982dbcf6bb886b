"""The WAL as the service watches it: which transactions need a proof, and what a replay would cost.

DuckDB keeps POSIX locks on both files. Closing any descriptor of a file drops the process's lock on
it: the database file is never opened here (its header is read through DuckDB's own descriptor), and
a WAL is closed only once DuckDB has deleted it.

DuckDB syncs a WAL's bytes at each commit, but never the directory. POSIX keeps the name of a new file
only by a sync of its directory. So ``look`` syncs it, once for each new WAL, before a commit in it is
acknowledged.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import duckdb

from chronoduck.engine.checkpoint_room import LoggedRows
from chronoduck.engine.database import DuckDBInstance
from chronoduck.engine.disk_format.database_file import HEADER_BYTES, read_header
from chronoduck.engine.disk_format.wal_entries import WalWork, walk
from chronoduck.engine.offline import sync_directory
from chronoduck.engine.proving import WalPosition
from chronoduck.errors import DatabaseFormatError, DuckDBConnectionError

__all__ = ["Suspect", "WalWatch", "index_lookup"]

HasIndex = Callable[[str, str], bool]
"""Whether the table (schema, name) has an index, be it that of a key."""
_Identity = tuple[int, int]
"""Device and inode."""
_SEAM_BYTES = 4096
"""More than the DDL of one statement takes: two of the same length differ in it somewhere."""

_FIND_INDEX = """
SELECT EXISTS (FROM duckdb_indexes() WHERE database_name = current_database()
               AND schema_name = $schema AND table_name = $name)
    OR EXISTS (FROM duckdb_constraints() WHERE database_name = current_database()
               AND schema_name = $schema AND table_name = $name
               AND constraint_type IN ('PRIMARY KEY', 'UNIQUE'))
"""


def index_lookup(instance: DuckDBInstance) -> HasIndex:
    """Return what asks the instance; a table of which it does not answer counts as indexed."""

    def has_index(schema: str, name: str) -> bool:
        try:
            cursor = instance.cursor()
            try:
                found = cursor.execute(_FIND_INDEX, {"schema": schema, "name": name}).fetchone()
            finally:
                cursor.close()
        except (duckdb.Error, DuckDBConnectionError):
            return True
        return found is None or bool(found[0])

    return has_index


@dataclass
class _Wal:
    """One file, held from its first transaction to its deletion."""

    descriptor: int
    identity: _Identity
    work: WalWork = field(default_factory=WalWork)
    seam: bytes = b""
    """The last bytes that were read: other bytes there are another transaction's."""
    suspect_end: int = 0
    """The end of the last transaction that needs a proof."""
    settled_end: int = 0
    """Nothing before it needs one any more."""
    is_gone: bool = False
    """A checkpoint has taken it into the database file."""


@dataclass(frozen=True)
class Suspect:
    """A place in a WAL up to which a proof is needed."""

    wal: _Wal
    end: int

    @property
    def is_settled(self) -> bool:
        """Whether it was proven, or is in the database file."""
        return self.wal.is_gone or self.wal.settled_end >= self.end


class WalWatch:
    """Reads what was committed; safe from any thread."""

    def __init__(self, database: Path, has_index: HasIndex) -> None:
        """``has_index`` is called in the thread that looks, and only for bulk rows."""
        self._database = database
        self._paths = tuple(
            str(database.with_name(f"{database.name}.wal{end}")) for end in ("", ".checkpoint")
        )
        """Of a checkpoint that runs beside writers, whose commits go to the second one."""
        self._has_index = has_index
        self._held: dict[_Identity, _Wal] = {}
        self._names: dict[str, _Identity] = {}
        """The WAL that each name meant when the directory was synced last."""
        self._lock = threading.Lock()
        self.reads = 0
        """Bytes of WAL that were looked at, for its costs."""

    def estimate(self) -> float:
        """Look, and return about how long a start would replay; see ``replay_seconds``.

        A WAL that cannot be read now counts as it was seen last.
        """
        with contextlib.suppress(OSError):
            self.look()
        return self.replay_seconds

    def look(self) -> Suspect | None:
        """Read what is new; return the last transaction that still needs a proof.

        When it returns, a power cut cannot take the name from a WAL that was there before.

        Raises:
            OSError: A WAL cannot be read, or its directory cannot be synced.
        """
        with self._lock:
            self._follow()
            return self._last_suspect()

    def _last_suspect(self) -> Suspect | None:
        for path in reversed(self._paths):
            wal = self._named(path)
            if wal is not None and wal.suspect_end > wal.settled_end:
                return Suspect(wal, wal.suspect_end)
        return None

    def _named(self, path: str) -> _Wal | None:
        identity = self._names.get(path)
        return None if identity is None else self._held.get(identity)

    def _follow(self) -> None:
        names = self._find_names()
        while True:
            self._keep_names(names)
            for path, identity in names.items():
                wal = self._held.get(identity) or self._open(path)
                if wal is not None:
                    self._read(wal, os.fstat(wal.descriptor).st_size)
            # A checkpoint that ended meanwhile has given the second WAL the name of the first.
            before, names = names, self._find_names()
            if names == before:
                break
        for identity in self._held.keys() - set(names.values()):
            gone = self._held.pop(identity)
            gone.is_gone = True
            os.close(gone.descriptor)

    def _find_names(self) -> dict[str, _Identity]:
        return {path: found for path in self._paths if (found := _identity(path)) is not None}

    def _keep_names(self, names: dict[str, _Identity]) -> None:
        """Sync the directory when a name means another WAL than at the last sync."""
        if names.items() - self._names.items():
            sync_directory(self._database.parent)
        # The descriptors keep these inodes from being given to other files until the next look.
        self._names = names

    def _open(self, path: str) -> _Wal | None:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        status = os.fstat(descriptor)
        wal = _Wal(descriptor, (status.st_dev, status.st_ino))
        # A second descriptor of a WAL stays open: closing it would drop DuckDB's lock.
        return self._held.setdefault(wal.identity, wal)

    def _read(self, wal: _Wal, size: int) -> None:
        work, descriptor = wal.work, wal.descriptor
        start = work.offset - len(wal.seam)
        is_same = size >= work.offset and os.pread(descriptor, len(wal.seam), start) == wal.seam
        if is_same and size == work.offset:
            return
        if not is_same:
            # DuckDB has cut off a transaction that it could not commit.
            work = wal.work = WalWork()
            wal.suspect_end = wal.settled_end = 0
        before = work.offset
        walk(lambda offset, count: os.pread(descriptor, count, offset), size, work)
        self.reads += work.offset - before
        start = max(0, work.offset - _SEAM_BYTES)
        wal.seam = os.pread(descriptor, work.offset - start, start)
        if before == 0 and work.offset == 0 and size > HEADER_BYTES:
            wal.suspect_end = size  # a format that is not known
        ends = [end for end, table in work.bulk if table is None or self._is_indexed(table)]
        work.bulk.clear()
        wal.suspect_end = max(wal.suspect_end, work.catalog_end, *ends, 0)

    def _is_indexed(self, table: tuple[str, str]) -> bool:
        return self._has_index(*table)

    def position(self, suspect: Suspect) -> WalPosition | None:
        """Return where it is for a prover; None while a checkpoint runs, which has to end first."""
        with self._lock:
            if self._named(self._paths[0]) is not suspect.wal:
                return None
        iteration = self.iteration()
        return None if iteration is None else WalPosition(iteration, suspect.end)

    def iteration(self) -> int | None:
        """Return the number of the checkpoint that the WAL follows; None: it cannot be read."""
        with self._lock:
            wal = self._named(self._paths[0])
            known = None if wal is None else wal.work.iteration
        return self._read_iteration() if known is None else known

    def settle(self, suspect: Suspect, until: int | None = None) -> None:
        """Note that everything up to ``until`` in its WAL needs no proof any more."""
        with self._lock:
            wal = suspect.wal
            wal.settled_end = max(wal.settled_end, suspect.end if until is None else until)

    @property
    def replay_seconds(self) -> float:
        """About how long a start would replay what was seen last."""
        return sum(wal.work.replay_seconds for wal in list(self._held.values()))

    @property
    def logged_rows(self) -> LoggedRows:
        """What was seen last of changes of rows."""
        works = [wal.work for wal in list(self._held.values())]
        return LoggedRows(
            sum(work.rows_deleted for work in works), sum(work.rows_updated for work in works)
        )

    @property
    def holds_ddl(self) -> bool:
        """Whether what was seen last has more than plain changes of rows."""
        return any(wal.work.catalog_end for wal in list(self._held.values()))

    def close(self) -> None:
        """Let go of the WAL, once DuckDB has closed it."""
        with self._lock:
            for wal in self._held.values():
                wal.is_gone = True
                os.close(wal.descriptor)
            self._held, self._names = {}, {}

    def _read_iteration(self) -> int | None:
        """Return the number of the last checkpoint, by the header that DuckDB itself has open."""
        wanted = self._database.stat()
        for descriptor in _descriptors():
            with contextlib.suppress(OSError, DatabaseFormatError):
                if os.path.samestat(os.fstat(descriptor), wanted):
                    return read_header(os.pread(descriptor, HEADER_BYTES, 0)).iteration
        return None


def _identity(path: str) -> _Identity | None:
    try:
        status = os.stat(path)  # noqa: PTH116 - a path object would double its 2 µs
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def _descriptors() -> Sequence[int]:
    try:
        return [int(each.name) for each in Path("/proc/self/fd").iterdir()]
    except OSError:
        return []
