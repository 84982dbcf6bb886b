"""The ways to open a database that no process serves, tried in order on a copy.

1. Plainly: the caller's own first attempt, which failed.
2. Again: DuckDB finishes in two opens what a crash in a checkpoint left.
3. By a newer engine, if there is one at hand: most bugs of a replay are fixed in a later version.
4. Attached: ``ATTACH`` from an in-memory instance binds expressions that a plain replay cannot.
5. Copied: every table is written into a new file, when the WAL can be replayed but not checkpointed.
6. Shortened: the longest beginning of the WAL that DuckDB accepts. The rest is kept in a file.

All but the last lose nothing. The last is taken only when the caller allows it, else only reported. A
newer engine leaves the file its storage version, and this engine opens the result before it is used.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from chronoduck.engine.disk_format import DatabaseFile
from chronoduck.engine.file_damage import Damage, confirm
from chronoduck.engine.offline.aside import free_name, free_suffix
from chronoduck.engine.offline.attempt import AttemptFailedError, Budget, Run, attempt, child_of
from chronoduck.engine.offline.files import (
    clone_database,
    clone_file,
    database_files,
    remove_database,
    side_files,
    sync_directory,
)
from chronoduck.engine.offline.held import HeldWal
from chronoduck.engine.offline.placing import (
    finish_placing,
    place_database,
    second_path,
    work_path,
)
from chronoduck.engine.offline.prefix import Transactions, find_longest, write_wal
from chronoduck.engine.offline.wal_repair import drop_failed_checkpoints
from chronoduck.errors import DatabaseFailedError
from chronoduck.errors.system import reason_of
from chronoduck.units import format_count

__all__ = ["Opening", "UnopenableError", "Way", "open_by_ways"]

_AGAIN = 2
_RECOVER = (
    "Run `chronoduck recover`: it restores what the replica holds and adds what follows it in this "
    "WAL. The files as they are stay beside it as ….corrupt-TIME."
)
_REPORT_SECONDS = 60.0
"""How long the search for a beginning may take that is only reported."""


class Way(StrEnum):
    """How a database was opened."""

    PLAIN = "plain"
    AGAIN = "again"
    NEWER_ENGINE = "newer_engine"
    ATTACHED = "attached"
    COPIED = "copied"
    SHORTENED = "shortened"


@dataclass(frozen=True)
class Opening:
    """How a database was opened, and what that cost."""

    way: Way = Way.PLAIN
    refusals: tuple[str, ...] = ()
    """Why the ways before it failed."""
    kept: int = 0
    """Transactions of the WAL that are in the database; counted when it was shortened."""
    lost: int = 0
    """Transactions that are not, at least."""
    rest: Path | None = None
    """The file that holds the bytes of the lost ones."""
    set_aside: tuple[Path, ...] = ()
    """The old files under their new names."""


class UnopenableError(DatabaseFailedError):
    """No way that loses nothing opens the database."""

    code = "database_unopenable"
    title = "The database cannot be opened by any way"
    retryable = False

    def __init__(
        self,
        database: Path,
        refusals: tuple[str, ...],
        kept: int | None,
        lost: int,
        hint: str = "",
        held: HeldWal | None = None,
        damage: Damage = Damage(),  # noqa: B008 - a frozen value
    ) -> None:
        self.refusals = refusals
        self.damage = damage
        """What the file shows to be wrong with itself, where the refusals point."""
        self.kept, self.lost = kept, lost
        """Transactions of the WAL with which it opens (None: not even the file alone does), and
        those it would be without."""
        first, others = refusals[0], len(refusals) - 1
        tried = "; every other way failed, too" if others else ""
        what = (
            "the file itself cannot be opened, whatever the WAL holds"
            if kept is None
            else f"it opens with the first {kept:,} of {format_count(kept + lost, 'transaction')} of "
            "its WAL"
            if lost
            else f"it opens with all {format_count(kept, 'transaction')} of its WAL, and cannot be "
            "checkpointed"
        )
        if held is not None:  # a replica has what would be left out
            what, hint = f"{what}, and {held.sentence}", _RECOVER
        super().__init__(
            f"{first}{tried}; {what}",
            hint=hint or _hint(kept, lost, damage),
            operator_detail=f"{'; '.join(refusals)}; {what}",
        )
        self.database = database


def _hint(kept: int | None, lost: int, damage: Damage) -> str:
    if kept is None:
        return (
            "Keep the files as they are. Restore the newest point (chronoduck recover) or a backup "
            "(chronoduck recover --from BACKUP)."
        )
    if damage or not lost:  # the WAL is not at fault: leaving transactions out would only lose them
        what = damage or "all transactions of the WAL can be read"
        return (
            f"Keep the files as they are: the file itself is damaged ({what}). Run `chronoduck "
            "recover`: it takes the newest point of the replica and adds what only this WAL has; "
            "`--from BACKUP` takes a backup in its place."
        )
    return (
        "Start once with DUCKDB_QUARANTINE_WAL=true: it keeps "
        f"{format_count(kept, 'transaction')} of the WAL and puts {lost:,} into a file. Or restore a "
        "backup, or an earlier point: chronoduck restore --list."
    )


def open_by_ways(
    database: Path,
    first: str,
    *,
    checkpoint: bool,
    may_shorten: bool = False,
    is_original: bool = False,
    skip_again: bool = False,
    newer_engine: Path | None = None,
    seconds: float = 120.0,
    memory_limit: str = "1GB",
    held: HeldWal | None = None,
    before_placing: Callable[[Path], None] = lambda new: None,
    run: Run = attempt,
) -> Opening:
    """Make a database openable after the plain attempt failed with the sentence ``first``.

    ``checkpoint``: the WAL must end up in the file. Without it a plain open that works is enough, and the
    caller does that itself (``Way.AGAIN``: up to three times). ``is_original``: the old files are set
    aside instead of deleted. ``skip_again``: a plain open has killed this caller twice.
    ``newer_engine``: the Python of an environment with chronoduck and a newer DuckDB.
    ``held``: what a replica holds of the WAL; a file without all of it never takes the database's name.
    ``before_placing`` gets the finished file before it takes the database's name.

    Raises:
        UnopenableError: no way is left; the files are as they were.
        DiskFullError: there is no space for a copy, and nothing was tried.
    """
    finish_placing(database)
    rescue = _Rescue(database, checkpoint, seconds, memory_limit, newer_engine, run, [first])
    try:
        return _rescue(rescue, may_shorten, is_original, skip_again, held, before_placing)
    finally:
        remove_database(rescue.work)
        remove_database(rescue.second)


def _rescue(
    rescue: _Rescue,
    may_shorten: bool,
    is_original: bool,
    skip_again: bool,
    held: HeldWal | None,
    before_placing: Callable[[Path], None],
) -> Opening:
    rescue.clone()
    transactions = Transactions.of(rescue.database)
    way = None if transactions.hidden else rescue.without_loss(skip_again)
    kept, refusals = 0, tuple(rescue.refusals)
    if way is Way.AGAIN and not rescue.checkpoint:
        return Opening(way, refusals)
    if way is None:
        until = None if may_shorten else time.monotonic() + _REPORT_SECONDS
        longest = rescue.longest(transactions, until, checkpoint=may_shorten)
        lost = transactions.count - (longest or 0)
        lacking = held and (None if held.is_in(transactions.prefix(longest or 0)) else held)
        if longest is None or not may_shorten or lacking:
            raise UnopenableError(
                *(rescue.database, refusals, longest, lost), held=lacking, damage=rescue.damage()
            )
        way, kept = Way.SHORTENED, longest
    elif held and not held.is_in(transactions.log):
        count = transactions.count
        raise UnopenableError(rescue.database, refusals, count, 0, held=held)
    lost = transactions.count - kept if way is Way.SHORTENED else 0
    rest = None
    if lost:
        rest = free_name(side_files(rescue.database)[0], "rest")
        write_file(rest, transactions.rest(kept))
    new = rescue.second if way is Way.COPIED else rescue.work
    _sync(new)
    before_placing(new)
    if is_original:
        aside = place_database(new, rescue.database, free_suffix(rescue.database, "corrupt"))
    else:
        remove_database(rescue.database)
        new.rename(rescue.database)
        aside = ()
    return Opening(way, refusals, kept, lost, rest, aside)


@dataclass
class _Rescue:
    """The copy that the ways are tried on, and why they failed."""

    database: Path
    checkpoint: bool
    seconds: float
    memory_limit: str
    newer_engine: Path | None
    run: Run
    refusals: list[str]
    _clean: tuple[int, int, int] | None = field(default=None)

    @property
    def work(self) -> Path:
        """The copy."""
        return work_path(self.database)

    @property
    def second(self) -> Path:
        """The file that tables are copied into."""
        return second_path(self.database)

    def clone(self) -> None:
        """Make the copy."""
        clone_database(self.database, self.work)
        drop_failed_checkpoints(self.work)

    def damage(self) -> Damage:
        """Return what the refusals point at, if the database file shows it."""
        with DatabaseFile(self.database) as file:
            return confirm("; ".join(self.refusals), file)

    def without_loss(self, skip_again: bool) -> Way | None:
        """Return the first way that loses nothing and works, None when there is none."""
        for _ in range(0 if skip_again else _AGAIN):
            failure = self._try("checkpoint" if self.checkpoint else "open", attach=False)
            if failure is None:
                return Way.AGAIN
            if failure.is_timeout:
                break  # the same again would take as long
        if self.newer_engine is not None and self._opens_by(self.newer_engine):
            return Way.NEWER_ENGINE
        self.refresh()
        if self._try("checkpoint", attach=True) is None:
            return Way.ATTACHED
        self.refresh()
        remove_database(self.second)
        if self._try("copy") is None:
            return Way.COPIED
        return None

    def _opens_by(self, python: Path) -> bool:
        """Whether another engine takes the WAL into the file, and this one opens the result."""
        self.refresh()
        try:
            if self._try("checkpoint", engine=python) is not None:
                return False
        except OSError as error:
            self.refusals.append(f"{python} cannot be run: {reason_of(error)}")
            return False
        return self._try("open") is None

    def _try(
        self, do: str, *, attach: bool = False, engine: Path | None = None
    ) -> AttemptFailedError | None:
        try:
            self._attempt(do, attach=attach, engine=engine)
        except AttemptFailedError as error:
            sentence = error.detail.replace(str(self.work), str(self.database))
            if engine is not None:
                sentence = f"{sentence} (by {engine})"
            if sentence not in self.refusals:
                self.refusals.append(sentence)
            return error
        return None

    def _attempt(self, do: str, *, attach: bool = False, engine: Path | None = None) -> None:
        arguments: dict[str, Any] = {"memory_limit": self.memory_limit}
        if engine is not None:
            arguments["command"] = child_of(str(engine))
        if do == "checkpoint":
            arguments["attach"] = attach
        if do == "copy":
            arguments = {"target": str(self.second)}
        self.run(do, self.work, Budget.of(self.database, self.seconds), **arguments)

    def refresh(self) -> None:
        """Bring the copy back to what the database is, after attempts that may have changed it."""
        if self._clean is None or self._clean != _identity(self.work):
            remove_database(self.work)
            self.clone()
        else:
            for path in side_files(self.work):
                path.unlink(missing_ok=True)
            for source in database_files(self.database)[1:]:
                name = self.work.name + source.name[len(self.database.name) :]
                clone_file(source, self.work.with_name(name))
            drop_failed_checkpoints(self.work)
        self._clean = _identity(self.work)

    def longest(
        self, transactions: Transactions, until: float | None, *, checkpoint: bool
    ) -> int | None:
        """Find the longest usable prefix of the WAL; with ``checkpoint`` the copy then contains it."""

        def opens(count: int) -> None:
            self.refresh()
            write_wal(self.work, transactions.prefix(count))
            self._attempt("open")

        def accept(count: int) -> None:
            self.refresh()
            write_wal(self.work, transactions.prefix(count))
            self._attempt("checkpoint")

        found = find_longest(opens, len(transactions.ends), until=until)
        if found is None or not checkpoint:
            return found
        with contextlib.suppress(AttemptFailedError):
            accept(found)
            return found
        # It opens and cannot be checkpointed: look for one that can.
        found = find_longest(accept, found)
        if found is not None:
            accept(found)
        return found


def _identity(path: Path) -> tuple[int, int, int]:
    facts = path.stat()
    return facts.st_ino, facts.st_size, facts.st_mtime_ns


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_file(path: Path, data: bytes) -> None:
    """Write a new file and its name durably."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    sync_directory(path.parent)
