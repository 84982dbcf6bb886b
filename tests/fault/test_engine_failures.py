"""A fatal error of the engine: the same process closes, reopens and goes on."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from chronoduck.assembly import DuckDBService
from chronoduck.errors import DatabaseFailedError, DiskFullError, DuckDBException
from chronoduck.settings import Settings


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


async def provoke_fatal_error(service: DuckDBService, settings: Settings) -> None:
    await service.execute_query(
        "CREATE TABLE IF NOT EXISTS t AS SELECT range AS a FROM range(1000)"
    )
    await service.execute_query("CHECKPOINT")
    await service.execute_query("INSERT INTO t FROM range(100000)")
    with (
        full_disk(wal_size(settings)),
        pytest.raises(DatabaseFailedError, match="fatal"),
    ):
        await service.execute_query("FORCE CHECKPOINT")


async def test_a_fatal_error_is_healed_in_the_same_process(
    service: DuckDBService, settings: Settings
) -> None:
    await provoke_fatal_error(service, settings)
    result = await service.execute_query("SELECT count(*) FROM t")
    assert result.data == [(101_000,)]
    health = await service.health_check()
    assert health["status"] == "healthy"
    assert health["healing"]["count"] == 1
    assert health["healing"]["last_heal"]["seconds"] < 5
    assert "fatal" not in str(health["errors"])


async def test_statements_that_waited_succeed_afterwards(
    service: DuckDBService, settings: Settings
) -> None:
    await service.execute_query("CREATE TABLE t AS SELECT range AS a FROM range(1000)")
    await service.execute_query("CHECKPOINT")
    await service.execute_query("INSERT INTO t FROM range(100000)")
    with full_disk(wal_size(settings)):
        failing = asyncio.create_task(service.execute_query("FORCE CHECKPOINT"))
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
