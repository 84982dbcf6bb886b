"""An interrupt that comes too late: who is told "interrupted" may run the statement again."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest

from chronoduck.assembly import DuckDBService
from chronoduck.engine import execution, writing
from chronoduck.engine.cancellation import CancelReason, CancelToken
from chronoduck.engine.database import Connection
from chronoduck.engine.encoding import EncodingOptions, ResultFormat
from chronoduck.errors import DuckDBException, NotFoundError, StatementCancelledError
from chronoduck.service.records import Caller
from chronoduck.service.result_encoding import ResultRequest


@pytest.fixture
def interrupt_after(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Have an operator interrupt each statement that begins so, just after it was executed."""
    original = execution.execute
    beginnings: list[str] = []

    def execute(
        connection: Connection, sql: str, params: Any, token: CancelToken | None, **rest: Any
    ) -> None:
        original(connection, sql, params, token, **rest)
        if token is not None and sql.startswith(tuple(beginnings)):
            token.cancel(CancelReason.OPERATOR)

    for module in (execution, writing):
        monkeypatch.setattr(module, "execute", execute)
    return beginnings.append


async def test_a_write_that_was_executed_is_answered(
    service: DuckDBService, interrupt_after: Callable[[str], None]
) -> None:
    await service.execute_query("CREATE TABLE t (a INTEGER)")
    interrupt_after("INSERT")
    assert (await service.execute_query("INSERT INTO t VALUES (1)")).data == [(1,)]
    request = ResultRequest(
        "INSERT INTO t VALUES (2) RETURNING a", None, ResultFormat.JSON, EncodingOptions()
    )
    # It is committed only when its rows are known.
    with pytest.raises(StatementCancelledError):
        await (await service.parts()).encoded.run(request, Caller())
    assert (await service.execute_query("SELECT a FROM t")).data == [(1,)]


async def test_a_read_that_was_executed_is_interrupted(
    service: DuckDBService, interrupt_after: Callable[[str], None]
) -> None:
    interrupt_after("SELECT")
    with pytest.raises(StatementCancelledError):
        await service.execute_query("SELECT 42")


async def test_a_batch_that_is_interrupted_before_its_commit_leaves_nothing(
    service: DuckDBService, interrupt_after: Callable[[str], None]
) -> None:
    await service.execute_query("CREATE TABLE t (a INTEGER)")
    interrupt_after("INSERT")
    with pytest.raises(DuckDBException):
        await service.execute_batch(["INSERT INTO t VALUES (1)", "INSERT INTO t VALUES (2)"])
    assert (await service.execute_query("SELECT count(*) FROM t")).data == [(0,)]


async def test_interrupts_at_any_moment_never_lie(service: DuckDBService) -> None:
    """What was answered is there, what was interrupted is not: neither more nor less."""
    await service.execute_query("CREATE TABLE t (a INTEGER)")
    runner = (await service.parts()).runner
    chance = random.Random(7)
    answered: set[int] = set()

    async def write(number: int) -> None:
        insert = f"INSERT INTO t VALUES ({number})"
        try:
            if number % 2:
                await service.execute_batch([insert, "SELECT 1"])
            else:
                await service.execute_query(insert)
        except DuckDBException as error:
            assert error.code in ("statement_cancelled", "batch_failed")
            return
        answered.add(number)

    async def interrupt() -> None:
        while True:
            await asyncio.sleep(chance.random() / 500)
            running = runner.list_running()
            if running:
                try:
                    runner.cancel(chance.choice(running).id)
                except NotFoundError:
                    continue

    interrupting = asyncio.create_task(interrupt())
    for start in range(0, 600, 6):
        await asyncio.gather(*(write(number) for number in range(start, start + 6)))
    interrupting.cancel()
    stored = await service.execute_query("SELECT a FROM t")
    assert {number for (number,) in stored.data} == answered
    assert 0 < len(answered) < 600
