"""Statements that do not listen: told, counted, and given up for at the right moment."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any

import pytest

from chronoduck.assembly import DuckDBService
from chronoduck.errors import (
    DuckDBException,
    EngineRestartedError,
    PenaltyBoxError,
    StatementCancelledError,
    StatementTimeoutError,
    WriteOutcomeUnknownError,
)
from chronoduck.principals import Principal, Role
from chronoduck.service.commit_holder import CommitHolder
from chronoduck.service.records import Caller, RunningStatement
from chronoduck.service.stuck import StuckStatements
from chronoduck.settings import Settings
from tests.patience import PATIENCE_SECONDS

# Quadratic in the length of one value, five seconds or so, and without a look at the interrupt:
# at each "a" the pattern looks for a "b" to the end of the value.
DEAF = "SELECT length(regexp_replace(a, 'a*b|a', 'x', 'g')) FROM words"
WORDS = "CREATE TABLE words AS SELECT string_agg('a', '') AS a FROM range(60000)"
ENDLESS = "SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE a.range + b.range = -1"


def statement(name: str) -> RunningStatement:
    return RunningStatement(name, "SELECT secret", "select", f"hash-{name}", Caller("ann"), 1.0)


class Watched:
    """A ``StuckStatements`` with what it said."""

    def __init__(self, workers: int, patience: float) -> None:
        self.waiting = 0
        self.reasons: list[str] = []
        self.given_up = asyncio.Event()
        self.charged: list[str] = []
        self.is_quiet = True
        self.has_holder = False
        self.ended_holders = 0
        self.stuck = StuckStatements(
            workers,
            patience,
            lambda: self.waiting,
            self._note,
            lambda running: self.charged.append(running.id),
            lambda: self.is_quiet,
            self._end_holder,
        )

    def _end_holder(self) -> bool:
        self.ended_holders += self.has_holder
        return self.has_holder

    def _note(self, reason: str) -> None:
        self.reasons.append(reason)
        self.given_up.set()


async def test_the_last_free_worker_is_not_waited_for() -> None:
    watched = Watched(2, patience=3600)
    watched.stuck.add(statement("a"))
    assert watched.reasons == []
    watched.stuck.add(statement("b"))
    assert "every worker" in watched.reasons[0]
    assert "hash-b" in watched.reasons[0]


async def test_one_stuck_worker_is_given_up_when_patience_ends() -> None:
    watched = Watched(4, patience=0.1)
    watched.stuck.add(statement("a"))
    async with asyncio.timeout(PATIENCE_SECONDS):
        await watched.given_up.wait()
    assert "hash-a" in watched.reasons[0]
    assert "secret" not in watched.reasons[0]
    assert "ann" not in watched.reasons[0]


async def test_callers_who_wait_shorten_the_patience() -> None:
    watched = Watched(4, patience=3600)
    watched.waiting = 1
    watched.stuck.add(statement("a"))
    async with asyncio.timeout(PATIENCE_SECONDS):
        await watched.given_up.wait()
    assert "callers wait" in watched.reasons[0]


async def test_a_worker_that_comes_back_in_time_is_forgotten() -> None:
    watched = Watched(2, patience=0.3)
    running = statement("a")
    watched.stuck.add(running)
    watched.stuck.remove(running)
    other = statement("b")
    watched.stuck.add(other)  # alone again: the first one counts no more
    assert len(watched.stuck) == 1
    assert watched.stuck.total == 2
    assert watched.reasons == []
    watched.stuck.remove(other)


async def compute_until(is_done: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not is_done():
            sum(range(100_000))
            await asyncio.sleep(0)


async def test_a_statement_that_goes_on_is_charged_once_and_no_checkpoint_is() -> None:
    watched = Watched(9, patience=3600)
    fold = statement("fold")
    fold.kind = "checkpoint"
    watched.stuck.add(fold)
    watched.stuck.add(statement("ours"), is_charged=False)
    short = statement("short")
    watched.stuck.add(short)
    watched.stuck.remove(short)
    assert watched.charged == []
    long = statement("long")
    watched.stuck.add(long)
    await compute_until(lambda: bool(watched.charged))
    watched.stuck.remove(long)
    again = statement("again")
    watched.stuck.add(again)
    await compute_until(lambda: len(watched.charged) > 1)
    assert watched.charged == ["long", "again"]


async def test_a_wait_for_a_disk_is_charged_to_nobody() -> None:
    watched = Watched(4, patience=1.5)
    watched.stuck.add(statement("a"))
    await watched.given_up.wait()
    assert watched.charged == []


async def test_a_read_is_waited_for_longer_while_others_would_lose_their_statements() -> None:
    watched = Watched(4, patience=0.2)
    watched.is_quiet = False
    watched.stuck.add(statement("read"))
    began = asyncio.get_running_loop().time()
    async with asyncio.timeout(PATIENCE_SECONDS):
        await watched.given_up.wait()
    assert asyncio.get_running_loop().time() - began >= 6 * 0.2


async def test_what_may_keep_writers_out_has_no_more_than_the_patience() -> None:
    watched = Watched(4, patience=0.2)
    watched.is_quiet = False
    write = statement("write")
    write.kind = "alter"
    watched.stuck.add(write)
    watched.stuck.add(statement("read"))
    async with asyncio.timeout(PATIENCE_SECONDS):
        await watched.given_up.wait()
    assert "hash-write" in watched.reasons[0]


def writing(name: str) -> RunningStatement:
    running = statement(name)
    running.kind = "insert"
    return running


async def test_a_write_that_waits_for_a_commit_is_not_to_blame() -> None:
    """The processor is busy, but not in its thread: the one that works is ended, after a bound."""
    watched = Watched(4, patience=0.2)
    watched.is_quiet, watched.has_holder = False, True
    flagged: list[str] = []
    watched.stuck.add(writing("innocent"), lambda: flagged.append("innocent"))
    began = time.monotonic()
    await compute_until(lambda: watched.ended_holders > 0)
    assert time.monotonic() - began >= 6 * 0.2
    assert (watched.reasons, watched.charged, flagged) == ([], [], [])


async def test_callers_who_wait_for_a_place_shorten_the_wait_for_a_commit() -> None:
    watched = Watched(4, patience=3600)
    watched.is_quiet, watched.has_holder, watched.waiting = False, True, 1
    watched.stuck.add(writing("innocent"))
    await compute_until(lambda: watched.ended_holders > 0)
    assert watched.reasons == []


async def test_a_write_that_works_in_its_own_thread_is_to_blame_beside_others() -> None:
    watched = Watched(4, patience=3600)
    watched.is_quiet = False
    flagged: list[str] = []
    running = writing("deaf")
    running.clock = time.pthread_getcpuclockid(threading.get_ident())
    watched.stuck.add(running, lambda: flagged.append("deaf"))
    await compute_until(lambda: bool(watched.charged))
    assert (watched.charged, flagged) == (["deaf"], ["deaf"])


def writes(count: int) -> list[Any]:
    """Return writes that run, each with what it was ended by."""
    found = []
    for number in range(count):
        ended: list[DuckDBException] = []
        found.append(
            SimpleNamespace(
                running=writing(f"w{number}"),
                ended=ended,
                interrupt=lambda reason, error, ended=ended: ended.append(error),
            )
        )
    return found


async def test_of_several_writes_the_one_that_works_is_ended() -> None:
    running = writes(3)
    running[1].running.clock = time.pthread_getcpuclockid(threading.get_ident())
    holder = CommitHolder()

    def look() -> bool:
        assert holder.end(running)
        return bool(running[1].ended)

    await compute_until(look)
    assert [len(each.ended) for each in running] == [0, 1, 0]


async def test_where_no_write_works_none_is_ended() -> None:
    running, holder = writes(2), CommitHolder()
    async with asyncio.timeout(PATIENCE_SECONDS):
        while holder.end(running):  # it looks for a while
            await asyncio.sleep(0.05)
    assert [each.ended for each in running] == [[], []]
    assert not holder.end([])


@pytest.mark.slow
async def test_a_long_commit_costs_its_author_and_not_those_who_wait_for_it(
    make_settings: Callable[..., Settings],
) -> None:
    """A commit of many rows into a table with indexes, beside inserts of one row into another one."""
    reasons: list[str] = []
    eve = Caller("eve", "r", Principal("eve", Role.WRITER, "key:eve"))
    ann = Caller("ann", "r", Principal("ann", Role.WRITER, "key:ann"))
    async with DuckDBService(make_settings(stuck_seconds=0.3), on_stuck=reasons.append) as service:
        await service.execute_query("CREATE TABLE mine (i BIGINT, j BIGINT)")
        await service.execute_query("CREATE INDEX a ON mine (i)")
        await service.execute_query("CREATE INDEX b ON mine (j)")
        await service.execute_query("CREATE TABLE events (a INTEGER)")
        bulk = asyncio.create_task(
            service.execute_query(
                "INSERT INTO mine SELECT hash(i) >> 2, hash(i + 7) >> 2 FROM range(3000000) r(i)",
                timeout=200,
                caller=eve,
            )
        )
        outcomes = []
        while not bulk.done():
            try:
                await service.execute_query(
                    "INSERT INTO events VALUES (1)", timeout=0.5, caller=ann
                )
            except DuckDBException as error:
                outcomes.append(error)
            await asyncio.sleep(0.05)
        await asyncio.gather(bulk, return_exceptions=True)
        await until_back(service)
        assert not any(isinstance(error, PenaltyBoxError) for error in outcomes), outcomes
        assert (await service.execute_query("INSERT INTO events VALUES (2)", caller=ann)).data


@pytest.mark.slow
async def test_who_repeats_what_ignores_its_interrupt_has_to_wait(
    make_settings: Callable[..., Settings],
) -> None:
    """Each one is shorter than the patience, and the process is never replaced for it."""
    reasons: list[str] = []
    eve = Caller("eve", "r", Principal("eve", Role.ANALYST, "key:eve"))
    async with DuckDBService(make_settings(stuck_seconds=3600), on_stuck=reasons.append) as service:
        await service.execute_query(WORDS)
        # On a machine that is busy it may not have begun, or used little of a CPU, by its deadline.
        async with asyncio.timeout(PATIENCE_SECONDS):
            with pytest.raises(PenaltyBoxError) as caught:
                while True:
                    with contextlib.suppress(StatementTimeoutError):
                        await service.execute_query(DEAF, timeout=1, caller=eve)
                    await until_back(service)
        assert caught.value.reason == "ignored_interrupt"
        assert (await service.execute_query("SELECT 1", caller=eve)).data == [(1,)]
    assert reasons == []


@pytest.fixture
async def words(
    make_settings: Callable[..., Settings],
) -> AsyncIterator[tuple[DuckDBService, list[str]]]:
    """A service with big values, and the reasons why it would have its process replaced."""
    reasons: list[str] = []
    async with DuckDBService(make_settings(stuck_seconds=0.1), on_stuck=reasons.append) as opened:
        await opened.execute_query(WORDS)
        yield opened, reasons


async def until_back(service: DuckDBService) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while (await service.health_check())["queue"]["stuck"]:
            await asyncio.sleep(0.02)


@pytest.mark.slow
async def test_the_caller_is_sent_away_and_health_tells_until_the_worker_is_back(
    words: tuple[DuckDBService, list[str]], caplog: pytest.LogCaptureFixture
) -> None:
    service, reasons = words
    with pytest.raises(StatementTimeoutError, match="has not listened"):
        await service.execute_query(DEAF, timeout=1, caller=Caller("ann"))
    health = await service.health_check()
    assert health["queue"]["stuck"] == 1
    assert health["components"]["workers"]["status"] == "degraded"
    assert (await service.execute_query("SELECT 42")).data == [(42,)]
    await until_back(service)
    health = await service.health_check()
    assert health["components"]["workers"]["status"] == "healthy"
    assert health["queue"]["total_stuck"] == 1
    assert reasons, "it was not said that only a new process helps"
    line = next(record.message for record in caplog.records if "statement_stuck" in record.message)
    assert '"user":"ann"' in line
    assert "regexp_replace" not in line


@pytest.mark.slow
async def test_a_caller_who_left_leaves_a_worker_that_is_counted(
    words: tuple[DuckDBService, list[str]],
) -> None:
    service, reasons = words
    task = asyncio.create_task(service.execute_query(DEAF))
    await until_deaf(service)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not reasons:
            await asyncio.sleep(0.02)
    await until_back(service)


@pytest.mark.slow
async def test_a_statement_that_an_operator_ends_in_vain_lets_its_caller_go(
    words: tuple[DuckDBService, list[str]],
) -> None:
    service, _ = words
    task = asyncio.create_task(service.execute_query(DEAF))
    await until_deaf(service)
    runner = (await service.parts()).runner
    runner.cancel(runner.list_running()[0].id)
    with pytest.raises(StatementCancelledError, match="has not listened"):
        await task
    await until_back(service)


async def until_running(service: DuckDBService, count: int) -> None:
    runner = (await service.parts()).runner
    async with asyncio.timeout(PATIENCE_SECONDS):
        while sum(each.state == "running" for each in runner.list_running()) < count:
            await asyncio.sleep(0.01)


async def until_deaf(service: DuckDBService) -> None:
    """Wait until the statement has worked for a while: before, it hears an interrupt."""
    await until_running(service, 1)
    start = time.process_time()
    async with asyncio.timeout(PATIENCE_SECONDS):
        while time.process_time() < start + 0.5:
            await asyncio.sleep(0.02)


async def outcome(task: asyncio.Task[object]) -> DuckDBException:
    with pytest.raises(DuckDBException) as caught:
        await task
    return caught.value


async def test_everybody_is_answered_when_the_process_is_given_up(
    settings: Settings,
) -> None:
    """Whoever reads or waits may send it again, whoever wrote must look first."""
    async with DuckDBService(settings) as service:
        await service.execute_query("CREATE TABLE t (a BIGINT)")
        reading = asyncio.create_task(service.execute_query(ENDLESS))
        writing = asyncio.create_task(service.execute_query(f"INSERT INTO t {ENDLESS}"))
        await until_running(service, 2)
        waiting = asyncio.create_task(service.execute_query("INSERT INTO t VALUES (1)"))
        await asyncio.sleep(0)
        await service.abandon(0.1)
        read = await outcome(reading)
        assert isinstance(read, EngineRestartedError)
        assert read.retry_after_seconds == 0
        wrote = await outcome(writing)
        assert isinstance(wrote, WriteOutcomeUnknownError)
        assert not wrote.retryable
        waited = await outcome(waiting)
        assert isinstance(waited, EngineRestartedError)
        late = asyncio.create_task(service.execute_query("SELECT 1"))
        assert isinstance(await outcome(late), EngineRestartedError)


async def test_a_short_write_ends_well_before_the_process_does(settings: Settings) -> None:
    async with DuckDBService(settings) as service:
        await service.execute_query("CREATE TABLE t (a BIGINT)")
        writing = asyncio.create_task(
            service.execute_query("INSERT INTO t SELECT sum(range) FROM range(20000000)")
        )
        await until_running(service, 1)
        await service.abandon(30.0)
        assert (await writing).data == [(1,)]


@pytest.mark.slow
async def test_a_statement_past_its_deadline_is_not_told_to_come_again(
    words: tuple[DuckDBService, list[str]],
) -> None:
    """It may be the very statement for which the process ends."""
    service, _ = words
    task = asyncio.create_task(service.execute_query(DEAF, timeout=1))
    await until_running(service, 1)
    runner = (await service.parts()).runner
    session = next(iter(runner._sessions.values()))
    async with asyncio.timeout(PATIENCE_SECONDS):
        while session.token.reason is None:
            await asyncio.sleep(0.01)
    await service.abandon(0.0)
    assert isinstance(await outcome(task), StatementTimeoutError)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while session._busy:
            await asyncio.sleep(0.02)


async def test_a_stream_is_cut_when_the_process_is_given_up(settings: Settings) -> None:
    async with DuckDBService(settings) as service:
        batches = service.stream("FROM range(100000000)")
        await anext(batches)
        await service.abandon(0.0)
        with pytest.raises(DuckDBException):
            async for _ in batches:
                pass
