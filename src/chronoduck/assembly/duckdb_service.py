"""``DuckDBService``: builds every object from settings, starts and stops them in order."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

import pyarrow as pa

from chronoduck import __version__
from chronoduck.assembly.accountability import Accountability
from chronoduck.assembly.opening import OnOpening, open_instance
from chronoduck.assembly.parts import Parts
from chronoduck.assembly.process_end import ClosedAtEnd
from chronoduck.assembly.sandbox import Sandbox
from chronoduck.assembly.state import make_reports
from chronoduck.assembly.statement_statistics import StatementStatistics
from chronoduck.assembly.templates import load_templates
from chronoduck.engine.database import Connection, DuckDBInstance
from chronoduck.engine.execution import FetchMode, Params
from chronoduck.engine.inspection import ENGINE_VERSION
from chronoduck.engine.known_bugs import durability_bugs
from chronoduck.engine.pool import ConnectionPool
from chronoduck.errors import EngineRestartedError, ServiceUnavailableError
from chronoduck.export import read_export_file
from chronoduck.logs import get_logger
from chronoduck.monitoring.audit import AuditTrail
from chronoduck.monitoring.metrics import MetricsPage
from chronoduck.monitoring.reports import Reports
from chronoduck.monitoring.restarts import RestartHistory
from chronoduck.monitoring.statement_log import StatementLog
from chronoduck.monitoring.tracing import open_tracing
from chronoduck.principals import LOCAL
from chronoduck.resilience.breaker import CircuitBreaker, CircuitBreakerConfig
from chronoduck.service.batch import Query, run_batch
from chronoduck.service.queries import run_and_fetch
from chronoduck.service.quotas import Quotas
from chronoduck.service.records import Caller
from chronoduck.service.results import QueryResult
from chronoduck.service.templates import TemplateLibrary
from chronoduck.service.transactions import Transaction, open_transaction
from chronoduck.settings import Settings, load_settings
from chronoduck.sql.masking import mask_message, mask_statement
from chronoduck.sql.statements import StatementParser
from chronoduck.supervision.running_record import RunningRecord
from chronoduck.sync import read_sync_file

__all__ = ["DuckDBService"]


class DuckDBService:
    """One DuckDB file for many users at once. Use from one event loop.

    Opens the file at the first use, exactly once however many tasks ask; after ``shutdown`` only an
    explicit ``initialize`` opens it again.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        on_stuck: Callable[[str], None] = lambda reason: None,
        restarts: RestartHistory | None = None,
        on_opening: OnOpening = lambda seconds: None,
        record: RunningRecord | None = None,
        local_directories: Sequence[Path] = (),
    ) -> None:
        """Make a service that is not open yet.

        ``on_stuck`` is called, again and again, with the reason why only a new process helps:
        statements that do not listen to their interrupt, or a failed instance that cannot be closed.
        It may begin to replace this process, see ``abandon``; by itself the service only tells it in
        its health. ``restarts``: what a supervisor knows of the processes before this one.
        ``on_opening`` is called with the seconds that DuckDB may take to open the file, and with None
        when it has: a process that dies or hangs in between should be replaced once. ``record`` is
        where a supervisor reads what works, after this process has died. ``local_directories``: where
        this process's own statements may read and write files.
        """
        self._on_opening, self._local_directories = on_opening, local_directories
        self._on_stuck = on_stuck
        self._restarts = restarts or RestartHistory()
        self.settings = settings or load_settings()
        breaker = self.settings.breaker
        self.circuit_breaker = CircuitBreaker(
            "duckdb",
            CircuitBreakerConfig(
                failure_threshold=breaker.failure_threshold,
                success_threshold=breaker.success_threshold,
                timeout_seconds=breaker.timeout_seconds,
                max_timeout_seconds=breaker.max_timeout_seconds,
                window_seconds=breaker.window_seconds,
            ),
        )
        self.quotas = Quotas(self.settings.quota.of)
        """What every principal may use and uses."""
        self._statistics = StatementStatistics(self.settings)
        self._statement_log = StatementLog(self.settings.slow_query_seconds)
        self.metrics = MetricsPage(version("chronoduck"), version("duckdb"))
        self.audit = AuditTrail(
            self.settings.audit_path,
            self.settings.audit,
            mask_statement=mask_statement,
            mask_message=mask_message,
        )
        """The append-only trail; ``record`` and ``act`` are for every room."""
        self._accountability = Accountability(
            self.settings, self.quotas, self.audit, self._restarts, record
        )
        self.penalties = self._accountability.penalties
        """Who has to wait because of what its statements broke."""
        self._sandbox = Sandbox(self.settings, is_supervised=self._restarts.is_supervised)
        self.record = self._accountability.record
        """What works now, for the supervisor to read after a crash."""
        self.tracing = open_tracing(__version__) if self.settings.tracing else None
        self._log = get_logger("service")
        self._parts: Parts | None = None
        self._templates: TemplateLibrary | None = None
        self._starting = asyncio.Lock()
        self._is_stopped = False
        self._is_draining = False
        self._is_abandoned = False
        self._reports: Reports | None = None
        self._closed_at_end = ClosedAtEnd(self._shutdown_at_end, self._close_engine)

    # --- life ---------------------------------------------------------------------------------

    async def initialize(self) -> None:
        """Open the database and start; does nothing when that was done already.

        Raises:
            DuckDBConnectionError: the file cannot be opened; the hint tells the fix.
            TemplateError: a template is broken.
        """
        async with self._starting:
            if self._parts is None:
                await self._start()
                await self._closed_at_end.watch()

    async def _start(self) -> None:
        started, parser = time.monotonic(), await asyncio.to_thread(StatementParser)
        self._templates = await asyncio.to_thread(load_templates, self.settings, parser)
        declared = await asyncio.to_thread(read_sync_file, self.settings.sync_file)
        exported = await asyncio.to_thread(read_export_file, self.settings.export.file)
        instance = DuckDBInstance(self.settings, self._local_directories)
        link = await open_instance(instance, self._on_opening)
        try:
            await asyncio.to_thread(self._sandbox.check, instance)
            await asyncio.to_thread(self.audit.open)
            await self._statistics.open()
            await self._accountability.open()
        except BaseException:
            await asyncio.to_thread(instance.close)
            if link is not None:
                await link.stop(0.0)
            raise
        self._parts = Parts.build(
            instance,
            parser,
            self.circuit_breaker,
            observers=(
                self._statistics.record,
                self._statement_log.record,
                self.metrics.statements.record,
                self.audit.statement,
                *([self.tracing.statement] if self.tracing else []),
            ),
            on_stuck=self._on_stuck,
            link=link,
            quotas=self.quotas,
            statistics=self._statistics,
            declared=declared,
            exported=exported,
            accountability=self._accountability,
        )
        self._accountability.start()
        await self._parts.guard.start()
        await self._parts.jobs.open()
        self._parts.exports.open()
        await asyncio.to_thread(self._parts.drills.note_interrupted)
        self._is_stopped = self._is_draining = False
        self._log.info(
            "service_started",
            database=str(self.settings.database_path),
            memory_limit_bytes=instance.budget.limit_bytes,
            memory_limit_from=instance.budget.reason,
            extensions=instance.extensions,
            engine=ENGINE_VERSION,
            durability_bugs=durability_bugs(),
            seconds=round(self._parts.started_at - started, 3),
        )
        self.audit.record("service_started", LOCAL, chronoduck=__version__, pid=os.getpid())

    async def shutdown(self) -> None:
        """Let running statements finish within the grace period, interrupt the rest, close the file.

        Idempotent. New statements are refused from the first moment on.
        """
        self._is_draining = True
        async with self._starting:
            parts, self._parts = self._parts, None
            self._is_stopped = True
            self._closed_at_end.forget()
            if parts is None:
                return
            interrupted = await parts.close(self.settings.shutdown_grace)
            if interrupted:
                self._log.warning("shutdown_interrupted_statements", count=interrupted)
            await self._accountability.close()
            self._log.info("service_stopped", graceful=not interrupted)
            self.audit.record("service_stopped", LOCAL, interrupted_statements=interrupted)
            await asyncio.to_thread(self.audit.close)
            if self.tracing is not None:
                await asyncio.to_thread(self.tracing.flush)

    async def _shutdown_at_end(self) -> None:
        if self._parts is None or self._is_abandoned:
            return
        self._log.warning("service_left_open", fix="Call shutdown(), or use `async with`.")
        self._starting = asyncio.Lock()  # the next one who opens it may do so on another loop
        await self.shutdown()

    def _close_engine(self) -> None:
        parts, self._parts = self._parts, None
        self._is_stopped = self._is_draining = True
        if parts is not None and not self._is_abandoned:
            parts.instance.close()

    async def abandon(self, grace_seconds: float) -> None:
        """Let statements end within the time and answer the rest, because this process ends.

        The database is not closed: what was acknowledged is in the file and its log. Reads, and what
        has not begun, get EngineRestartedError; a write that runs, WriteOutcomeUnknownError.
        """
        self._is_abandoned = True
        if self._parts is not None:
            await self._parts.abandon(grace_seconds)
            await self._accountability.close()

    async def __aenter__(self) -> Self:
        await self.initialize()
        return self

    async def __aexit__(self, *raised: object) -> None:
        await self.shutdown()

    @property
    def is_initialized(self) -> bool:
        """Whether the database is open and statements are accepted."""
        return self._parts is not None and not self._is_draining

    # --- statements ---------------------------------------------------------------------------

    async def execute_query(
        self,
        query: str,
        params: Params = None,
        fetch_mode: FetchMode = "all",
        timeout: float | None = None,
        *,
        max_rows: int | None = None,
        caller: Caller | None = None,
    ) -> QueryResult:
        """Run one statement; ``params`` is a list for ``?`` or a dict for ``$name``.

        Raises:
            DuckDBQueryError: the statement is at fault.
            DuckDBResourceError: it did not fit into memory, disk or queue.
            DuckDBConnectionError: the engine failed or is not there.
            CircuitBreakerOpenException: it failed repeatedly; wait.
        """
        parts = await self.parts()
        return await parts.queries.execute(
            query, params, fetch_mode=fetch_mode, max_rows=max_rows, timeout=timeout, caller=caller
        )

    async def execute_batch(
        self,
        queries: Sequence[Query],
        use_transaction: bool = True,
        timeout: float | None = None,
        *,
        caller: Caller | None = None,
    ) -> list[QueryResult]:
        """Run statements in order, all or nothing unless ``use_transaction`` is false.

        Raises:
            BatchError: names the failing statement by index and text.
        """
        parts = await self.parts()
        return await run_batch(
            parts.runner,
            queries,
            run_and_fetch,
            use_transaction=use_transaction,
            timeout=timeout,
            caller=caller or Caller(),
        )

    def transaction(
        self, timeout: float | None = None, *, caller: Caller | None = None
    ) -> AbstractAsyncContextManager[Transaction]:
        """Return a block that commits at its end and rolls back on any exception or cancellation."""
        return self._transaction(caller or Caller(), timeout)

    @asynccontextmanager
    async def _transaction(
        self, caller: Caller, timeout: float | None
    ) -> AsyncIterator[Transaction]:
        parts = await self.parts()
        async with open_transaction(parts.runner, caller, timeout) as opened:
            yield opened

    async def stream(
        self,
        query: str,
        params: Params = None,
        timeout: float | None = None,
        *,
        caller: Caller | None = None,
    ) -> AsyncGenerator[pa.RecordBatch, None]:
        """Yield the result as Arrow record batches, memory flat whatever its size."""
        parts = await self.parts()
        batches = parts.queries.stream(query, params, timeout=timeout, caller=caller)
        try:
            async for batch in batches:
                yield batch
        finally:
            await batches.aclose()

    # --- parts that the API and the command line use ------------------------------------------

    async def parts(self) -> Parts:
        """Return what the open service is made of; opens it if nobody did.

        Raises:
            DuckDBConnectionError: it cannot be opened, or was shut down.
        """
        if self._is_abandoned:
            raise EngineRestartedError("the server's process is being replaced")
        if self._parts is None or self._is_draining:
            if self._is_stopped or self._is_draining:
                raise ServiceUnavailableError(
                    "the service was shut down", hint="Call initialize() to open it again."
                )
            await self.initialize()
        assert self._parts is not None  # noqa: S101 - initialize() sets it or raises
        return self._parts

    async def templates(self) -> TemplateLibrary:
        """Return the query templates."""
        await self.parts()
        assert self._templates is not None  # noqa: S101 - loaded before the database is opened
        return self._templates

    @property
    def spool_directory(self) -> Path:
        """Where uploads wait; statements may read there.

        Raises:
            ServiceUnavailableError: the service is not initialised.
        """
        if self._parts is None:
            raise ServiceUnavailableError("the service is not initialised")
        return self._parts.instance.spool_directory

    @property
    def connection_pool(self) -> ConnectionPool[Connection]:
        """The pool, for callers that need a raw connection.

        Raises:
            ServiceUnavailableError: the service is not initialised.
        """
        if self._parts is None:
            raise ServiceUnavailableError("the service is not initialised")
        return self._parts.access.pool

    async def announce(self, url: str) -> None:
        """Tell other processes where this service is served; a full disk is only noted in the log."""
        if self._parts is not None:
            try:
                await asyncio.to_thread(self._parts.instance.ownership.announce, url)
            except OSError as error:
                self._log.warning("address_not_announced", reason=str(error))

    # --- reports ------------------------------------------------------------------------------

    async def health_check(self) -> dict[str, Any]:
        """Return the health report; works in every state and never waits for statements."""
        return await (await self._report()).health()

    async def get_statistics(self) -> dict[str, Any]:
        """Return counters, durations and the machine's load."""
        return (await self._report()).statistics()

    async def get_statement_statistics(
        self, order: str = "total_time", limit: int = 20
    ) -> list[dict[str, Any]]:
        """Return the most expensive statements by normalised text, first by ``order``; times in s."""
        return await self._statistics.top(order, limit)

    async def get_performance_metrics(self) -> dict[str, Any]:
        """Return the short performance report."""
        return (await self._report()).performance_metrics()

    async def render_metrics(self, accept: str, *, show_versions: bool) -> tuple[bytes, str]:
        """Return the page that Prometheus scrapes and its media type; never waits for statements."""
        report = await self._report()
        return self.metrics.render(
            accept,
            show_versions=show_versions,
            health=await report.health(),
            statistics=report.statistics(),
            replication=report.replication(),
            backups=report.backups(),
            syncs=report.syncs(),
            exports=report.exports(),
        )

    async def release_penalty(self, name: str, caller: Caller) -> str | None:
        """Forget all that is held against a party, over restarts, too; see `Accountability`."""
        return await self._accountability.release(name, caller)

    async def get_replication_status(self) -> dict[str, Any]:
        """Return how far the replica is behind, what it holds, and the checkpoints."""
        return (await self._report()).replication()

    async def _report(self) -> Reports:
        """Return the reports, after a look at the files."""
        if self._reports is None:
            self._reports = make_reports(
                self.settings,
                self.circuit_breaker,
                self._restarts,
                self._open_parts,
                self.audit.get_status,
                self.penalties.get_status,
                self._sandbox,
                self._statistics,
            )
        await self._reports.look()
        return self._reports

    def _open_parts(self) -> Parts | None:
        return None if self._is_draining else self._parts
