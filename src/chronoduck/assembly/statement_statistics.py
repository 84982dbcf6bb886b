"""What is known of ended statements, joined: counters, percentiles, ranking, windows, query log."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any

from chronoduck.engine.database import Connection
from chronoduck.engine.disk_guard import VolumeFloor
from chronoduck.engine.query_log import QUERY_LOG_COLUMNS, QueryLogStore
from chronoduck.errors import InvalidRequestError
from chronoduck.logs import get_logger
from chronoduck.monitoring.history import QueryHistory
from chronoduck.monitoring.statements import (
    ORDERS,
    Latencies,
    RankedStatement,
    StatementFeed,
    StatementRanking,
    StatementWindows,
)
from chronoduck.service.records import StatementRecord
from chronoduck.settings import Settings
from chronoduck.sql.masking import mask_statement
from chronoduck.sql.normalizing import NORMALIZED_CHARACTERS, fingerprint, normalize_statement

__all__ = ["StatementStatistics"]

_LAST_WORDS_SECONDS = 1.0
_LAST_WRITES_SECONDS = 5.0
"""How long a disk that hangs may hold up the end."""


class StatementStatistics:
    """Observes statements; counters at once, the rest in a thread of its own a second later.

    Keeps what it knows from ``close`` to the next ``open``. For one event loop.
    """

    def __init__(self, settings: Settings) -> None:
        log = settings.query_log
        self.history = QueryHistory()
        self._latencies = Latencies()
        self._windows = StatementWindows()
        self._ranking = StatementRanking()
        self._text = log.text
        self._store = (
            QueryLogStore(
                settings.query_log_path,
                log.keep_rows,
                log.keep_days,
                storage_version=settings.storage_version,
                space_bytes=log.space,
                check_volume=VolumeFloor(settings.query_log_path.parent, settings.disk_floor).check,
            )
            if log.enabled
            else None
        )
        self._feed: StatementFeed[StatementRecord, list[tuple[int, str]]] = StatementFeed(
            self._digest, self._windows.take_unsaved, interval=log.interval, room=log.queue_size
        )
        self._executor: ThreadPoolExecutor | None = None
        self._written = 0
        self._lost = 0

    # --- life ---------------------------------------------------------------------------------

    async def open(self) -> None:
        """Open the query log and go on with the windows that were saved; does nothing twice."""
        if self._executor is not None:
            return
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="chronoduck-statistics")
        if self._store is not None:
            # No statement is run yet: the windows are this thread's for the moment.
            await asyncio.get_running_loop().run_in_executor(
                self._executor, _open_store, self._store, self._windows
            )
        self._feed.start(self._executor)

    async def close(self) -> None:
        """Write what waits and close the query log; idempotent."""
        executor, self._executor = self._executor, None
        if executor is None:
            return
        stopping = asyncio.ensure_future(self._stop(executor))
        await asyncio.wait([stopping], timeout=_LAST_WRITES_SECONDS)
        if not stopping.done():
            get_logger("query_log").warning("query_log_not_closed", waiting=self._feed.waiting)
        executor.shutdown(wait=False)

    async def _stop(self, executor: ThreadPoolExecutor) -> None:
        await self._feed.stop()
        if self._store is not None:
            await asyncio.get_running_loop().run_in_executor(executor, self._store.close)

    async def flush(self) -> None:
        """Return when everything that was observed before is in the ranking and the query log."""
        await self._feed.flush()

    async def abandon(self) -> None:
        """Write what waits if that is quickly done, because this process ends."""
        await asyncio.wait([asyncio.ensure_future(self.flush())], timeout=_LAST_WORDS_SECONDS)

    # --- statements ---------------------------------------------------------------------------

    def record(self, record: StatementRecord) -> None:
        """Take notice of a statement that has ended; 3 µs."""
        self.history.record(record)
        self._latencies.record(record)
        self._windows.record(record)
        if len(record.sql) > NORMALIZED_CHARACTERS:
            # What waits must not hold whole bulk inserts.
            record = replace(record, sql=record.sql[: NORMALIZED_CHARACTERS + 1])
        self._feed.put(record)

    def _digest(self, batch: list[StatementRecord], windows: list[tuple[int, str]]) -> None:
        rows = []
        for record in batch:
            normalized = normalize_statement(record.sql)
            digest = fingerprint(normalized)
            self._ranking.add(record, normalized, digest)
            if self._store is not None:
                rows.append(_row(record, self._shown(record.sql, normalized), digest))
        if self._store is None:
            return
        columns = dict(zip(QUERY_LOG_COLUMNS, zip(*rows, strict=True), strict=True))
        if self._store.append(columns, windows):
            self._written += len(rows)
        else:
            self._lost += len(rows)

    def _shown(self, sql: str, normalized: str) -> str | None:
        if self._text == "normalized":
            return normalized
        return mask_statement(sql) if self._text == "masked" else None

    @property
    def query_log(self) -> Callable[[], Connection] | None:
        """What opens a connection to the query log; None when there is none."""
        return None if self._store is None else self._store.cursor

    # --- reports ------------------------------------------------------------------------------

    def report(self) -> dict[str, Any]:
        """Return percentiles, windows, and how ranking and query log are; no statement's text."""
        return {
            "latency": self._latencies.report(),
            "windows": self._windows.report(time.time()),
            "statements": self._ranking.status(),
            "query_log": self.query_log_status(),
        }

    def query_log_status(self) -> dict[str, Any]:
        """Return whether the log is written."""
        log = self._store
        return {
            "enabled": log is not None,
            "is_persistent": log is not None and log.is_persistent,
            "written": self._written,
            "dropped": self._feed.dropped + self._lost,
            "waiting": self._feed.waiting,
            "is_failing": log is not None and log.error is not None,
        }

    async def top(self, order: str, limit: int) -> list[dict[str, Any]]:
        """Return the first statements in an order, with their normalised texts: for admins alone.

        Raises:
            InvalidRequestError: there is no such order.
        """
        if order not in ORDERS:
            raise InvalidRequestError(f"order is {order!r}; it must be one of {', '.join(ORDERS)}")
        await self.flush()
        return [_describe(each) for each in self._ranking.top(order, limit)]


def _open_store(store: QueryLogStore, windows: StatementWindows) -> None:
    now = time.time()
    store.open()
    windows.load(store.read_windows(windows.oldest(now)), now)


def _row(record: StatementRecord, text: str | None, digest: str) -> tuple[Any, ...]:
    """Return the values of ``QUERY_LOG_COLUMNS``."""
    caller = record.caller
    return (
        int(record.ended_at * 1e6),
        record.id,
        caller.request_id,
        caller.principal.id,
        caller.name,
        str(caller.principal.role),
        caller.address,
        record.kind,
        caller.template,
        text,
        digest,
        record.query_hash,
        record.outcome,
        record.error_code,
        record.rule,
        record.rows,
        record.bytes,
        record.memory_mb,
        record.queue_time,
        record.execution_time,
        record.engine_seconds,
        record.error_type,
    )


def _describe(each: RankedStatement) -> dict[str, Any]:
    described = asdict(each)
    for name in ("first_seen", "last_seen"):
        described[name] = datetime.fromtimestamp(described[name], UTC).isoformat(
            timespec="milliseconds"
        )
    for name in ("unseen_seconds", "total_time", "max_time", "engine_seconds"):
        described[name] = round(described[name], 6)
    return {**described, "mean_time": round(each.mean_time, 6)}
