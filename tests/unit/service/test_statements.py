"""Statements through the service: results, errors, deadlines, batches, transactions, streams."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from chronoduck.assembly import DuckDBService
from chronoduck.engine.analyzers.nursery_link import nursery_of_this_process
from chronoduck.errors import (
    BatchError,
    DuckDBQueryError,
    InvalidRequestError,
    QueueFullError,
    ServiceUnavailableError,
    StatementCancelledError,
    StatementRefusedError,
    StatementTimeoutError,
)
from chronoduck.principals import Principal, Role
from chronoduck.service.records import Caller
from chronoduck.settings import Settings
from tests.patience import PATIENCE_SECONDS

ENDLESS = "SELECT sum(a.range * b.range) FROM range(10000000) a, range(10000000) b"


async def rows(service: DuckDBService, sql: str) -> list[tuple[object, ...]]:
    return (await service.execute_query(sql)).data


async def until(condition: Callable[[], object]) -> None:
    """Wait for something that another task brings about."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():
            await asyncio.sleep(0.01)


async def test_a_result_has_every_field_of_the_contract(service: DuckDBService) -> None:
    result = await service.execute_query("SELECT 42 AS answer, 'x' AS text")
    assert result.data == [(42, "x")]
    assert result.columns == ["answer", "text"]
    assert result.types == ["INTEGER", "VARCHAR"]
    assert result.row_count == 1
    assert result.execution_time > 0
    assert result.memory_usage >= 0
    assert len(result.query_hash) == 16
    assert result.truncated is False


async def test_parameters_are_bound_by_position_and_by_name(service: DuckDBService) -> None:
    assert (await service.execute_query("SELECT ? + ?", [1, 2])).data == [(3,)]
    assert (await service.execute_query("SELECT $a || $b", {"a": "x", "b": "'; --"})).data == [
        ("x'; --",)
    ]


@pytest.mark.parametrize(
    ("mode", "count", "truncated"), [("all", 2000, False), ("one", 1, False), ("none", 0, False)]
)
async def test_fetch_modes(service: DuckDBService, mode: str, count: int, truncated: bool) -> None:
    result = await service.execute_query("FROM range(2000)", fetch_mode=mode)  # type: ignore[arg-type]
    assert (result.row_count, result.truncated) == (count, truncated)


async def test_many_is_cut_and_says_so(service: DuckDBService) -> None:
    result = await service.execute_query("FROM range(2000)", fetch_mode="many")
    assert (result.row_count, result.truncated) == (1000, True)
    exact = await service.execute_query("FROM range(5)", fetch_mode="many", max_rows=5)
    assert (exact.row_count, exact.truncated) == (5, False)


async def test_the_time_of_its_analyzer_counts_against_the_deadline(
    service: DuckDBService,
) -> None:
    caller = Caller("ann", principal=Principal("ann", Role.ANALYST, "key:ann"))
    await service.execute_query("SELECT 0", caller=caller)
    nursery = nursery_of_this_process(has_stores=False).pid
    children = Path(f"/proc/{nursery}/task/{nursery}/children").read_text().split()
    for child in children:
        os.kill(int(child), signal.SIGSTOP)
    asked = asyncio.create_task(service.execute_query("SELECT 1", timeout=0.2, caller=caller))
    await asyncio.sleep(0.4)
    for child in children:
        os.kill(int(child), signal.SIGCONT)
    with pytest.raises(StatementTimeoutError, match=r"0\.2 s"):
        await asked
    assert (await service.execute_query("SELECT 1", timeout=60, caller=caller)).data == [(1,)]


async def test_an_unknown_fetch_mode_is_refused(service: DuckDBService) -> None:
    with pytest.raises(InvalidRequestError, match="fetch_mode"):
        await service.execute_query("SELECT 1", fetch_mode="some")  # type: ignore[arg-type]


async def test_bad_sql_is_the_callers_error_with_its_position(service: DuckDBService) -> None:
    with pytest.raises(DuckDBQueryError) as caught:
        await service.execute_query("SELECT\n  missing_column FROM range(1) t(a)")
    assert (caught.value.line, caught.value.column) == (2, 3)
    assert caught.value.category == "binder"


async def test_a_thousand_syntax_errors_leave_the_breaker_closed(service: DuckDBService) -> None:
    for index in range(1000):
        with pytest.raises(DuckDBQueryError):
            await service.execute_query(f"SELEC {index}" if index % 2 else "SELECT * FROM nowhere")
    status = service.circuit_breaker.get_status()
    assert status["state"] == "closed"
    assert status["failure_count"] == 0


async def test_a_statement_is_interrupted_at_its_deadline(service: DuckDBService) -> None:
    with pytest.raises(StatementTimeoutError, match=r"0\.2 s"):
        await service.execute_query(ENDLESS, timeout=0.2)
    assert await rows(service, "SELECT 42") == [(42,)]


@pytest.mark.parametrize("timeout", [0, -1, 301, float("nan"), float("inf")])
async def test_a_deadline_outside_the_limits_is_refused(
    service: DuckDBService, timeout: float
) -> None:
    with pytest.raises(InvalidRequestError, match="timeout_seconds"):
        await service.execute_query("SELECT 1", timeout=timeout)


async def test_cancelling_the_caller_interrupts_the_statement(service: DuckDBService) -> None:
    task = asyncio.create_task(service.execute_query(ENDLESS))
    runner = (await service.parts()).runner
    await until(lambda: any(s.state == "running" for s in runner.list_running()))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: service.connection_pool.in_use == 0)
    assert runner.list_running() == []


async def test_an_operator_ends_a_statement(service: DuckDBService) -> None:
    task = asyncio.create_task(service.execute_query(ENDLESS))
    runner = (await service.parts()).runner
    await until(lambda: any(s.state == "running" for s in runner.list_running()))
    runner.cancel(runner.list_running()[0].id)
    with pytest.raises(StatementCancelledError, match="operator"):
        await task


async def test_a_full_queue_refuses_at_once(make_settings: Callable[..., Settings]) -> None:
    async with DuckDBService(make_settings(worker_threads=1, queue_size=1)) as service:
        runner = (await service.parts()).runner
        first = asyncio.create_task(service.execute_query(ENDLESS))
        await until(lambda: any(s.state == "running" for s in runner.list_running()))
        second = asyncio.create_task(service.execute_query("SELECT 1"))
        await until(lambda: len(runner.list_running()) == 2)
        with pytest.raises(QueueFullError) as caught:
            await service.execute_query("SELECT 2")
        assert caught.value.retry_after_seconds
        first.cancel()
        assert (await second).data == [(1,)]


async def test_waiting_counts_towards_the_deadline(make_settings: Callable[..., Settings]) -> None:
    async with DuckDBService(make_settings(worker_threads=1)) as service:
        runner = (await service.parts()).runner
        first = asyncio.create_task(service.execute_query(ENDLESS))
        await until(lambda: any(s.state == "running" for s in runner.list_running()))
        with pytest.raises(StatementTimeoutError, match="wait"):
            await service.execute_query("SELECT 1", timeout=0.2)
        first.cancel()


async def test_a_batch_is_all_or_nothing(service: DuckDBService) -> None:
    await service.execute_query("CREATE TABLE t (a INTEGER)")
    with pytest.raises(BatchError) as caught:
        await service.execute_batch(["INSERT INTO t VALUES (1)", "INSERT INTO t VALUES ('x')"])
    assert caught.value.index == 1
    assert "INSERT INTO t VALUES ('x')" in caught.value.detail
    assert await rows(service, "SELECT count(*) FROM t") == [(0,)]
    results = await service.execute_batch(
        ["INSERT INTO t VALUES (1)", ("INSERT INTO t VALUES (?)", [2]), "FROM t ORDER BY a"]
    )
    assert results[-1].data == [(1,), (2,)]


async def test_a_typo_in_the_last_statement_of_a_batch_changes_nothing(
    service: DuckDBService,
) -> None:
    await service.execute_query("CREATE TABLE t (a INTEGER)")
    with pytest.raises(BatchError, match="statement 1"):
        await service.execute_batch(["INSERT INTO t VALUES (1)", "SELEC 1"], use_transaction=False)
    assert await rows(service, "SELECT count(*) FROM t") == [(0,)]


async def test_a_batch_without_transaction_keeps_what_ran_before(service: DuckDBService) -> None:
    await service.execute_query("CREATE TABLE t (a INTEGER)")
    with pytest.raises(BatchError, match="stay committed") as caught:
        await service.execute_batch(
            ["INSERT INTO t VALUES (1)", "INSERT INTO t VALUES ('x')"], use_transaction=False
        )
    assert caught.value.rolled_back is False
    assert await rows(service, "SELECT count(*) FROM t") == [(1,)]


async def test_a_batch_keeps_its_connection_from_statement_to_statement(
    service: DuckDBService,
) -> None:
    results = await service.execute_batch(["CREATE TEMP TABLE x AS SELECT 7 AS a", "FROM x"])
    assert results[1].data == [(7,)]


async def test_a_temporary_table_alone_is_refused(service: DuckDBService) -> None:
    with pytest.raises(StatementRefusedError) as refused:
        await service.execute_query("CREATE TEMP TABLE x AS SELECT 7 AS a")
    assert refused.value.rule == "temporary"
    async with service.transaction() as tx:
        await tx.execute("CREATE TEMP TABLE x AS SELECT 7 AS a")
        assert (await tx.execute("FROM x")).data == [(7,)]


async def test_a_transaction_commits_at_its_end(service: DuckDBService) -> None:
    await service.execute_query("CREATE TABLE t (a INTEGER)")
    async with service.transaction() as tx:
        await tx.execute("INSERT INTO t VALUES (?)", [1])
        assert await rows(service, "SELECT count(*) FROM t") == [(0,)]
    assert await rows(service, "SELECT count(*) FROM t") == [(1,)]


async def test_a_transaction_rolls_back_on_an_exception(service: DuckDBService) -> None:
    await service.execute_query("CREATE TABLE t (a INTEGER)")
    with pytest.raises(KeyError):
        async with service.transaction() as tx:
            await tx.execute("INSERT INTO t VALUES (1)")
            raise KeyError
    assert await rows(service, "SELECT count(*) FROM t") == [(0,)]


async def test_a_transaction_rolls_back_on_cancellation(service: DuckDBService) -> None:
    await service.execute_query("CREATE TABLE t (a INTEGER)")
    inserted = asyncio.Event()

    async def insert() -> None:
        async with service.transaction() as tx:
            await tx.execute("INSERT INTO t VALUES (1)")
            inserted.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(insert())
    await inserted.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await rows(service, "SELECT count(*) FROM t") == [(0,)]


async def test_a_swallowed_error_does_not_let_a_transaction_commit(service: DuckDBService) -> None:
    await service.execute_query("CREATE TABLE t (a INTEGER)")
    with pytest.raises(DuckDBQueryError, match="nothing was committed"):
        async with service.transaction() as tx:
            await tx.execute("INSERT INTO t VALUES (1)")
            with pytest.raises(DuckDBQueryError):
                await tx.execute("INSERT INTO t VALUES ('x')")
    assert await rows(service, "SELECT count(*) FROM t") == [(0,)]


async def test_an_interrupted_transaction_is_never_acknowledged(service: DuckDBService) -> None:
    await service.execute_query("CREATE TABLE t (a INTEGER)")
    with pytest.raises(DuckDBQueryError):
        async with service.transaction(timeout=0.4) as tx:
            await tx.execute("INSERT INTO t VALUES (1)")
            await tx.execute(ENDLESS)
    assert await rows(service, "SELECT count(*) FROM t") == [(0,)]


async def test_a_forgotten_transaction_loses_its_connection_at_the_deadline(
    service: DuckDBService,
) -> None:
    with pytest.raises(StatementTimeoutError):
        async with service.transaction(timeout=0.2) as tx:
            await tx.execute("SELECT 1")
            await until(lambda: service.connection_pool.in_use == 0)
            await tx.execute("SELECT 2")


async def test_a_stream_yields_every_row_in_batches(service: DuckDBService) -> None:
    counts = [batch.num_rows async for batch in service.stream("SELECT range FROM range(200000)")]
    assert sum(counts) == 200_000
    assert len(counts) > 1


async def test_leaving_a_stream_early_gives_the_connection_back(service: DuckDBService) -> None:
    stream = service.stream("SELECT range FROM range(100000000)")
    await anext(stream)
    await stream.aclose()
    await until(lambda: service.connection_pool.in_use == 0)


async def test_a_stream_nobody_reads_ends_at_its_deadline(service: DuckDBService) -> None:
    stream = service.stream("SELECT range FROM range(2000000)", timeout=2)
    await anext(stream)
    await until(lambda: service.connection_pool.in_use == 0)
    with pytest.raises(StatementTimeoutError):
        await anext(stream)


@pytest.mark.parametrize("sql", ["BEGIN", "COMMIT", "ATTACH ':memory:' AS x", "LOAD httpfs"])
async def test_statements_that_reach_beyond_themselves_are_refused(
    service: DuckDBService, sql: str
) -> None:
    with pytest.raises(StatementRefusedError):
        await service.execute_query(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_text('/etc/passwd')",
        "COPY (SELECT 1) TO '/tmp/chronoduck-escape.csv'",
        "SELECT * FROM '/etc/passwd'",
    ],
)
async def test_files_outside_the_allowed_directories_are_out_of_reach(
    service: DuckDBService, sql: str
) -> None:
    with pytest.raises(DuckDBQueryError):
        await service.execute_query(sql)


async def test_an_allowed_directory_can_be_written_and_read(
    make_settings: Callable[..., Settings], tmp_path
) -> None:
    exports = tmp_path / "exports"
    exports.mkdir()
    async with DuckDBService(make_settings(allowed_directories=str(exports))) as service:
        await service.execute_query(
            f"COPY (SELECT 7 AS a) TO '{exports}/pages.parquet' (FORMAT PARQUET)"
        )
        assert await rows(service, f"FROM '{exports}/pages.parquet'") == [(7,)]


@pytest.mark.parametrize(
    "sql",
    [
        "SET memory_limit = '1GB'",
        "SET GLOBAL threads = 1",
        "RESET memory_limit",
        "SET TimeZone='x'",
    ],
)
async def test_settings_of_the_instance_are_locked(service: DuckDBService, sql: str) -> None:
    with pytest.raises(DuckDBQueryError) as caught:
        await service.execute_query(sql)
    assert "fixed when the service starts" in caught.value.hint


async def test_the_next_user_finds_a_clean_connection(
    make_settings: Callable[..., Settings],
) -> None:
    async with DuckDBService(make_settings(worker_threads=1, max_connections=1)) as service:
        await service.execute_batch(
            ["CREATE TEMP TABLE left_behind AS SELECT 1", "FROM left_behind"]
        )
        await service.execute_query("SET VARIABLE secret = 'mine'")
        await service.execute_query("CREATE SCHEMA other")
        await service.execute_query("USE other")
        with pytest.raises(DuckDBQueryError, match="left_behind"):
            await service.execute_query("FROM left_behind")
        assert await rows(service, "SELECT getvariable('secret'), current_schema()") == [
            (None, "main")
        ]


async def test_it_opens_exactly_once_under_concurrency(settings: Settings) -> None:
    service = DuckDBService(settings)
    results = await asyncio.gather(*(service.execute_query("SELECT 1") for _ in range(20)))
    assert [result.data for result in results] == [[(1,)]] * 20
    await service.shutdown()


async def test_it_can_be_opened_again_after_a_shutdown(settings: Settings) -> None:
    service = DuckDBService(settings)
    await service.initialize()
    await service.execute_query("CREATE TABLE t AS SELECT 1 AS a")
    await service.shutdown()
    await service.shutdown()
    with pytest.raises(ServiceUnavailableError):
        await service.execute_query("FROM t")
    await service.initialize()
    assert await rows(service, "FROM t") == [(1,)]
    await service.shutdown()


async def test_shutdown_lets_short_statements_finish(
    make_settings: Callable[..., Settings],
) -> None:
    service = DuckDBService(make_settings(shutdown_grace=20))
    await service.initialize()
    runner = (await service.parts()).runner
    task = asyncio.create_task(
        service.execute_query(
            "SELECT sum(sqrt(a.range + b.range)) FROM range(20000) a, range(2000) b"
        )
    )
    await until(lambda: any(s.state == "running" for s in runner.list_running()))
    await service.shutdown()
    assert (await task).row_count == 1


async def test_shutdown_interrupts_what_outlives_the_grace(settings: Settings) -> None:
    service = DuckDBService(settings)
    await service.initialize()
    runner = (await service.parts()).runner
    task = asyncio.create_task(service.execute_query(ENDLESS))
    await until(lambda: any(s.state == "running" for s in runner.list_running()))
    await service.shutdown()
    with pytest.raises(StatementCancelledError, match="shutting down"):
        await task
    assert not settings.database_path.with_name("test.db.wal").exists()
