"""The way from files on a disk to an open instance: checked, compared with the replica, repaired."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path

from chronoduck.engine.database import DuckDBInstance
from chronoduck.engine.offline import (
    AttemptFailedError,
    Budget,
    Opening,
    OpeningMark,
    Run,
    Way,
    attempt,
    finish_placing,
    open_by_ways,
    side_files,
)
from chronoduck.engine.paths import is_database_file
from chronoduck.engine.quarantine import check_headers, check_log, cut_torn_end
from chronoduck.engine.version_note import DatabaseVersionError
from chronoduck.errors import DamagedLogError, DatabaseFailedError, DatabaseFormatError
from chronoduck.logs import get_logger
from chronoduck.replication.automatic import (
    is_noted_database,
    recover_automatically,
    replica_holds_database,
)
from chronoduck.replication.link import ReplicatorLink
from chronoduck.replication.local_state import LocalState
from chronoduck.replication.shipped import find_held_wal
from chronoduck.settings import Settings

__all__ = ["OnOpening", "open_instance"]

OnOpening = Callable[[float | None], None]
"""Is told before DuckDB opens the file how many seconds it may take, and None when it has ended."""
_DAMAGED = (DatabaseFailedError, DatabaseFormatError)
_PLAIN_TRIES = 3
_MANY_DEATHS = 2
_log = get_logger("service")


async def open_instance(
    instance: DuckDBInstance,
    on_opening: OnOpening = lambda seconds: None,
    run: Run = attempt,
) -> ReplicatorLink | None:
    """Open the instance and return its replicator, which waits for ``begin``.

    What fails plainly is opened by another way that loses nothing (``engine.offline``). With
    ``DUCKDB_QUARANTINE_WAL`` the end of the WAL is left out that no way replays. With
    ``DUCKDB_AUTO_RECOVER`` a database that is missing, or that no way opens, is restored from the
    replica, unless the local WAL has more. ``run`` replaces the child processes in tests.

    Raises:
        DuckDBConnectionError: one of its subclasses; the hint names a way that can work.
    """
    if await asyncio.to_thread(_has_lost_its_file, instance.settings):
        await asyncio.to_thread(_recover_lost, instance)
    await asyncio.to_thread(instance.take)
    try:
        return await _Start(instance, on_opening, run).open()
    except BaseException:
        instance.ownership.release()
        raise


def _has_lost_its_file(settings: Settings) -> bool:
    """Whether there is a WAL without its database, or a file that was one, which may be restored.

    A file that is in the database's place is replaced only when the note beside it says that it was the
    database of this replica. A wrong ``DUCKDB_DATABASE_PATH`` must not cost anybody a file.
    """
    path = settings.database_path
    if not settings.auto_recover or settings.replica.url is None:
        return False
    if not path.exists():
        return any(wal.exists() for wal in side_files(path)[:2])
    return _is_no_database(path) and is_noted_database(settings)


def _is_no_database(path: Path) -> bool:
    try:
        return path.is_file() and not is_database_file(path)
    except OSError:
        return False  # that is said elsewhere


def _recover_lost(instance: DuckDBInstance) -> None:
    path = instance.settings.database_path
    instance.ownership.acquire()
    try:
        finish_placing(path)
        if not path.exists():
            recover_automatically(instance.settings, None)
        elif _is_no_database(path):
            damage = DatabaseFormatError(f"{path} does not begin like a DuckDB database")
            recover_automatically(instance.settings, damage)
    finally:
        instance.ownership.release()


class _Start:
    """One start."""

    def __init__(self, instance: DuckDBInstance, on_opening: OnOpening, run: Run) -> None:
        self._instance = instance
        self._settings = instance.settings
        self._path = instance.settings.database_path
        self._mark = OpeningMark(self._path)
        self._on_opening = on_opening
        self._run = run

    async def open(self) -> ReplicatorLink | None:
        if not self._settings.auto_recover or self._settings.replica.url is None:
            return await self._open_by_ways()
        if self._path.exists() or not await asyncio.to_thread(
            replica_holds_database, self._settings
        ):
            try:
                return await self._open_by_ways()
            except _DAMAGED as error:
                if isinstance(error, DatabaseVersionError):
                    raise
                await asyncio.to_thread(recover_automatically, self._settings, error)
        else:
            await asyncio.to_thread(recover_automatically, self._settings, None)
        return await self._open_by_ways()

    async def _open_by_ways(self) -> ReplicatorLink | None:
        """Open it plainly; after a failure, or after a process that died of that, by another way."""
        first = await asyncio.to_thread(self._foresee)
        if first is None:
            try:
                return await self._open_plainly(1)
            except DamagedLogError:
                raise
            except DatabaseFailedError as error:
                first = error.operator_detail
        opening = await asyncio.to_thread(self._repair, first)
        if opening.way is Way.AGAIN:
            try:
                return await self._open_plainly(_PLAIN_TRIES)
            except DatabaseFailedError as error:
                # A plain open that worked in a child is no promise: the other ways change the files.
                first = error.operator_detail
            await asyncio.to_thread(self._repair, first, skip_again=True)
        return await self._open_plainly(1)

    def _foresee(self) -> str | None:
        """Return why a plain open must not be tried in this process, None when it may be.

        Raises:
            DatabaseFailedError: DuckDB would drop a checkpoint in silence.
            DamagedLogError: It would drop transactions, and the settings do not allow to leave them out.
        """
        check_headers(self._path)
        try:
            check_log(self._path)
        except DamagedLogError as error:
            if not self._path.exists() or not self._settings.quarantine_wal:
                raise
            return error.operator_detail
        for torn in cut_torn_end(self._path):
            _log.warning(
                "torn_transaction_cut_off",
                bytes=torn.stat().st_size,
                file=str(torn),
                reason="the WAL ends inside a transaction, as a crash leaves it or a file cut short",
            )
        deaths = self._mark.deaths
        if deaths == 0 or not self._path.exists():
            return None
        _log.error("opening_died", deaths=deaths, action="try in other processes first")
        if deaths >= _MANY_DEATHS:
            return f"{deaths} processes died while they opened {self._path}"
        try:
            self._run(
                "open",
                self._path,
                Budget.of(self._path, self._settings.deadline.opening),
                memory_limit=self._memory_limit,
                read_only=True,  # writes nothing, so that it needs no copy
            )
        except AttemptFailedError as error:
            return error.detail
        return None

    @property
    def _memory_limit(self) -> str:
        return f"{self._instance.budget.limit_bytes}B"

    def _repair(self, first: str, *, skip_again: bool = False) -> Opening:
        _log.error("database_not_opened", reason=first, action="try other ways on a copy")
        opening = open_by_ways(
            self._path,
            first,
            checkpoint=False,
            may_shorten=self._settings.quarantine_wal,
            is_original=True,
            skip_again=skip_again or self._mark.deaths >= _MANY_DEATHS,
            newer_engine=self._settings.newer_engine,
            seconds=self._settings.deadline.opening,
            memory_limit=self._memory_limit,
            held=find_held_wal(self._settings),
            before_placing=self._note_for_replica,
            run=self._run,
        )
        _log.warning(
            "database_opened_by_another_way",
            way=opening.way,
            refusals=list(opening.refusals),
            set_aside=[str(path) for path in opening.set_aside],
        )
        if opening.way is Way.SHORTENED:
            _log.error(
                "log_quarantined",
                kept_transactions=opening.kept,
                lost_transactions=opening.lost,
                file=str(opening.rest),
            )
        return opening

    def _note_for_replica(self, new: Path) -> None:
        """Note that the file which takes the old one's place is this replica's database, too."""
        state = LocalState.read(self._path)
        if state is not None:
            LocalState.of_restored(
                state.replica_id, new, state.commits, state.time_us, state
            ).write(self._path)

    async def _open_plainly(self, tries: int) -> ReplicatorLink | None:
        link = await self._prepare_replicator()
        try:
            await asyncio.to_thread(self._connect, tries)
        except BaseException:
            if link is not None:
                await link.stop(0.0)
            raise
        return link

    async def _prepare_replicator(self) -> ReplicatorLink | None:
        if self._settings.replica.url is None:
            return None
        link = ReplicatorLink(self._settings)
        await link.prepare()
        return link

    def _connect(self, tries: int) -> None:
        budget = Budget.of(self._path, self._settings.deadline.opening)
        self._mark.set(self._mark.deaths)
        self._on_opening(budget.wall_seconds)
        try:
            for _ in range(tries - 1):
                with contextlib.suppress(DatabaseFailedError):
                    self._instance.open()
                    return
            self._instance.open()
        finally:
            self._on_opening(None)
            self._mark.clear()
