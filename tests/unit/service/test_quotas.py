"""Limits of principals and fairness between them, on a real service."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable

import pytest

from chronoduck.assembly import DuckDBService
from chronoduck.engine.encoding import EncodingOptions, ResultFormat
from chronoduck.errors import (
    BatchError,
    DuckDBQueryError,
    LimitExceededError,
    QueueFullError,
    QuotaExceededError,
    StatementTimeoutError,
)
from chronoduck.principals import Limits, Principal, Role
from chronoduck.service.quotas import effective_limits
from chronoduck.service.records import Caller
from chronoduck.service.result_encoding import ResultRequest
from chronoduck.settings import Settings
from tests.patience import PATIENCE_SECONDS

ENDLESS = "SELECT sum(a.range * b.range) FROM range(10000000) a, range(10000000) b"


def caller(name: str, role: Role = Role.ANALYST, **limits: float) -> Caller:
    return Caller(name, principal=Principal(name, role, f"key:{name}", limits=Limits(**limits)))  # type: ignore[arg-type]


@pytest.fixture
def settings(make_settings: Callable[..., Settings]) -> Settings:
    return make_settings(worker_threads=2, max_connections=4, queue_size=120)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():
            await asyncio.sleep(0.001)


async def running(service: DuckDBService, state: str = "running") -> int:
    return sum(each.state == state for each in (await service.parts()).runner.list_running())


# --- fairness ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("role", "releases"), [(Role.ANALYST, 0), (Role.ADMIN, 2)])
async def test_a_hundred_statements_of_one_delay_the_first_of_another_by_one_turn_at_most(
    service: DuckDBService, role: Role, releases: int
) -> None:
    flooder = caller("flooder", role, concurrent_statements=1000)
    tasks = [
        asyncio.create_task(service.execute_query(ENDLESS, timeout=200, caller=flooder))
        for _ in range(100)
    ]
    runner = (await service.parts()).runner
    await until(lambda: len(runner.list_running()) == 100)
    other = asyncio.create_task(service.execute_query("SELECT 42", caller=caller("other")))
    if releases:  # the flooder is an admin and has all workers
        await until(lambda: len(runner.list_running()) == 101)
    for ended in range(1, releases + 1):
        oldest = next(each for each in runner.list_running() if each.state == "running")
        runner.cancel(oldest.id)
        await until(lambda: sum(task.done() for task in tasks) == ended)  # noqa: B023
    # Nothing else ends: were it not its turn now, it would wait for ever.
    async with asyncio.timeout(PATIENCE_SECONDS):
        assert (await other).data == [(42,)]
    assert sum(task.done() for task in tasks) == releases
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_many_users_are_served_in_turn(service: DuckDBService) -> None:
    flooder = caller("flooder", Role.ADMIN)  # who has all workers
    flood = [
        asyncio.create_task(service.execute_query(ENDLESS, timeout=200, caller=flooder))
        for _ in range(30)
    ]
    runner = (await service.parts()).runner
    await until(lambda: len(runner.list_running()) == 30)
    users = [
        asyncio.create_task(
            service.execute_query("SELECT 42", timeout=200, caller=caller(f"user{number}"))
        )
        for number in range(5)
    ]
    await until(lambda: len(runner.list_running()) == 35)

    ended: set[str] = set()

    def held() -> list[str]:
        return [
            each.id
            for each in runner.list_running()
            if each.state == "running" and each.caller is flooder and each.id not in ended
        ]

    # A worker is free only when the flooder loses one, and every turn of the flooder takes one.
    while True:
        await until(lambda: len(held()) == 2 or all(user.done() for user in users))
        if all(user.done() for user in users):
            break
        oldest = held()[0]
        ended.add(oldest)
        runner.cancel(oldest)
    assert [user.result().data for user in users] == [[(42,)]] * 5
    assert 0 < len(ended) <= 5 + 2
    for task in flood:
        task.cancel()
    await asyncio.gather(*flood, return_exceptions=True)


async def test_one_worker_is_always_left_for_somebody_else(service: DuckDBService) -> None:
    greedy = caller("greedy")
    tasks = [asyncio.create_task(service.execute_query(ENDLESS, caller=greedy)) for _ in range(5)]
    runner = (await service.parts()).runner
    await until(lambda: len(runner.list_running()) == 5)
    assert (await service.execute_query("SELECT 42", caller=caller("other"))).data == [(42,)]
    assert await running(service) == 1
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_one_users_flood_does_not_fill_the_queue_for_others(
    make_settings: Callable[..., Settings],
) -> None:
    async with DuckDBService(make_settings(worker_threads=1, queue_size=4)) as service:
        greedy = caller("greedy")
        tasks = [
            asyncio.create_task(service.execute_query(ENDLESS, caller=greedy)) for _ in range(5)
        ]
        runner = (await service.parts()).runner
        await until(lambda: len(runner.list_running()) == 5)
        with pytest.raises(QueueFullError):
            await service.execute_query("SELECT 1", caller=greedy)
        other = asyncio.create_task(service.execute_query("SELECT 1", caller=caller("other")))
        # Statements are parsed in threads, so which of the five came last is not known.
        [pushed_out], others = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        with pytest.raises(QueueFullError):
            await pushed_out
        for task in others:
            task.cancel()
        assert (await other).data == [(1,)]
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_stalled_streams_of_one_user_leave_connections_for_others(
    service: DuckDBService,
) -> None:
    greedy = caller("greedy")
    streams = [service.stream("FROM range(1000000)", caller=greedy) for _ in range(2)]
    for stream in streams:
        await anext(stream)
    assert await running(service, "streaming") == 2
    third = asyncio.create_task(service.execute_query("SELECT 3", caller=greedy))
    await until(lambda: service._parts.access.admission.waiting == 1)  # type: ignore[union-attr]
    # The third waits for a connection, and holds no worker while it does.
    assert service._parts.access.admission.running == 0  # type: ignore[union-attr]
    answers = await asyncio.gather(
        *[service.execute_query(f"SELECT {n}", caller=caller(f"user{n}")) for n in range(20)]
    )
    assert [each.data for each in answers] == [[(n,)] for n in range(20)]
    assert not third.done()
    await streams[0].aclose()
    assert (await third).data == [(3,)]
    rest = [batch.num_rows async for batch in streams[1]]
    assert sum(rest) > 0


async def test_a_connection_is_waited_for_until_the_deadline(service: DuckDBService) -> None:
    greedy = caller("greedy")
    await service.execute_query("SELECT 3", caller=greedy)  # its verdict is known from then on
    streams = [service.stream("FROM range(1000000)", caller=greedy) for _ in range(2)]
    for stream in streams:
        await anext(stream)
    with pytest.raises(Exception, match=r"no connection free after 0\.\d+ s") as caught:
        await service.execute_query("SELECT 3", timeout=0.5, caller=greedy)
    assert caught.value.code == "pool_timeout"  # type: ignore[attr-defined]
    for stream in streams:
        await stream.aclose()


# --- statements and engine time ---------------------------------------------------------------


async def test_only_so_many_statements_are_open_at_once(service: DuckDBService) -> None:
    who = caller("ann", concurrent_statements=2)
    streams = [service.stream("FROM range(1000000)", caller=who) for _ in range(2)]
    for stream in streams:
        await anext(stream)
    with pytest.raises(QuotaExceededError, match="2 statements of ann run") as caught:
        await service.execute_query("SELECT 1", caller=who)
    assert caught.value.retry_after_seconds == 1
    await service.execute_query("SELECT 1", caller=caller("bob", concurrent_statements=2))
    await streams[0].aclose()
    await service.execute_query("SELECT 1", caller=who)
    await streams[1].aclose()
    used = service.quotas.usage_of(who.principal)["usage"]["concurrent_statements"]
    assert (used["used"], used["remaining"]) == (0, 2)


async def test_a_statement_is_cut_when_the_engine_time_is_used_up_and_none_begins_then(
    service: DuckDBService,
) -> None:
    who = caller("ann", engine_seconds_per_hour=0.4)
    # The first is cut 0.4 s after it was handed to a worker, which may begin later on a busy machine.
    while service.quotas.usage_of(who.principal)["usage"]["engine_seconds"]["used"] < 0.4:
        with pytest.raises(QuotaExceededError, match=r"used 0\.4 s of engine time") as caught:
            await service.execute_query(ENDLESS, caller=who)
    assert 3500 < caught.value.retry_after_seconds <= 3610  # type: ignore[operator]
    queue_before = (await service.get_statistics())["queue"]
    with pytest.raises(QuotaExceededError):
        await service.execute_query("SELECT 1", caller=who)
    assert (await service.get_statistics())["queue"] == queue_before
    assert (await service.execute_query("SELECT 1", caller=caller("bob"))).data == [(1,)]
    used = service.quotas.usage_of(who.principal)["usage"]["engine_seconds"]
    assert used["remaining"] == 0
    assert used["used"] >= 0.4


async def test_statements_at_the_same_time_share_what_is_left(
    make_settings: Callable[..., Settings],
) -> None:
    async with DuckDBService(make_settings(worker_threads=4)) as service:
        who = caller("ann", engine_seconds_per_hour=0.6)
        ends = await asyncio.gather(
            *[service.execute_query(ENDLESS, caller=who) for _ in range(6)],
            return_exceptions=True,
        )
        assert all(isinstance(each, QuotaExceededError) for each in ends), ends
        # Three ran at once, for a third of the time each, counted from when they were handed to a
        # worker; on a busy machine it begins later and uses less. The interrupt takes a moment.
        used = service.quotas.usage_of(who.principal)["usage"]["engine_seconds"]["used"]
        assert 0.3 <= used < 3 * 0.6


async def test_a_failed_and_a_cancelled_statement_are_charged_too(service: DuckDBService) -> None:
    def charged(who: Caller) -> float:
        total: float = service.quotas.usage_of(who.principal)["since_start"]["engine_seconds"]
        return total

    def used(who: Caller) -> float:
        now: float = service.quotas.usage_of(who.principal)["usage"]["engine_seconds"]["used"]
        return now

    fails = caller("fails")
    with pytest.raises(DuckDBQueryError):
        await service.execute_query(
            "SELECT error(sum(range)::VARCHAR) FROM range(5000000)", caller=fails
        )
    assert charged(fails) > 0
    leaves = caller("leaves")
    task = asyncio.create_task(service.execute_query(ENDLESS, caller=leaves))
    await until(lambda: used(leaves) > 0.05)
    assert charged(leaves) == 0
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await until(lambda: charged(leaves) > 0)


async def test_a_load_is_charged_to_who_loads(service: DuckDBService) -> None:
    who = caller("will", Role.WRITER)
    loader = (await service.parts()).loader_for(who)
    async for _ in loader.load(io.BytesIO(b"n\n1\n2\n"), name="x.csv", table="loaded"):
        pass
    assert service.quotas.usage_of(who.principal)["since_start"]["engine_seconds"] > 0
    assert (await service.execute_query("FROM loaded ORDER BY n")).data == [(1,), (2,)]
    used_up = caller("wanda", Role.WRITER, engine_seconds_per_hour=1e-9)
    account = service.quotas.account(used_up.principal)
    account.end_step(object(), 1.0)  # type: ignore[arg-type]
    with pytest.raises(QuotaExceededError):
        async for _ in ((await service.parts()).loader_for(used_up)).load(
            io.BytesIO(b"n\n3\n"), name="x.csv", table="loaded"
        ):
            pass


async def test_a_stream_that_uses_up_the_engine_time_breaks_off(service: DuckDBService) -> None:
    who = caller("ann", engine_seconds_per_hour=0.3)
    sql = "SELECT sum(range) OVER (ORDER BY range) FROM range(1, 200000000)"
    with pytest.raises(QuotaExceededError):
        async for _ in service.stream(sql, caller=who):
            pass
    pausing = caller("bob", engine_seconds_per_hour=5)
    stream = service.stream("FROM range(100000000)", caller=pausing)
    await anext(stream)
    service.quotas.account(pausing.principal).end_step(object(), 5.0)  # type: ignore[arg-type]
    with pytest.raises(QuotaExceededError):
        await anext(stream)


async def test_a_cut_write_leaves_nothing(service: DuckDBService) -> None:
    await service.execute_query("CREATE TABLE t (n BIGINT)")
    who = caller("ann", Role.WRITER, engine_seconds_per_hour=0.3)
    with pytest.raises(QuotaExceededError):
        await service.execute_query(
            "INSERT INTO t SELECT a.range FROM range(100000) a, range(100000) b "
            "WHERE hash(a.range + b.range) % 100000007 = 0",
            caller=who,
        )
    assert (await service.execute_query("SELECT count(*) FROM t")).data == [(0,)]


async def test_admins_and_this_process_have_no_limits(
    make_settings: Callable[..., Settings],
) -> None:
    async with DuckDBService(make_settings()) as service:
        for who in (Caller(), caller("root", Role.ADMIN)):
            assert service.quotas.account(who.principal).limits == Limits()
        analyst = service.quotas.account(caller("ann").principal)
        assert analyst.limits == service.settings.quota.analyst


async def test_a_principals_own_limit_wins_over_its_roles() -> None:
    of_role = Limits(requests_per_minute=10, max_rows=5)
    who = Principal("ann", Role.ANALYST, "key:1", limits=Limits(max_rows=100))
    assert effective_limits(who, of_role) == Limits(requests_per_minute=10, max_rows=100)


async def test_a_changed_limit_keeps_what_was_used(service: DuckDBService) -> None:
    before = caller("ann", requests_per_minute=10).principal
    for _ in range(6):
        service.quotas.account(before).count_request()
    lowered = service.quotas.account(caller("ann", requests_per_minute=5).principal)
    with pytest.raises(QuotaExceededError):
        lowered.count_request()
    raised = service.quotas.account(caller("ann", requests_per_minute=7).principal)
    raised.count_request()
    with pytest.raises(QuotaExceededError):
        raised.count_request()


# --- one statement ----------------------------------------------------------------------------


async def test_a_deadline_is_shortened_to_the_principals(service: DuckDBService) -> None:
    who = caller("ann", statement_timeout=0.2)
    for asked in (None, 100.0):
        with pytest.raises(StatementTimeoutError, match=r"deadline of 0\.2 s"):
            await service.execute_query(ENDLESS, timeout=asked, caller=who)
    with pytest.raises(StatementTimeoutError, match=r"deadline of 0\.1 s"):
        await service.execute_query(ENDLESS, timeout=0.1, caller=who)
    with pytest.raises(StatementTimeoutError):
        async with service.transaction(caller=who) as transaction:
            await transaction.execute(ENDLESS)


async def test_rows_are_cut_and_said_to_be(service: DuckDBService) -> None:
    who = caller("ann", max_rows=10)
    result = await service.execute_query("FROM range(11)", caller=who)
    assert (result.row_count, result.truncated) == (10, True)
    result = await service.execute_query("FROM range(10)", caller=who)
    assert (result.row_count, result.truncated) == (10, False)
    result = await service.execute_query("FROM range(100)", max_rows=5, caller=who)
    assert (result.row_count, result.truncated) == (5, True)
    (result,) = await service.execute_batch(["FROM range(100)"], caller=who)
    assert (result.row_count, result.truncated) == (10, True)
    async with service.transaction(caller=who) as transaction:
        assert (await transaction.execute("FROM range(100)")).truncated


@pytest.mark.parametrize("limit", [{"max_rows": 50_000}, {"max_result_bytes": 500_000}])
async def test_a_python_stream_ends_with_an_error_where_it_is_cut(
    service: DuckDBService, limit: dict[str, int]
) -> None:
    rows = 0
    with pytest.raises(LimitExceededError, match=r"more than 50"):
        async for batch in service.stream("FROM range(1000000)", caller=caller("ann", **limit)):
            rows += batch.num_rows
    assert 0 < rows <= 62_500


@pytest.fixture
async def tables(service: DuckDBService) -> DuckDBService:
    await service.execute_query(
        "CREATE TABLE big AS SELECT range AS n, range % 7 AS g FROM range(100000)"
    )
    await service.execute_query("CREATE TABLE small AS SELECT range AS n FROM range(10)")
    return service


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT count(*) FROM big JOIN small USING (n)",
        "FROM big LIMIT 1",
        "WITH b AS (FROM big) FROM b a JOIN b c USING (n)",
        "SELECT * FROM small WHERE n IN (SELECT g FROM big)",
        "FROM range(100000)",
        "CREATE TABLE copy AS FROM big",
        "INSERT INTO small SELECT n FROM big",
        "UPDATE big SET g = 1",
        "PIVOT big ON g USING count(*)",
        "EXPLAIN ANALYZE FROM big",
        "EXPLAIN (ANALYZE, FORMAT JSON) FROM big",
        "EXPLAIN analyse FROM big",
    ],
)
async def test_a_plan_that_reads_too_much_is_not_run(tables: DuckDBService, sql: str) -> None:
    who = caller("ann", Role.WRITER, max_scan_rows=50_000)
    with pytest.raises(LimitExceededError) as caught:
        await tables.execute_query(sql, caller=who)
    assert caught.value.http_status == 422
    assert "50,000" in caught.value.detail or "not known before" in caught.value.detail
    with pytest.raises(LimitExceededError):
        request = ResultRequest(sql, None, ResultFormat.JSON, EncodingOptions())
        await (await tables.parts()).encoded.run(request, who)
    with pytest.raises(LimitExceededError):
        async for _ in tables.stream(sql, caller=who):
            pass
    with pytest.raises(BatchError) as in_batch:
        await tables.execute_batch([sql], caller=who)
    assert isinstance(in_batch.value.cause, LimitExceededError)
    assert (await tables.execute_query("SELECT count(*) FROM small")).data == [(10,)]


@pytest.mark.parametrize(
    "sql",
    [
        "FROM small",
        "SELECT count(*) FROM big WHERE n = 5",
        "EXPLAIN FROM big",
        "DESCRIBE big",
        "CREATE TABLE new (n INT)",
        "WITH s AS (FROM small) FROM s a JOIN s b USING (n)",
    ],
)
async def test_a_plan_that_reads_little_is_run(tables: DuckDBService, sql: str) -> None:
    await tables.execute_query(sql, caller=caller("ann", Role.WRITER, max_scan_rows=50_000))


async def test_parameters_take_part_in_the_plan_and_errors_keep_their_position(
    tables: DuckDBService,
) -> None:
    who = caller("ann", max_scan_rows=50_000)
    assert (await tables.execute_query("FROM range(?)", [5], caller=who)).row_count == 5
    with pytest.raises(Exception, match="colum") as limited:
        await tables.execute_query("SELECT n, nonsense FROM big", caller=who)
    with pytest.raises(Exception, match="colum") as plain:
        await tables.execute_query("SELECT n, nonsense FROM big")
    for name in ("detail", "line", "column", "category", "hint"):
        assert getattr(limited.value, name) == getattr(plain.value, name)
