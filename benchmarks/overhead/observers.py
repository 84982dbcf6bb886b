"""What each observer of statements costs the event loop's thread, and the background thread."""

from __future__ import annotations

import asyncio
import logging
import tempfile
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path

from prometheus_client import CollectorRegistry

from chronoduck.assembly.statement_statistics import StatementStatistics
from chronoduck.monitoring.history import QueryHistory
from chronoduck.monitoring.metrics import StatementMetrics
from chronoduck.monitoring.statement_log import StatementLog
from chronoduck.monitoring.statements import Latencies, StatementWindows
from chronoduck.service.records import Caller, StatementRecord
from chronoduck.settings import load_settings

__all__ = ["background_cost", "loop_costs"]

_BATCH, _ROUNDS = 5_000, 20
_number = count()


def make_record(sql: str | None = None) -> StatementRecord:
    """Return the record of a statement that nobody sent before."""
    number = next(_number)
    return StatementRecord(
        id=f"{number:016x}",
        sql=sql or f"SELECT domain, count(*) FROM pages WHERE id = {number} GROUP BY domain",
        kind="select",
        query_hash=f"{number:016x}",
        caller=Caller("bench", request_id=f"{number:032x}", address="127.0.0.1"),
        outcome="ok",
        error_code=None,
        ended_at=time.time(),
        execution_time=0.0001 * (1 + number % 977),
        queue_time=0.00001,
        rows=10,
        memory_mb=1.5,
        engine_seconds=0.0001,
        bytes=300,
    )


async def loop_costs() -> dict[str, float]:
    """Return the microseconds of each observer a statement: the median of its rounds."""
    with tempfile.TemporaryDirectory() as directory:
        settings = load_settings(database_path=Path(directory) / "bench.db")
        statistics = StatementStatistics(settings)
        await statistics.open()
        observers: dict[str, Callable[[StatementRecord], None]] = {
            "counters (`QueryHistory`)": QueryHistory().record,
            "percentiles by kind and template": Latencies().record,
            "windows of 1 h, 24 h, 7 d": StatementWindows().record,
            "Prometheus metrics": StatementMetrics(CollectorRegistry()).record,
            "line of the log": _quiet_log(),
        }
        costs = {name: [_time(call) for _ in range(_ROUNDS)] for name, call in observers.items()}
        everything = "all statistics and the query log together"
        costs[everything] = []
        for _ in range(_ROUNDS):
            costs[everything].append(_time(statistics.record))
            await statistics.flush()
        await statistics.close()
    return {name: round(sorted(each)[_ROUNDS // 2], 2) for name, each in costs.items()}


def _quiet_log() -> Callable[[StatementRecord], None]:
    logging.getLogger("chronoduck").setLevel(logging.WARNING)
    return StatementLog(5.0).record


def _time(call: Callable[[StatementRecord], None]) -> float:
    records = [make_record() for _ in range(_BATCH)]
    began = time.perf_counter()
    for record in records:
        call(record)
    return (time.perf_counter() - began) / _BATCH * 1e6


async def background_cost() -> dict[str, float]:
    """Return the microseconds a statement in the thread that ranks and writes: wall clock and CPU."""
    with tempfile.TemporaryDirectory() as directory:
        statistics = StatementStatistics(load_settings(database_path=Path(directory) / "bench.db"))
        await statistics.open()
        walls, cpus = [], []
        for _ in range(_ROUNDS):
            for _ in range(1_000):
                statistics.record(make_record())
            began, cpu = time.perf_counter(), time.process_time()
            await asyncio.shield(statistics.flush())
            walls.append((time.perf_counter() - began) * 1e3)
            cpus.append((time.process_time() - cpu) * 1e3)
        await statistics.close()
    return {
        "wall": round(sorted(walls)[_ROUNDS // 2], 1),
        "cpu": round(sorted(cpus)[_ROUNDS // 2], 1),
    }
