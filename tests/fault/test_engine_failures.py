"""A fatal error of the engine: the same process closes, reopens and goes on."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pytest

from chronoduck.assembly import DuckDBService
from chronoduck.engine import healing
from chronoduck.engine.database import DuckDBInstance
from chronoduck.engine.encoding import EncodingOptions, ResultFormat
from chronoduck.engine.healing import HealReason
from chronoduck.engine.inspection import ENGINE_VERSION
from chronoduck.errors import (
    CircuitBreakerOpenException,
    DatabaseFailedError,
    DiskFullError,
    DuckDBException,
    EngineBugError,
    StatementCancelledError,
    StatementRefusedError,
)
from chronoduck.resilience.breaker import BreakerState
from chronoduck.service.records import Caller
from chronoduck.service.result_encoding import ResultRequest
from chronoduck.service.session import Session
from chronoduck.settings import CheckpointSettings, Settings
from tests.patience import PATIENCE_SECONDS

OPTIONS = EncodingOptions()


@contextmanager
def full_disk(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond ``size`` bytes, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def wal_size(settings: Settings) -> int:
    """Bytes of the log: with the disk full at that size a checkpoint cannot write its mark."""
    wal = settings.database_path.with_name(settings.database_path.name + ".wal")
    return wal.stat().st_size


async def fill_the_log(service: DuckDBService) -> None:
    await service.execute_query(
        "CREATE TABLE IF NOT EXISTS t AS SELECT range AS a FROM range(1000)"
    )
    await service.execute_query("CHECKPOINT")
    await service.execute_query("INSERT INTO t FROM range(100000)")


async def provoke_fatal_error(service: DuckDBService, settings: Settings) -> None:
    await fill_the_log(service)
    await strike(service, settings)


async def strike(service: DuckDBService, settings: Settings) -> None:
    with (
        full_disk(wal_size(settings)),
        pytest.raises(DatabaseFailedError, match="fatal"),
    ):
        await service.execute_query("CHECKPOINT")


async def test_a_fatal_error_is_healed_in_the_same_process(
    service: DuckDBService, settings: Settings
) -> None:
    await provoke_fatal_error(service, settings)
    result = await service.execute_query("SELECT count(*) FROM t")
    assert result.data == [(101_000,)]
    health = await service.health_check()
    assert health["status"] == "healthy"
    assert health["healing"]["count"] == 1
    assert "fatal" not in str(health["errors"])


async def test_statements_that_waited_succeed_afterwards(
    service: DuckDBService, settings: Settings
) -> None:
    await service.execute_query("CREATE TABLE t AS SELECT range AS a FROM range(1000)")
    await service.execute_query("CHECKPOINT")
    await service.execute_query("INSERT INTO t FROM range(100000)")
    with full_disk(wal_size(settings)):
        failing = asyncio.create_task(service.execute_query("CHECKPOINT"))
        waiting = [
            asyncio.create_task(service.execute_query("SELECT count(*) FROM t")) for _ in range(30)
        ]
        await asyncio.wait([failing])
    assert isinstance(failing.exception(), DatabaseFailedError)
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    answered = [outcome for outcome in outcomes if not isinstance(outcome, BaseException)]
    lost = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    assert all(result.data == [(101_000,)] for result in answered)
    # Only what ran at that very moment (one worker beside the failing one) may be lost, and says so.
    assert len(lost) <= settings.worker_threads
    assert all(isinstance(error, DuckDBException) and error.retryable for error in lost)


async def test_it_heals_again_and_again(service: DuckDBService, settings: Settings) -> None:
    for number in range(1, 4):
        await provoke_fatal_error(service, settings)
        assert (await service.execute_query("SELECT 42")).data == [(42,)]
        assert (await service.health_check())["healing"]["count"] == number
    assert service.circuit_breaker.get_status()["failure_count"] == 3


async def test_one_failure_is_counted_once_however_many_notice(
    service: DuckDBService, settings: Settings
) -> None:
    await provoke_fatal_error(service, settings)
    await asyncio.gather(*(service.execute_query("SELECT 1") for _ in range(50)))
    assert service.circuit_breaker.get_status()["failure_count"] == 1


async def test_a_refused_statement_is_repeated_whenever_the_repair_begins(
    service: DuckDBService, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish_step = Session._finish_step

    def and_begin_repair(self: Session, *step: Any) -> None:
        finish_step(self, *step)  # its caller knows of it only when the event loop turns
        self.leave_engine()

    await fill_the_log(service)
    parts = await service.parts()
    with full_disk(wal_size(settings)), pytest.raises(duckdb.FatalException):
        parts.instance.cursor().execute("CHECKPOINT")
    monkeypatch.setattr(Session, "_finish_step", and_begin_repair)
    await service.execute_query("INSERT INTO t VALUES (1)")
    monkeypatch.undo()
    assert (await service.execute_query("SELECT count(*) FROM t")).data == [(101_001,)]


async def test_nothing_is_closed_that_still_answers(service: DuckDBService) -> None:
    parts = await service.parts()
    batches = service.stream("SELECT range FROM range(5000000)")
    await anext(batches)
    parts.access.healer.start(parts.instance.generation, HealReason.FATAL, "somebody says so")
    assert (await service.execute_query("SELECT 42")).data == [(42,)]
    assert (parts.instance.generation, parts.access.healer.count) == (1, 0)
    assert sum([batch.num_rows async for batch in batches]) > 0


async def test_five_lost_instances_open_the_breaker_whoever_is_there(
    service: DuckDBService, settings: Settings
) -> None:
    for _ in range(service.circuit_breaker.config.failure_threshold):
        await provoke_fatal_error(service, settings)
    assert service.circuit_breaker.state is BreakerState.OPEN
    with pytest.raises(CircuitBreakerOpenException, match="the database engine failed"):
        await service.execute_query("SELECT 1")


@pytest.mark.skipif(
    ENGINE_VERSION > "2", reason="DuckDB 2.0 refuses the file by a class of its own"
)
async def test_an_internal_error_that_ends_the_instance_is_its_senders_alone(
    make_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    path = tmp_path / "files" / "bad.parquet"
    path.parent.mkdir()
    duckdb.connect().execute(f"COPY (SELECT {{'a': 1}}::VARIANT AS v) TO '{path}' (FORMAT parquet)")
    path.write_bytes(path.read_bytes().replace(b"metadata", b"m\xfetadata", 1))
    settings = make_settings(allowed_directories=[str(path.parent)])
    async with DuckDBService(settings) as service:
        breaker = service.circuit_breaker
        for number in range(1, breaker.config.failure_threshold + 2):
            with pytest.raises(EngineBugError) as caught:
                await service.execute_query(f"FROM read_parquet('{path}')")
            assert (caught.value.http_status, caught.value.retryable) == (500, False)
            assert (await service.execute_query("SELECT 42")).data == [(42,)]
            health = await service.health_check()
            assert health["healing"]["count"] == number
            assert health["healing"]["last_heal"]["reason"] == HealReason.INTERNAL
        assert breaker.state is BreakerState.CLOSED
        assert breaker.get_status()["failure_count"] == 0


async def test_a_commit_on_a_full_disk_is_refused_and_later_ones_succeed(
    service: DuckDBService, settings: Settings
) -> None:
    await service.execute_query("CREATE TABLE t (a INTEGER)")
    await service.execute_query("INSERT INTO t VALUES (1)")
    with full_disk(wal_size(settings)), pytest.raises(DiskFullError) as caught:
        await service.execute_query("INSERT INTO t SELECT range FROM range(500)")
    assert caught.value.http_status == 507
    assert str(settings.database_path.parent) not in caught.value.detail
    assert (await service.execute_query("SELECT count(*) FROM t")).data == [(1,)]
    await service.execute_query("INSERT INTO t VALUES (2)")
    assert (await service.execute_query("SELECT count(*) FROM t")).data == [(2,)]


async def test_running_out_of_memory_ends_one_statement_and_harms_no_other(
    service: DuckDBService,
) -> None:
    with pytest.raises(DuckDBException) as caught:
        await service.execute_query("SELECT list(range) FROM range(300000000)")
    assert caught.value.http_status == 507
    assert service.circuit_breaker.get_status()["failure_count"] == 0
    assert (await service.execute_query("SELECT 42")).data == [(42,)]


async def test_a_reader_that_pauses_does_not_keep_the_failed_instance(
    service: DuckDBService, settings: Settings
) -> None:
    """DuckDB closes no database of which a result is left: the pause ends, its reader is told."""
    await fill_the_log(service)
    batches = service.stream("SELECT range FROM range(5000000)")
    first = await anext(batches)
    encoded = await (await service.parts()).encoded.run(
        ResultRequest("SELECT range FROM range(5000000)", None, ResultFormat.NDJSON, OPTIONS),
        Caller(),
    )
    assert encoded.rest is not None
    await strike(service, settings)
    assert (await service.execute_query("SELECT 42")).data == [(42,)]
    assert (await service.health_check())["healing"]["last_heal"]["attempts"] == 1
    assert first.num_rows > 0
    with pytest.raises(DatabaseFailedError, match="before the end of the result"):
        async for _ in batches:
            pass
    pieces = [piece async for piece in encoded.rest]
    await encoded.rest.aclose()
    assert b'"error"' in pieces[-1]
    assert service.circuit_breaker.get_status()["failure_count"] == 1


async def test_a_reader_that_pauses_does_not_keep_a_service_that_is_shut_down(
    service: DuckDBService,
) -> None:
    batches = service.stream("SELECT range FROM range(5000000)")
    await anext(batches)
    async with asyncio.timeout(15):  # not the 30 s after which the statement's deadline helps
        await service.shutdown()
        await service.initialize()
        assert (await service.execute_query("SELECT 42")).data == [(42,)]
    with pytest.raises(StatementCancelledError, match="shutting down"):
        async for _ in batches:
            pass


async def test_an_open_transaction_ends_with_the_failed_instance(
    service: DuckDBService, settings: Settings
) -> None:
    await service.execute_query("CREATE TABLE kept (a INTEGER)")
    await fill_the_log(service)
    with pytest.raises(DatabaseFailedError):
        async with service.transaction() as tx:
            await tx.execute("INSERT INTO kept VALUES (1)")
            # The service runs no checkpoint beside a transaction, so the engine is struck itself.
            assert service._parts is not None
            with full_disk(wal_size(settings)), pytest.raises(duckdb.FatalException):
                service._parts.instance.cursor().execute("CHECKPOINT")
            await service.execute_query("SELECT 42")
            await tx.execute("INSERT INTO kept VALUES (2)")
    assert (await service.execute_query("SELECT count(*) FROM kept")).data == [(0,)]


async def test_an_instance_that_cannot_be_closed_is_told_and_healed_once_it_can(
    make_settings: Callable[..., Settings],
) -> None:
    settings = make_settings(stuck_seconds=0.2)
    reasons: list[str] = []
    stuck = asyncio.Event()

    def on_stuck(reason: str) -> None:
        reasons.append(reason)
        stuck.set()

    async with DuckDBService(settings, on_stuck=on_stuck) as service:
        await fill_the_log(service)
        assert service._parts is not None
        cursor = service._parts.instance.cursor()
        held = [cursor.execute("FROM range(5000000)").to_arrow_reader(1000)]
        await strike(service, settings)
        async with asyncio.timeout(PATIENCE_SECONDS):
            await stuck.wait()
        assert "cannot be closed" in reasons[0]
        assert (await service.health_check())["status"] == "unhealthy"
        held.clear()
        assert (await service.execute_query("SELECT 42")).data == [(42,)]
        assert (await service.health_check())["status"] == "healthy"


@pytest.mark.parametrize(
    "sql",
    [
        "FROM enable_profiling(save_location = '/tmp/profile.json')",
        "CALL enable_logging(level = 'trace')",
        "SELECT * FROM Truncate_DuckDB_Logs()",
        "FROM duckdb_logs",
        "PRAGMA enable_verification",
        "PRAGMA disable_optimizer",
        "PRAGMA disable_checkpoint_on_shutdown",
        "SET preserve_insertion_order = false",
        'SET GLOBAL "preserve_insertion_order" = false',
        "RESET preserve_insertion_order",
    ],
)
async def test_what_changes_the_engine_for_everybody_is_refused(
    service: DuckDBService, sql: str
) -> None:
    with pytest.raises(StatementRefusedError, match=r"belong to the service|is not run here"):
        await service.execute_query(sql)


async def test_a_checkpoint_by_hand_ends_the_report_of_one_that_failed(
    make_settings: Callable[..., Settings],
) -> None:
    settings = make_settings(checkpoint=CheckpointSettings(interval=1))

    async def last_error(service: DuckDBService) -> str:
        return str((await service.get_replication_status())["checkpoints"]["last_error"])

    async with DuckDBService(settings) as service:
        await fill_the_log(service)
        with full_disk(wal_size(settings)):
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not await last_error(service):
                    await asyncio.sleep(0.05)
        await service.execute_query("CHECKPOINT")
        await service.execute_query("INSERT INTO t VALUES (1)")
        assert await last_error(service) == ""


async def test_a_database_that_stays_closed_asks_for_another_process_and_drops_nothing(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    wal = settings.database_path.with_name(settings.database_path.name + ".wal")
    whole: list[bytes] = []
    close = DuckDBInstance._close_root

    def close_and_damage(self: DuckDBInstance) -> None:
        close(self)
        if not whole:
            whole.append(wal.read_bytes())
            damaged = bytearray(whole[0])
            damaged[len(damaged) // 2] ^= 1
            wal.write_bytes(damaged)

    reasons: list[str] = []
    monkeypatch.setattr(healing, "_HOPELESS_SECONDS", 0.0)
    async with DuckDBService(settings, on_stuck=reasons.append) as service:
        await fill_the_log(service)
        await service.execute_query("INSERT INTO t VALUES (-1)")
        monkeypatch.setattr(DuckDBInstance, "_close_root", close_and_damage)
        await strike(service, settings)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not reasons:
                await asyncio.sleep(0.01)
        assert reasons[0] == "the database cannot be opened again (log_damaged)"
        health = await service.health_check()
        assert health["healing"]["failure"] == "log_damaged"
        assert str(settings.database_path.parent) not in str(health["healing"]["failure"])
        wal.write_bytes(whole[0])
        found = await service.execute_query("SELECT count(*) FROM t")
        assert found.data == [(101_001,)]
