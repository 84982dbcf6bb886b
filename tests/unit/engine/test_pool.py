"""The pool: who gets a connection when, and what happens to cancelled, closed and failed ones."""

import asyncio
import json
import logging
import threading
from concurrent.futures import ThreadPoolExecutor

import duckdb
import pytest

from chronoduck.engine.pool import ConnectionPool
from chronoduck.errors import DuckDBConnectionError, PoolTimeoutError, ServiceUnavailableError
from tests.patience import PATIENCE_SECONDS

LONG = PATIENCE_SECONDS
"""Seconds that no test reaches unless the pool hangs."""


class Source:
    """Opens and closes numbers as connections; each of the two can be held up or made to fail."""

    def __init__(self):
        self.opened = []
        self.closed = []
        self.connect_error = None
        self.close_error = None
        self.may_open = threading.Event()
        self.may_close = threading.Event()
        self.may_open.set()
        self.may_close.set()
        self.is_opening = threading.Event()

    def connect(self):
        self.is_opening.set()
        assert self.may_open.wait(LONG)
        if self.connect_error is not None:
            raise self.connect_error
        self.opened.append(len(self.opened) + 1)
        return self.opened[-1]

    def close(self, raw):
        assert self.may_close.wait(LONG)
        if self.close_error is not None:
            raise self.close_error
        self.closed.append(raw)


@pytest.fixture
def executor():
    with ThreadPoolExecutor(4) as executor:
        yield executor


@pytest.fixture
def source(executor):
    source = Source()
    yield source
    source.may_open.set()
    source.may_close.set()


def make_pool(source, executor, max_size=1):
    return ConnectionPool(source.connect, source.close, max_size=max_size, executor=executor)


@pytest.fixture
def pool(source, executor):
    return make_pool(source, executor)


async def queue_up(pool, count=1):
    """Return tasks that wait in the pool's queue, in this order."""
    tasks = []
    for _ in range(count):
        waiting = pool.requests_waiting
        tasks.append(asyncio.create_task(pool.get_connection(LONG)))
        await asyncio.sleep(0)
        assert pool.requests_waiting == waiting + 1
    return tasks


async def wait_for_event(event):
    assert await asyncio.to_thread(event.wait, LONG)


async def test_a_free_connection_is_had_without_suspending(pool):
    with pytest.raises(StopIteration) as result:
        pool.get_connection(0.0).send(None)
    assert pool.in_use == 1
    pool.return_connection(result.value.value)


async def test_no_connection_is_opened_before_its_first_use(pool, source):
    lease = await pool.get_connection()
    assert source.opened == []
    assert await asyncio.to_thread(lambda: lease.raw) == 1
    assert lease.raw == 1
    assert pool.connections_opened == 1


async def test_waiters_are_served_in_their_order(pool):
    lease = await pool.get_connection()
    tasks = await queue_up(pool, 3)
    for task in tasks:
        pool.return_connection(lease)
        lease = await task
    assert pool.requests_waiting == 0
    assert (pool.requests_total, pool.requests_queued) == (4, 3)


async def test_a_newcomer_does_not_overtake_a_waiter_that_was_not_woken_yet(pool):
    lease = await pool.get_connection()
    [waiter] = await queue_up(pool)
    pool.return_connection(lease)
    newcomer = asyncio.create_task(pool.get_connection(LONG))
    lease = await waiter
    assert not newcomer.done()
    pool.return_connection(lease)
    await newcomer


async def test_a_timeout_says_how_many_are_in_use_and_waiting(source, executor):
    pool = make_pool(source, executor, max_size=2)
    leases = [await pool.get_connection() for _ in range(2)]
    [other] = await queue_up(pool)
    with pytest.raises(PoolTimeoutError) as caught:
        await pool.get_connection(0.01)
    assert str(caught.value) == "no connection free after 0.01 s (2 of 2 in use, 2 waiting)"
    assert "DUCKDB_MAX_CONNECTIONS" in caught.value.hint
    assert (pool.requests_timed_out, pool.requests_waiting) == (1, 1)
    pool.return_connection(leases[0])
    await other


async def test_the_time_in_the_queue_is_counted_for_every_outcome(source, executor):
    now = 0.0
    pool = ConnectionPool(
        source.connect, source.close, max_size=1, executor=executor, clock=lambda: now
    )
    lease = await pool.get_connection()
    served, cancelled = await queue_up(pool, 2)
    now = 3.0
    cancelled.cancel()
    pool.return_connection(lease)
    await asyncio.wait([served, cancelled])
    assert pool.requests_wait_seconds == 6.0


async def test_a_waiter_cancelled_in_the_queue_is_passed_over(pool):
    lease = await pool.get_connection()
    first, second = await queue_up(pool, 2)
    first.cancel()
    pool.return_connection(lease)
    await second
    assert first.cancelled()
    assert (pool.in_use, pool.requests_waiting) == (1, 0)


async def test_a_waiter_cancelled_at_hand_over_passes_the_connection_on(pool):
    lease = await pool.get_connection()
    first, second = await queue_up(pool, 2)
    pool.return_connection(lease)  # first has the connection but did not run yet
    first.cancel()
    await second
    assert first.cancelled()
    assert (pool.in_use, pool.requests_waiting) == (1, 0)


async def test_the_last_waiter_cancelled_at_hand_over_frees_the_connection(pool, source):
    lease = await pool.get_connection()
    assert lease.raw == 1
    [waiter] = await queue_up(pool)
    pool.return_connection(lease, tainted=False)
    waiter.cancel()
    await asyncio.wait([waiter])
    assert pool.in_use == 0
    assert (await pool.get_connection()).raw == 1  # nobody used it: still clean


async def test_a_waiter_cancelled_at_hand_over_of_a_closed_pool_has_its_connection_closed(
    pool, source
):
    lease = await pool.get_connection()
    assert lease.raw == 1
    [waiter] = await queue_up(pool)
    pool.return_connection(lease, tainted=False)
    waiter.cancel()
    assert await pool.close(LONG)
    assert source.closed == [1]


async def test_a_waiter_whose_coroutine_is_thrown_away_leaves_the_queue(pool):
    lease = await pool.get_connection()
    request = pool.get_connection(LONG)
    request.send(None)
    assert pool.requests_waiting == 1
    request.close()
    assert pool.requests_waiting == 0
    pool.return_connection(lease)
    assert pool.in_use == 0


async def test_a_waiter_cancelled_as_its_time_is_up_leaves_nothing_behind(pool):
    lease = await pool.get_connection()
    waiter = asyncio.create_task(pool.get_connection(0.0))
    await asyncio.sleep(0)
    asyncio.get_running_loop().call_later(0.0, waiter.cancel)
    await asyncio.wait([waiter])
    pool.return_connection(lease)
    assert (pool.in_use, pool.requests_waiting) == (0, 0)


async def test_a_clean_connection_is_reused_as_it_is(pool, source):
    async with pool.connection() as lease:
        assert lease.raw == 1
        lease.mark_clean()
    async with pool.connection() as lease:
        assert lease.raw == 1
    assert pool.returns_tainted == 1


async def test_a_connection_counts_as_tainted_unless_somebody_says_otherwise(pool, source):
    async with pool.connection() as lease:
        assert lease.raw == 1
        assert lease.is_tainted
    assert await pool.drain(LONG)
    assert source.closed == [1]


async def test_a_taint_outlasts_later_claims_of_cleanness(pool, source):
    lease = await pool.get_connection()
    assert lease.raw == 1
    lease.taint()
    lease.mark_clean()
    pool.return_connection(lease, tainted=False)
    assert await pool.drain(LONG)
    assert source.closed == [1]


async def test_an_error_in_the_block_taints_the_connection(pool, source):
    async def use():
        async with pool.connection() as lease:
            lease.mark_clean()
            lease.raw / 0

    with pytest.raises(ZeroDivisionError):
        await use()
    assert await pool.drain(LONG)
    assert source.closed == [1]


async def test_a_cancellation_in_the_block_taints_the_connection(pool, source):
    async def use():
        async with pool.connection() as lease:
            assert lease.raw == 1
            lease.mark_clean()
            await asyncio.Event().wait()

    task = asyncio.create_task(use())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert await pool.drain(LONG)
    assert source.closed == [1]


async def test_a_tainted_connection_keeps_its_place_until_it_is_closed(pool, source):
    source.may_close.clear()
    lease = await pool.get_connection()
    assert lease.raw == 1
    pool.return_connection(lease)
    [waiter] = await queue_up(pool)
    assert (pool.total_connections, pool.available_connections) == (1, 0)
    source.may_close.set()
    await waiter
    assert source.closed == [1]


async def test_a_returned_lease_cannot_be_used(pool):
    lease = await pool.get_connection()
    assert lease.raw == 1
    pool.return_connection(lease, tainted=False)
    with pytest.raises(DuckDBConnectionError, match="was returned to the pool"):
        _ = lease.raw


async def test_returning_a_lease_again_changes_nothing(pool):
    lease = await pool.get_connection()
    assert lease.raw == 1
    pool.return_connection(lease, tainted=False)
    other = await pool.get_connection()
    pool.return_connection(lease)
    assert other.raw == 1
    assert (pool.in_use, pool.returns_tainted) == (1, 0)


async def test_a_lease_of_an_earlier_pool_goes_back_to_that_one(source, executor):
    earlier, later = make_pool(source, executor), make_pool(source, executor)
    lease = await earlier.get_connection()
    later.return_connection(lease)
    assert (earlier.in_use, later.in_use) == (0, 0)


async def test_a_failed_opening_leaves_the_lease_and_the_counts_right(pool, source):
    lease = await pool.get_connection()
    source.connect_error = OSError("no such device")
    with pytest.raises(OSError, match="no such device"):
        await asyncio.to_thread(lambda: lease.raw)
    assert (pool.in_use, pool.connections_opened) == (1, 0)
    source.connect_error = None
    assert lease.raw == 1
    pool.return_connection(lease)
    assert await pool.drain(LONG)
    assert (pool.connections_opened, pool.connections_closed) == (1, 1)


@pytest.mark.parametrize("error", [None, OSError("no such device")])
async def test_a_lease_returned_while_its_connection_opens_leaks_nothing(
    pool, source, executor, error
):
    source.may_open.clear()
    source.connect_error = error
    lease = await pool.get_connection()
    opening = executor.submit(lambda: lease.raw)
    await wait_for_event(source.is_opening)
    pool.return_connection(lease, tainted=False)
    assert pool.in_use == 1  # the connection may be open any moment: the bound holds
    [waiter] = await queue_up(pool)
    source.may_open.set()
    await waiter
    with pytest.raises(OSError if error else DuckDBConnectionError):
        opening.result(LONG)
    assert source.closed == source.opened


async def test_two_threads_cannot_open_the_same_lease(pool, source, executor):
    source.may_open.clear()
    lease = await pool.get_connection()
    opening = executor.submit(lambda: lease.raw)
    await wait_for_event(source.is_opening)
    with pytest.raises(DuckDBConnectionError, match="another thread"):
        _ = lease.raw
    source.may_open.set()
    assert await asyncio.wrap_future(opening) == lease.raw == 1


async def test_a_failed_closing_frees_the_place_and_is_logged(pool, source, caplog):
    source.close_error = OSError("rollback failed")
    async with pool.connection() as lease:
        assert lease.raw == 1
    assert await pool.drain(LONG)
    [line] = [json.loads(record.msg) for record in caplog.records]
    assert (line["event"], line["reason"]) == ("connection_close_failed", "rollback failed")


async def test_invalidate_closes_idle_connections_now_and_leased_ones_on_return(source, executor):
    pool = make_pool(source, executor, max_size=2)
    leased, idle = [await pool.get_connection() for _ in range(2)]
    assert (leased.raw, idle.raw) == (1, 2)
    pool.return_connection(idle, tainted=False)
    pool.invalidate()
    fresh = await pool.get_connection(LONG)
    assert source.closed == [2]
    pool.return_connection(leased, tainted=False)
    pool.return_connection(fresh)
    assert await pool.drain(LONG)
    assert source.closed == [2, 1]


async def test_drain_waits_until_everything_is_returned_and_closed(pool, source):
    source.may_close.clear()
    lease = await pool.get_connection()
    assert lease.raw == 1
    assert not await pool.drain(0.01)
    draining = asyncio.create_task(pool.drain(LONG))
    await asyncio.sleep(0)
    pool.return_connection(lease)
    assert not await pool.drain(0.01)
    source.may_close.set()
    assert await draining
    assert source.closed == [1]


async def test_a_closed_pool_refuses_callers(pool):
    assert await pool.close(LONG)
    with pytest.raises(ServiceUnavailableError, match="pool is closed"):
        await pool.get_connection()


async def test_closing_wakes_the_waiters(pool):
    lease = await pool.get_connection()
    tasks = await queue_up(pool, 2)
    closing = asyncio.create_task(pool.close(LONG))
    for task in tasks:
        with pytest.raises(ServiceUnavailableError):
            await task
    pool.return_connection(lease)
    assert await closing


async def test_closing_waits_for_leases_and_closes_late_ones_when_they_come(source, executor):
    pool = make_pool(source, executor, max_size=2)
    leased, idle = [await pool.get_connection() for _ in range(2)]
    assert (leased.raw, idle.raw) == (1, 2)
    pool.return_connection(idle, tainted=False)
    assert not await pool.close(0.05)
    assert leased.raw == 1
    pool.return_connection(leased, tainted=False)
    assert await pool.close(LONG)
    assert (source.closed, pool.total_connections) == ([2, 1], 0)


async def test_a_cancelled_close_can_be_called_again(pool):
    lease = await pool.get_connection()
    closing = asyncio.create_task(pool.close(LONG))
    await asyncio.sleep(0)
    closing.cancel()
    await asyncio.wait([closing])
    pool.return_connection(lease)
    assert await pool.close(LONG)


async def test_a_lease_that_outlives_the_executor_is_closed_all_the_same(source):
    with ThreadPoolExecutor(1) as executor:
        pool = make_pool(source, executor)
        lease = await pool.get_connection()
        assert lease.raw == 1
    pool.return_connection(lease)
    assert await pool.drain(LONG)
    assert source.closed == [1]


async def test_an_executor_that_drops_its_queue_frees_the_places(source):
    source.may_close.clear()
    executor = ThreadPoolExecutor(1)
    pool = make_pool(source, executor, max_size=2)
    for lease in [await pool.get_connection() for _ in range(2)]:
        assert lease.raw
        pool.return_connection(lease)
    executor.shutdown(wait=False, cancel_futures=True)
    source.may_close.set()
    assert await pool.drain(LONG)


def test_threads_that_come_back_after_the_loop_closed_do_no_harm(source, executor, caplog):
    async def leave_threads_behind():
        pool = make_pool(source, executor, max_size=2)
        opening, closing = [await pool.get_connection() for _ in range(2)]
        assert closing.raw == 1
        source.is_opening.clear()
        source.may_open.clear()
        source.may_close.clear()
        future = executor.submit(lambda: opening.raw)
        await wait_for_event(source.is_opening)
        pool.return_connection(closing)
        pool.return_connection(opening)
        return future

    future = asyncio.run(leave_threads_behind())
    source.may_close.set()
    source.may_open.set()
    with pytest.raises(DuckDBConnectionError):
        future.result(LONG)
    executor.shutdown()
    assert sorted(source.closed) == [1, 2]
    assert [line for line in caplog.records if line.levelno >= logging.WARNING] == []


async def test_the_status_names_every_counter(source, executor):
    pool = make_pool(source, executor, max_size=3)
    lease = await pool.get_connection()
    assert lease.raw == 1
    assert pool.get_status() == {
        "total_connections": 1,
        "available_connections": 2,
        "max_connections": 3,
        "in_use": 1,
        "requests_waiting": 0,
        "requests_total": 1,
        "requests_queued": 0,
        "requests_wait_seconds": 0.0,
        "requests_timed_out": 0,
        "returns_tainted": 0,
        "connections_opened": 1,
        "connections_closed": 0,
    }


@pytest.fixture
def database(tmp_path):
    with duckdb.connect(str(tmp_path / "pages.db")) as root:
        root.execute("SET GLOBAL TimeZone = 'UTC'")
        root.execute("CREATE TABLE pages AS SELECT 1 AS id")
        yield root


def cursor_pool(root, executor):
    return ConnectionPool(
        root.cursor, duckdb.DuckDBPyConnection.close, max_size=1, executor=executor
    )


def run(lease, sql):
    return asyncio.to_thread(lambda: lease.raw.execute(sql).fetchall())


async def test_nothing_that_a_user_left_in_a_cursor_reaches_the_next(database, executor):
    pool = cursor_pool(database, executor)
    async with pool.connection() as lease:
        await run(lease, "CREATE TEMP TABLE mine AS SELECT 1")
        await run(lease, "SET TimeZone = 'Asia/Tokyo'")
        await run(lease, "SET VARIABLE secret = 42")
        await run(lease, "PREPARE mine AS SELECT 42")
        await run(lease, "BEGIN")
        await run(lease, "UPDATE pages SET id = 2")
    async with pool.connection(LONG) as lease:
        assert await run(lease, "FROM pages") == [(1,)]
        assert await run(lease, "SELECT current_setting('TimeZone')") == [("UTC",)]
        assert await run(lease, "SELECT getvariable('secret')") == [(None,)]
        with pytest.raises(duckdb.CatalogException):
            await run(lease, "FROM mine")
        with pytest.raises(duckdb.Error, match="mine"):
            await run(lease, "EXECUTE mine")
        await run(lease, "BEGIN")  # no transaction was open
        await run(lease, "UPDATE pages SET id = 3")  # and none conflicts
    assert await pool.close(LONG)
    assert pool.connections_opened == pool.connections_closed == 2


async def test_a_clean_cursor_is_reused(database, executor):
    pool = cursor_pool(database, executor)
    for _ in range(3):
        async with pool.connection() as lease:
            assert await run(lease, "FROM pages") == [(1,)]
            lease.mark_clean()
    assert await pool.close(LONG)
    assert pool.connections_opened == 1


@pytest.mark.skipif(duckdb.__version__ >= "2", reason="since 2.0 closing waits for no statement")
async def test_a_cursor_keeps_its_place_while_a_cancelled_callers_statement_runs(
    database, executor
):
    is_running, may_end = threading.Event(), threading.Event()

    def hold() -> bool:
        is_running.set()
        return may_end.wait(LONG)

    database.create_function("hold", hold, side_effects=True)
    pool = cursor_pool(database, executor)

    async def use():
        async with pool.connection() as lease:
            await run(lease, "SELECT hold()")

    task = asyncio.create_task(use())
    await wait_for_event(is_running)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert not await pool.drain(0.05)
    may_end.set()
    assert await pool.drain(LONG)
    async with pool.connection() as lease:
        assert await run(lease, "FROM pages") == [(1,)]
    assert await pool.close(LONG)
