"""``DuckDBService`` as the platform calls it: one object a process, from any event loop or thread."""

from __future__ import annotations

import asyncio
import copy
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, asynccontextmanager
from datetime import datetime
from typing import Any, ClassVar, Self

import pyarrow as pa

from chronoduck.engine.execution import FetchMode, Params
from chronoduck.errors import DuckDBException, ServiceUnavailableError
from chronoduck.service.batch import Query
from chronoduck.service.lending import Loan, lend
from chronoduck.service.records import Caller
from chronoduck.settings import Settings, load_settings

from .connections import LentConnection, SharedTransaction, shared_transaction
from .event_loop import own_loop
from .home import HomeService
from .state import Breaker, PoolView
from .values import ConnectionMetrics, QueryResult, written_size

__all__ = ["DuckDBService"]

_QUERY_TESTS, _QUERY_TEST_SECONDS = 4, 0.1
"""The service's own report does not wait for an engine that is busy; the platform's ran a statement."""


class DuckDBService:
    """The process's service. ``DuckDBService()`` always returns the same object.

    Settings are those that were given last, else the environment's, which a closed service reads anew
    when it is opened. Every coroutine may be awaited on any event loop.
    """

    _instance: ClassVar[DuckDBService | None] = None
    _lock: ClassVar[threading.Lock] = threading.Lock()

    def __new__(cls, settings: Settings | None = None) -> Self:
        with cls._lock:
            known = cls._instance
            if isinstance(known, cls):
                return known
            made = super().__new__(cls)
            made._service = None
            made._given = None
            made._thread_pool = None
            made._shutdown = False
            made._created_at = datetime.now()  # noqa: DTZ005 - local, as the platform shows it
            cls._instance = made
            return made

    def __init__(self, settings: Settings | None = None) -> None:
        """``settings``: in place of the environment's.

        Raises:
            DuckDBException: the service is open with other settings.
        """
        self._service: HomeService | None
        self._given: Settings | None
        self._thread_pool: ThreadPoolExecutor | None
        self._shutdown: bool
        self._created_at: datetime
        if self._initialized:
            if settings is not None and settings != self.settings:
                raise DuckDBException(
                    "this process's service is open with other settings",
                    hint="Call shutdown() first: a process has one service.",
                )
            return
        if settings is not None:
            self._given = settings
        self._renew()

    def _renew(self) -> None:
        """Have a closed service take the settings of the moment; what it counted goes with the old."""
        service = self._service
        if service is None:
            return
        try:
            is_stale = service.settings != (self._given or load_settings())
        except DuckDBException:
            is_stale = True  # whoever needs the settings gets the error
        if is_stale:
            self._service = None

    @property
    def service(self) -> HomeService:
        """The service behind this object, for ``create_app`` and ``create_router``.

        It lives on the event loop that opened it: never await it on another one.

        Raises:
            SettingsError: a setting is invalid.
        """
        if self._service is None:
            settings = self._given or load_settings()
            # Whoever demands this wall wants it for the code of this process, too.
            is_walled = "directories" in settings.require_sandbox
            local = [] if is_walled else [settings.temp_directory]
            self._service = HomeService(settings, local_directories=local)
        return self._service

    def _opened(self) -> HomeService:
        if not self._initialized:
            raise ServiceUnavailableError(
                "Service not initialized", hint="Await initialize() first, or get_duckdb_service()."
            )
        return self.service

    # --- what the platform reads ---------------------------------------------------------------

    @property
    def settings(self) -> Settings:
        """The settings in force."""
        return self.service.settings

    @property
    def database_path(self) -> str:
        """The database file."""
        return str(self.settings.database_path)

    @property
    def memory_limit(self) -> str:
        """The upper bound for the engine's memory, as people write it: ``4GB``."""
        return written_size(self.settings.memory_limit)

    @property
    def worker_threads(self) -> int:
        """Statements that run at the same time."""
        return self.settings.worker_threads

    @property
    def temp_directory(self) -> str:
        """The directory where statements of this process may write and read files."""
        return str(self.settings.temp_directory)

    @property
    def max_memory_percentage(self) -> float:
        """The share of the machine's memory that the engine may use."""
        return self.settings.max_memory_percentage

    @property
    def enable_s3(self) -> bool:
        """Whether statements may read ``s3://``."""
        return self.settings.enable_s3

    @property
    def _initialized(self) -> bool:
        return self._service is not None and self._service.is_initialized

    @property
    def is_initialized(self) -> bool:
        """Whether the database is open and statements are accepted."""
        return self._initialized

    @property
    def metrics(self) -> ConnectionMetrics:
        """The counters of the moment."""
        counters = self.service.counters()
        if counters is None:
            return ConnectionMetrics(created_at=self._created_at)
        return ConnectionMetrics.of(counters, self._created_at)

    @property
    def circuit_breaker(self) -> Breaker:
        """The circuit breaker in front of the engine."""
        return Breaker(self.service.door, self.service.circuit_breaker)

    @property
    def _connection_pool(self) -> PoolView | None:
        return PoolView(self.service.connection_pool) if self._initialized else None

    # --- life ------------------------------------------------------------------------------------

    async def initialize(self) -> None:
        """Open the database; does nothing when it is open.

        Raises:
            DuckDBException: it cannot be opened, or a setting is invalid; the hint says what to do.
        """
        if self._initialized:
            return
        try:
            with self._lock:
                self._renew()
                service = self.service
                if self._thread_pool is None:
                    self._thread_pool = ThreadPoolExecutor(
                        service.settings.worker_threads, thread_name_prefix="duckdb-caller"
                    )
            await own_loop().run(service.initialize())
        except DuckDBException as error:
            failure = copy.copy(error)
            failure.detail = f"Initialization failed: {error.detail}"
            raise failure from error
        self._shutdown = False

    async def shutdown(self) -> None:
        """Let running statements finish within the grace period, then close. Idempotent."""
        self._shutdown = True
        threads, self._thread_pool = self._thread_pool, None
        if threads is not None:
            threads.shutdown(wait=False, cancel_futures=True)
        if self._service is not None:
            await self._service.door.run(self._service.shutdown())

    async def __aenter__(self) -> Self:
        await self.initialize()
        return self

    async def __aexit__(self, *raised: object) -> None:
        await self.shutdown()

    # --- statements ------------------------------------------------------------------------------

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
        """Run one statement; see the service's own ``execute_query`` and ``QueryResult``.

        Raises:
            ServiceUnavailableError: ``initialize`` was not called.
        """
        service = self._opened()
        work = service.execute_query(
            query, params, fetch_mode, timeout, max_rows=max_rows, caller=caller
        )
        return QueryResult.of(await service.door.run(work), fetch_mode)

    async def execute_batch(
        self,
        queries: Sequence[Query],
        use_transaction: bool = True,
        timeout: float | None = None,
        *,
        caller: Caller | None = None,
    ) -> list[QueryResult]:
        """Run statements in order, all or nothing unless ``use_transaction`` is false."""
        service = self._opened()
        work = service.execute_batch(queries, use_transaction, timeout, caller=caller)
        return [QueryResult.of(result) for result in await service.door.run(work)]

    @asynccontextmanager
    async def transaction(
        self, timeout: float | None = None, *, caller: Caller | None = None
    ) -> AsyncIterator[SharedTransaction]:
        """Commit at the block's end; roll back on any exception and on cancellation."""
        service = self._opened()
        block = service.transaction(timeout, caller=caller)
        async with shared_transaction(service.door, block) as shared:
            yield shared

    async def stream(
        self,
        query: str,
        params: Params = None,
        timeout: float | None = None,
        *,
        caller: Caller | None = None,
    ) -> AsyncGenerator[pa.RecordBatch, None]:
        """Yield the result as Arrow record batches, memory flat whatever its size."""
        service = self._opened()
        batches = service.stream(query, params, timeout, caller=caller)
        try:
            async with aclosing(service.door.each(batches)) as following:
                async for batch in following:
                    yield batch
        finally:
            await service.door.run(_closed(batches))

    async def get_connection(
        self, timeout: float | None = None, *, caller: Caller | None = None
    ) -> LentConnection:
        """Return a connection that is the caller's until ``return_connection``.

        Raises:
            DuckDBResourceError: none came free within ``timeout`` seconds.
            ServiceUnavailableError: ``initialize`` was not called.
        """
        service = self._opened()

        async def borrow() -> Loan:
            return await lend((await service.parts()).runner, caller, timeout)

        return LentConnection(service.door, await service.door.run(borrow()))

    def return_connection(self, connection: LentConnection) -> None:
        """Give a connection back; doing it again changes nothing."""
        connection.close()

    # --- reports ---------------------------------------------------------------------------------

    async def health_check(self) -> dict[str, Any]:
        """Return the health report; works in every state."""
        service = self.service
        for _ in range(_QUERY_TESTS):
            health = await service.door.run(service.health_check())
            if health["query_test"]["success"] or not service.is_initialized:
                break
            await asyncio.sleep(_QUERY_TEST_SECONDS)
        return health

    async def get_statistics(self) -> dict[str, Any]:
        """Return counters, durations and the machine's load."""
        return await self.service.door.run(self.service.get_statistics())

    async def get_statement_statistics(
        self, order: str = "total_time", limit: int = 20
    ) -> list[dict[str, Any]]:
        """Return the most expensive statements; see the service's own method."""
        return await self.service.door.run(self.service.get_statement_statistics(order, limit))

    async def get_performance_metrics(self) -> dict[str, Any]:
        """Return the short performance report."""
        return await self.service.door.run(self.service.get_performance_metrics())


async def _closed(batches: AsyncGenerator[pa.RecordBatch, None]) -> None:
    """Close a stream on the loop that runs this."""
    await batches.aclose()
