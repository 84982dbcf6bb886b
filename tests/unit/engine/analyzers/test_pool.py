"""Analyzer processes: who gets one, what their death costs, and that none is left behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import duckdb
import pytest

from chronoduck.engine.analyzers.analysis import Analysis
from chronoduck.engine.analyzers.analyzer import Analyzer
from chronoduck.engine.analyzers.nursery_link import Nursery
from chronoduck.engine.analyzers.pool import AnalyzerPool
from chronoduck.engine.live_definitions import LiveDefinitions
from chronoduck.errors import (
    DuckDBQueryError,
    QueueFullError,
    ServiceUnavailableError,
    StatementRefusedError,
)
from chronoduck.principals import Principal, Role, Scope, TableGrant
from chronoduck.sql.guard import Pending
from tests.patience import PATIENCE_SECONDS

ANN = Principal("ann", Role.ANALYST, "key:ann")
BOB = Principal("bob", Role.WRITER, "key:bob")
EVE = Principal("eve", Role.ANALYST, "key:eve", scope=Scope((TableGrant("t"),)))
SLOW = "SELECT " + ", ".join(f"(a{i} + {i}) * b{i}" for i in range(300))
"""Takes an analyzer some ten milliseconds."""
LONG = "SELECT " + ", ".join(f"(a{i} + {i}) * b{i}" for i in range(4000))
"""Takes it some hundred milliseconds."""


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    made = Nursery(has_stores=False)
    yield made
    made.close()


@pytest.fixture
async def analysis(nursery: Nursery) -> AsyncIterator[Analysis]:
    made = Analysis(AnalyzerPool(nursery, 3), None, cpu_seconds=20.0)
    yield made
    await made.close()


def analyzers(nursery: Nursery) -> list[int]:
    """Return the processes of the nursery's analyzers, zombies included."""
    pid = nursery.pid
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def until(condition: object) -> None:
    assert callable(condition)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():
            await asyncio.sleep(0.01)


async def test_a_text_is_judged_once_and_then_known(analysis: Analysis) -> None:
    first = await analysis.judge("SELECT 1", ANN)
    assert first.statement.is_read_only
    assert (await analysis.judge("SELECT 1", ANN)).statement is first.statement
    assert analysis.pool.total_questions == 1
    await analysis.judge("SELECT 1", BOB)  # another role may have another verdict
    assert analysis.pool.total_questions == 2


async def test_errors_cross_with_all_their_facts(analysis: Analysis) -> None:
    for _ in range(2):  # asked and remembered
        with pytest.raises(DuckDBQueryError) as syntax:
            await analysis.judge("SELECT\n  FROM WHERE", ANN)
        assert (syntax.value.category, syntax.value.line) == ("parser", 2)
        with pytest.raises(StatementRefusedError) as refused:
            await analysis.judge("DELETE FROM t", ANN)
        assert refused.value.rule == "statement-kind"
        assert refused.value.hint


async def test_half_a_character_is_refused(analysis: Analysis) -> None:
    with pytest.raises(DuckDBQueryError):
        await analysis.judge("SELECT '\ud800'", ANN)


async def test_names_come_for_a_narrowed_principal_alone(analysis: Analysis) -> None:
    assert (await analysis.judge("SELECT a FROM s.t", ANN)).names is None
    names = (await analysis.judge("SELECT a FROM s.t", EVE)).names
    assert names is not None
    assert names.tables == {("", "s", "t")}


async def test_live_macros_are_handed_over_again_when_they_change(nursery: Nursery) -> None:
    with duckdb.connect() as database:
        live = LiveDefinitions(database.cursor)
        analysis = Analysis(AnalyzerPool(nursery, 2), live, cpu_seconds=20.0)
        try:
            database.execute("CREATE MACRO m(x) AS x + 1")
            assert await analysis.judge("SELECT m(1)", ANN)
            made = "CREATE OR REPLACE MACRO m(x) AS (SELECT content FROM read_text(x))"
            database.execute(made)
            analysis.note_statement("create", made)
            with pytest.raises(StatementRefusedError, match="macro m"):
                await analysis.judge("SELECT m(1)", ANN)
            # It reaches none: what it is must not show.
            assert await analysis.judge("SELECT m(1)", EVE)
        finally:
            await analysis.close()


async def test_what_a_batch_defines_is_known_to_its_later_statements(analysis: Analysis) -> None:
    made = "CREATE MACRO evil(x) AS (SELECT content FROM read_text(x))"
    for _ in range(2):
        with pytest.raises(StatementRefusedError):
            await analysis.judge(made, BOB, pending=Pending())
    pending = Pending()
    await analysis.judge("CREATE MACRO twice(x) AS x || x", BOB, pending=pending)
    assert [each.name for each in pending.created] == ["twice"]
    await analysis.judge("SELECT twice('a')", BOB, pending=pending)
    assert [each.name for each in pending.created] == ["twice"]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
async def test_a_death_refuses_that_text_alone_and_is_charged(
    analysis: Analysis, nursery: Nursery, number: signal.Signals
) -> None:
    await analysis.judge("SELECT 1", ANN)
    await until(lambda: analysis.pool.count == 2)
    charged: list[float] = []
    before = {pid: cpu_seconds(pid) for pid in analyzers(nursery)}
    asked = asyncio.create_task(analysis.judge(LONG, ANN, charge=charged.append))
    while not asked.done():
        for pid in analyzers(nursery):
            if cpu_seconds(pid) > before.get(pid, 1.0) + 0.02:
                os.kill(pid, number)
        await asyncio.sleep(0.005)
    with pytest.raises(StatementRefusedError) as refused:
        await asked
    assert refused.value.rule == "analysis"
    assert len(charged) == 1
    assert (await analysis.judge("SELECT 2", ANN)).statement.text == "SELECT 2"


async def test_an_analyzer_that_died_while_idle_is_held_against_nobody(
    analysis: Analysis, nursery: Nursery
) -> None:
    await analysis.judge("SELECT 1", ANN)
    await until(lambda: analysis.pool.count == 2)
    for pid in analyzers(nursery):
        os.kill(pid, signal.SIGKILL)
    assert await analysis.judge("SELECT 2", ANN)
    await until(lambda: analysis.pool.count == 2)


async def test_a_text_that_takes_too_much_cpu_time_ends_its_analyzer(nursery: Nursery) -> None:
    analysis = Analysis(AnalyzerPool(nursery, 2), None, cpu_seconds=0.02)
    charged: list[float] = []
    try:
        with pytest.raises(StatementRefusedError) as refused:
            await analysis.judge(LONG, ANN, charge=charged.append)
        assert refused.value.rule == "analysis"
        assert charged[0] > 0
    finally:
        await analysis.close()
    await until(lambda: not analyzers(nursery))


async def test_an_analyzer_that_hangs_is_ended_and_replaced(nursery: Nursery) -> None:
    analysis = Analysis(AnalyzerPool(nursery, 2), None, cpu_seconds=1.0)
    try:
        await analysis.judge("SELECT 1", ANN)
        await until(lambda: analysis.pool.count == 2)
        stopped = analyzers(nursery)
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        with pytest.raises(StatementRefusedError):
            await analysis.judge("SELECT 2", ANN)
        await until(lambda: len(analyzers(nursery)) == 2 and analyzers(nursery) != stopped)
        for pid in set(stopped) & set(analyzers(nursery)):
            os.kill(pid, signal.SIGCONT)
        assert await analysis.judge("SELECT 3", BOB)
    finally:
        await analysis.close()


async def test_one_principal_has_one_analyzer_at_most(analysis: Analysis, nursery: Nursery) -> None:
    await analysis.judge("SELECT 1", ANN)
    await until(lambda: analysis.pool.count == 2)
    for pid in analyzers(nursery):
        os.kill(pid, signal.SIGSTOP)
    flood = [asyncio.create_task(analysis.judge(f"SELECT {n}", ANN)) for n in range(2, 20)]
    await asyncio.sleep(0.05)
    assert analysis.pool.waiting == 17
    other = asyncio.create_task(analysis.judge("SELECT 'bob'", BOB))
    await asyncio.sleep(0.05)
    assert analysis.pool.waiting == 17
    for pid in analyzers(nursery):
        os.kill(pid, signal.SIGCONT)
    await other
    await asyncio.gather(*flood)


async def test_the_principal_that_used_least_comes_first(nursery: Nursery) -> None:
    analysis = Analysis(AnalyzerPool(nursery, 2), None, cpu_seconds=20.0)
    order = []

    async def judged(principal: Principal) -> None:
        await analysis.judge(f"SELECT '{principal.name}'", principal)
        order.append(principal.name)

    try:
        await analysis.judge(SLOW, ANN)
        await until(lambda: analysis.pool.count == 2)
        for pid in analyzers(nursery):
            os.kill(pid, signal.SIGSTOP)
        fillers = [Principal(name, Role.ANALYST, f"key:{name}") for name in ("x", "y")]
        tasks = [asyncio.create_task(judged(each)) for each in (*fillers, ANN, BOB)]
        await until(lambda: analysis.pool.waiting == 2)
        os.kill(analyzers(nursery)[0], signal.SIGCONT)  # one after the other
        await asyncio.gather(*tasks[2:])
        os.kill(analyzers(nursery)[1], signal.SIGCONT)
        await asyncio.gather(*tasks)
        assert order.index("bob") < order.index("ann")
    finally:
        await analysis.close()


@pytest.mark.parametrize(
    ("count", "text"), [(1_100, "SELECT -{}"), (40, "SELECT '{}" + "x" * 900_000)]
)
async def test_too_many_waiting_texts_of_one_principal_are_refused(
    analysis: Analysis, nursery: Nursery, count: int, text: str
) -> None:
    await analysis.judge("SELECT 1", ANN)
    for pid in analyzers(nursery):
        os.kill(pid, signal.SIGSTOP)
    flood = [asyncio.create_task(analysis.judge(text.format(n), ANN)) for n in range(count)]
    while not any(task.done() for task in flood):
        await asyncio.sleep(0)
    refused = [task for task in flood if task.done()]
    assert all(isinstance(task.exception(), QueueFullError) for task in refused)
    assert 0 < len(refused) < count
    for task in flood:
        task.cancel()
    await asyncio.gather(*flood, return_exceptions=True)
    assert analysis.pool.waiting == 0
    for pid in analyzers(nursery):
        os.kill(pid, signal.SIGCONT)
    assert await analysis.judge("SELECT 2", BOB)


async def test_a_caller_that_leaves_leaves_nothing_behind(
    analysis: Analysis, nursery: Nursery
) -> None:
    tasks = [asyncio.create_task(analysis.judge(f"SELECT {n}", ANN)) for n in range(10)]
    await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert analysis.pool.waiting == 0
    assert await analysis.judge("SELECT 1", ANN)


async def test_closing_while_analyzers_start_leaves_no_process_and_no_socket(
    nursery: Nursery,
) -> None:
    nursery.start()
    before = set(Path("/proc/self/fd").iterdir())
    for turns in range(20):
        analysis = Analysis(AnalyzerPool(nursery, 4), None, cpu_seconds=20.0)
        asked = asyncio.create_task(analysis.judge("SELECT 1", ANN))
        for _ in range(turns + 1):
            await asyncio.sleep(0)
        await analysis.close()
        with pytest.raises((ServiceUnavailableError, asyncio.CancelledError)):
            await asked
    await until(lambda: not analyzers(nursery))
    await until(lambda: len(set(Path("/proc/self/fd").iterdir()) - before) <= 1)


async def test_a_nursery_that_dies_is_started_again(nursery: Nursery, analysis: Analysis) -> None:
    await analysis.judge("SELECT 1", ANN)
    assert nursery.pid is not None
    os.kill(nursery.pid, signal.SIGKILL)
    for number in range(2, 10):
        try:
            await analysis.judge(f"SELECT {number}", ANN)
            break
        except StatementRefusedError:
            continue  # its analyzers died with it
    else:
        pytest.fail("no statement is judged any more")


@pytest.mark.parametrize("name", ["greet", "ask"])
async def test_nobody_waits_for_ever_whatever_fails(
    analysis: Analysis, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    work = getattr(Analyzer, name)
    failures = iter([ValueError("foreseen by nobody"), RuntimeError("nor this")])

    async def failing(*arguments: object) -> object:
        for failure in failures:
            raise failure
        return await work(*arguments)

    monkeypatch.setattr(Analyzer, name, failing)
    async with asyncio.timeout(PATIENCE_SECONDS):
        for number in range(3):
            with contextlib.suppress(StatementRefusedError):
                await analysis.judge(f"SELECT {number}", ANN)
        assert (await analysis.judge("SELECT 7", ANN)).statement.kind == "select"


async def test_a_database_may_have_the_name_that_duckdb_gives_to_none(nursery: Nursery) -> None:
    """The copy of a catalog of that name cannot be used twice, and an analyzer opens no other."""
    with duckdb.connect() as database:
        database.execute("CREATE TABLE t (a INT)")
        assert database.execute("SELECT current_database()").fetchall() == [("memory",)]
        analysis = Analysis(
            AnalyzerPool(nursery, 2), LiveDefinitions(database.cursor), cpu_seconds=20.0
        )
        try:
            for number in range(4):
                sql = f"CREATE TABLE u AS SELECT a + {number} AS a FROM t"
                assert (await analysis.judge(sql, BOB)).statement.kind == "create"
            assert analysis.pool.deaths == 0
        finally:
            await analysis.close()
