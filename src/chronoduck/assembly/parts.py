"""What exists while the database is open: built in one place, taken apart in one place."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Self, TypeVar

from chronoduck.assembly.accountability import Accountability
from chronoduck.assembly.backups import Backups
from chronoduck.assembly.compaction import Compaction
from chronoduck.assembly.declared_exports import DeclaredExports
from chronoduck.assembly.drills import Drills
from chronoduck.assembly.greedy_spillers import GreedySpillers
from chronoduck.assembly.greedy_writers import GreedyWriters
from chronoduck.assembly.observers import count_commits, note_catalog_changes, note_full_disk
from chronoduck.assembly.own_transactions import OwnTransactions
from chronoduck.assembly.refuted_wal import RefutedWal
from chronoduck.assembly.space_budgets import SpaceBudgets
from chronoduck.assembly.statement_statistics import StatementStatistics
from chronoduck.assembly.store_objects import StoreObjects
from chronoduck.assembly.sync_run import SyncTransactions
from chronoduck.assembly.syncs import Syncs
from chronoduck.engine.analyzers.analysis import Analysis
from chronoduck.engine.analyzers.nursery_link import nursery_of_this_process
from chronoduck.engine.analyzers.pool import AnalyzerPool
from chronoduck.engine.cancellation import CancelReason
from chronoduck.engine.checkpoint_room import file_space
from chronoduck.engine.checkpoints import Checkpointer
from chronoduck.engine.database import Connection, DuckDBInstance
from chronoduck.engine.disk_guard import DiskGuard
from chronoduck.engine.healing import Healer
from chronoduck.engine.live_definitions import LiveDefinitions
from chronoduck.engine.memory import available_cpus
from chronoduck.engine.ping import EnginePing
from chronoduck.engine.pool import ConnectionPool
from chronoduck.engine.proving import WalPosition
from chronoduck.engine.scopes.registry import Scopes
from chronoduck.engine.stored_results import StoredResults
from chronoduck.engine.upload_proof import UploadProof
from chronoduck.engine.wal_watch import WalWatch, index_lookup
from chronoduck.engine.workers import Workers
from chronoduck.errors import EngineRestartedError, ServiceUnavailableError
from chronoduck.export import ExportFile
from chronoduck.monitoring.sandbox import kernel_walls_of
from chronoduck.principals import LOCAL, Principal, Role, Scope
from chronoduck.replication.link import ReplicatorLink
from chronoduck.resilience.admission import Admission
from chronoduck.resilience.breaker import CircuitBreaker
from chronoduck.resilience.fair_threads import FairThreads
from chronoduck.resilience.write_gate import WriteGate
from chronoduck.service.acknowledging import AckBarrier
from chronoduck.service.catalog import Catalog
from chronoduck.service.documents import DocumentQueries
from chronoduck.service.encoded import EncodedQueries
from chronoduck.service.engine_access import EngineAccess
from chronoduck.service.exports import Exports
from chronoduck.service.job_store import JobStore
from chronoduck.service.jobs import JobRegistry
from chronoduck.service.queries import Queries
from chronoduck.service.quotas import Quotas
from chronoduck.service.records import Caller, StatementObserver
from chronoduck.service.runner import StatementRunner
from chronoduck.service.statement_jobs import StatementJobs
from chronoduck.service.stuck import StuckStatements
from chronoduck.service.write_admission import WriteAdmission
from chronoduck.shadow.link import ShadowLink
from chronoduck.sql.statements import StatementParser
from chronoduck.sync import SyncFile
from chronoduck.transfer import FileLoader
from chronoduck.transfer.group_commit import GroupCommit
from chronoduck.transfer.idempotency import IdempotencyKeys

__all__ = ["Parts"]

T = TypeVar("T")
_INTERRUPTED_SECONDS = 2.0
"""How long interrupted statements may take to come back at shutdown."""
_FAIR_SECONDS = 60.0
"""A principal whose statements held workers for long is counted on for so long."""


@dataclass
class Parts:
    """What exists between initialize and shutdown."""

    instance: DuckDBInstance
    workers: Workers
    closers: ThreadPoolExecutor
    access: EngineAccess
    runner: StatementRunner
    ping: EnginePing
    queries: Queries
    encoded: EncodedQueries
    catalog: Catalog
    loader: FileLoader
    checkpointer: Checkpointer
    link: ReplicatorLink | None
    shadow: ShadowLink
    refuted: RefutedWal
    jobs: JobRegistry
    statement_jobs: StatementJobs
    exports: Exports
    backups: Backups
    drills: Drills
    syncs: Syncs
    declared_exports: DeclaredExports
    guard: DiskGuard
    space: SpaceBudgets
    compaction: Compaction
    statistics: StatementStatistics
    started_at: float
    """``time.monotonic()``."""

    @classmethod
    def build(
        cls,
        instance: DuckDBInstance,
        parser: StatementParser,
        breaker: CircuitBreaker,
        observers: Sequence[StatementObserver],
        on_stuck: Callable[[str], None],
        link: ReplicatorLink | None,
        quotas: Quotas,
        statistics: StatementStatistics,
        declared: SyncFile,
        exported: ExportFile,
        accountability: Accountability,
    ) -> Self:
        """Join the rooms around an open instance and start them; call it on the event loop."""
        settings = instance.settings
        workers = Workers(settings.worker_threads, young=available_cpus())
        # Closing a connection may roll back for long; it must not wait for (or take) a worker, nor for
        # other connections that do so. A thread is started only when the others are busy.
        closers = ThreadPoolExecutor(settings.pool_size + 2, thread_name_prefix="chronoduck-closer")
        closers.submit(lambda: None)  # one thread at once: when memory is short none can be started
        pool: ConnectionPool[Connection] = ConnectionPool(
            instance.cursor, Connection.close, max_size=settings.pool_size, executor=closers
        )
        healer = Healer(
            instance,
            pool,
            closers,
            lambda: runner.leave_engine(),
            lambda reason: refuted.replace_process(reason),
        )
        gate = WriteGate()
        watch = WalWatch(settings.database_path, index_lookup(instance))
        checkpointer = Checkpointer(
            instance,
            healer,
            closers,
            gate,
            lambda: link is None or link.may_checkpoint,
            lambda: refuted.note_hanging(),
            watch.estimate,
            lambda: watch.holds_ddl,
            lambda: watch.logged_rows,
        )
        refuted = RefutedWal(
            instance,
            checkpointer,
            lambda seconds: runner.interrupt_readers(seconds),
            lambda: access.stuck.has_checkpoint,
            on_stuck,
            watch.iteration,
        )
        shadow = ShadowLink(
            settings,
            on_level=_ignore_level if link is None else link.note_proof,
            on_refuted=refuted.note_refuted,
        )
        refuted.watch(shadow)
        admission = Admission(
            settings.worker_threads,
            settings.queue_size,
            seats=settings.pool_size,
            place_share=settings.worker_share,
            seat_share=settings.connection_share,
            fair_seconds=_FAIR_SECONDS,
        )
        access = EngineAccess(
            instance,
            pool,
            healer,
            admission,
            workers,
            gate,
            checkpointer,
            Scopes(instance),
            StuckStatements(
                settings.worker_threads,
                settings.stuck_seconds,
                lambda: admission.waiting_for_want,
                refuted.replace_process,
                accountability.penalties.note_ignored_interrupt,
                lambda: runner.is_idle_but_for_stuck,
                lambda: runner.end_holder(),
            ),
            AckBarrier(watch, gate, checkpointer, settings.proof_timeout, shadow),
            accountability.penalties,
            record=accountability.record,
        )
        guard = DiskGuard(settings, checkpointer.reclaim, lambda: file_space(instance))
        checkpointer.on_failure = healer.on_failure = guard.note_end_of_volume
        greedy = GreedyWriters(
            settings, guard, checkpointer, GreedySpillers(settings, lambda: instance.temp_directory)
        )
        runner = StatementRunner(
            access,
            breaker,
            parser,
            Analysis(
                AnalyzerPool(
                    nursery_of_this_process(
                        has_stores=settings.enable_s3,
                        demanded=kernel_walls_of(settings.require_sandbox),
                    ),
                    settings.analyzers,
                ),
                LiveDefinitions(
                    instance.cursor,
                    lambda: instance.generation,
                    lambda: instance.catalog_changes,
                ),
                settings.analysis_timeout,
            ),
            settings,
            (
                *observers,
                count_commits(checkpointer),
                note_catalog_changes(access.scopes),
                note_full_disk(guard),
                greedy.observe,
            ),
            WriteAdmission(greedy.check, refuted.check_write, greedy.note),
            quotas,
            statistics.query_log,
            _object_reader(instance),
            results=StoredResults(settings.jobs_path),
        )
        greedy.watch(runner)
        queries = Queries(runner)
        files = FairThreads(max(2, settings.worker_threads), settings.worker_share, "files")
        own = OwnTransactions(runner, Caller("ingest"), leaves_state=False)
        keys = IdempotencyKeys(own, settings.ingest.keys)
        loader = FileLoader(
            OwnTransactions(runner, Caller("load")),
            instance.spool_directory,
            keys,
            GroupCommit(own, settings.ingest.queue, keys),
            UploadProof(
                instance.spool_directory,
                instance.budget.limit_bytes // (2 * max(2, settings.worker_threads)),
                settings.max_statement_timeout,
                kernel_walls_of(settings.require_sandbox),
            ),
            files,
        )
        space = SpaceBudgets(settings, instance.spool_directory)
        encoded = EncodedQueries(runner, instance.spool_directory, space.spools)
        store = JobStore(
            settings.jobs_path,
            settings.job.result_ttl,
            settings.job.space,
            share=settings.space_share,
            check_volume=space.check_jobs,
        )
        space.results = store.budget
        jobs = JobRegistry(store)
        backups = Backups(settings, checkpointer, jobs, instance.damage.look)
        drills = Drills(settings, jobs)
        syncs = Syncs(
            settings, declared, SyncTransactions(runner, queries), jobs, instance.spool_directory
        )
        exports = Exports(settings, runner, encoded, jobs, store, space.check_exports, files)
        declared_exports = DeclaredExports(
            exported,
            OwnTransactions(runner, Caller("export"), leaves_state=False),
            DocumentQueries(runner),
            exports,
            jobs,
            instance.spool_directory,
        )
        keys.start()
        checkpointer.start()
        backups.start()
        drills.start()
        syncs.start()
        declared_exports.start()
        if link is not None:
            link.begin()
        shadow.begin()
        return cls(
            instance=instance,
            workers=workers,
            closers=closers,
            access=access,
            runner=runner,
            ping=EnginePing(instance),
            queries=queries,
            encoded=encoded,
            catalog=Catalog(queries.execute, _in_thread(closers, access.scopes.plan)),
            loader=loader,
            checkpointer=checkpointer,
            link=link,
            shadow=shadow,
            refuted=refuted,
            jobs=jobs,
            statement_jobs=StatementJobs(encoded, jobs, store),
            exports=exports,
            backups=backups,
            drills=drills,
            syncs=syncs,
            declared_exports=declared_exports,
            guard=guard,
            space=space,
            compaction=Compaction(settings, instance, gate, checkpointer, healer, link, jobs),
            statistics=statistics,
            started_at=time.monotonic(),
        )

    async def abandon(self, grace_seconds: float) -> None:
        """Answer everybody, because this process ends without closing the database."""
        self.access.admission.close(EngineRestartedError("the server's process is being replaced"))
        await _wait_until(lambda: self.runner.is_idle_but_for_stuck, grace_seconds)
        self.runner.abandon_all()
        await self.statistics.abandon()

    def loader_for(self, caller: Caller) -> FileLoader:
        """Return the loader, with what it runs on the caller's account."""
        principal = caller.principal
        return self.loader.through(
            OwnTransactions(self.runner, caller),
            principal.id,
            is_capped=principal.role is not Role.ADMIN,
        )

    async def check_scope(self, scope: Scope, principal: Principal = LOCAL) -> None:
        """Refuse a scope that could not be kept; ``principal``: who asks for it.

        Raises:
            InvalidRequestError: names everything that is wrong.
            StatementRefusedError: a row filter is too long or too deep.
        """
        for grant in scope.tables:
            if grant.row_filter is not None:
                # In an analyzer first: what passes there is cheap to parse here.
                await self.runner.analysis.check_filter(grant.row_filter, grant.name, principal)
        await _in_thread(self.closers, self.access.scopes.check)(scope)

    async def close(self, grace_seconds: float) -> int:
        """Let statements finish within the grace period, interrupt the rest, close the file.

        Returns how many were interrupted.
        """
        runner = self.runner
        await _wait_until(lambda: not runner.list_running(), grace_seconds)
        interrupted = len(runner.list_running())
        await self.loader.close()
        runner.cancel_all(CancelReason.SHUTDOWN)
        self.access.admission.close(ServiceUnavailableError("the service is shutting down"))
        await self.backups.stop()
        await self.drills.stop()
        await self.syncs.stop()
        await self.declared_exports.stop()
        await self.jobs.close()
        await self.guard.stop()
        await self.refuted.stop()
        await self.checkpointer.stop()
        await self.access.healer.stop()
        await self.access.pool.close(_INTERRUPTED_SECONDS)
        self.ping.close()
        await self.shadow.stop()
        await self.statistics.close()  # before the file's next owner may come
        await asyncio.to_thread(self.instance.close)
        await asyncio.to_thread(self.access.barrier.watch.close)
        if self.link is not None:
            await self.link.stop(grace_seconds)
        self.workers.close()
        self.closers.shutdown(wait=False)
        await runner.close()
        runner.parser.close()
        self.access.scopes.close()
        return interrupted


def _object_reader(instance: DuckDBInstance) -> StoreObjects | None:
    """Return what reads objects for statements, where the engine cannot do it itself."""
    settings = instance.settings
    if not settings.enable_s3 or instance.extensions.get("httpfs") == "loaded":
        return None
    return StoreObjects(settings, instance.spool_directory)


def _ignore_level(level: str, until: WalPosition) -> None:
    """Do nothing: there is no replica whose points could be marked."""


def _in_thread(
    executor: ThreadPoolExecutor, call: Callable[[Scope], T]
) -> Callable[[Scope], Awaitable[T]]:
    """Return the call as one that does not block the event loop."""

    async def run(scope: Scope) -> T:
        return await asyncio.get_running_loop().run_in_executor(executor, call, scope)

    return run


async def _wait_until(condition: Callable[[], bool], seconds: float) -> None:
    """Poll until the condition holds or the time is over."""
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:  # noqa: ASYNC110 - many ways lead there
        await asyncio.sleep(0.02)
