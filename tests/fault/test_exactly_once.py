"""Fatal errors at every step of a write: what was acknowledged is there once, on every route."""

from __future__ import annotations

import asyncio
import io
import os
import random
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import duckdb
import pytest

from chronoduck.assembly import DuckDBService
from chronoduck.engine import execution, writing
from chronoduck.engine.database import Connection, DuckDBInstance
from chronoduck.engine.encoding import EncodingOptions, ResultFormat
from chronoduck.errors import DuckDBException, WriteOutcomeUnknownError
from chronoduck.service.records import Caller
from chronoduck.service.result_encoding import ResultRequest
from chronoduck.settings import BreakerSettings, Settings
from chronoduck.transfer.idempotency import RequestKey
from tests.fault.test_engine_failures import fill_the_log, full_disk, wal_size

Break = Callable[[], bool]
ROUNDS = int(os.environ.get("CHRONODUCK_FATAL_ROUNDS", "1"))
TORN_BYTES = (0, 0, 16, 30, 45, 59)
"""How much of a checkpoint's entry the full disk still takes."""


def invalidate(instance: DuckDBInstance, settings: Settings) -> bool:
    """Make the instance invalid: a CHECKPOINT that cannot write its mark into the log is fatal.

    Not beside a transaction with DDL, of which DuckDB knows before it begins to write.
    """
    cursor = instance.cursor()
    try:
        cursor.execute("INSERT INTO ballast VALUES (1)")
        with full_disk(wal_size(settings)), suppress(duckdb.Error):
            cursor.execute("CHECKPOINT")
    finally:
        cursor.close()
    return not instance.is_valid()


class Saboteur:
    """Makes the instance fail before or after a statement of the service, chosen by its beginning."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.plan: list[tuple[str, str]] = []
        self.strike: Break = lambda: False
        self.struck = 0
        original = execution.execute

        def execute(connection: Connection, sql: str, *rest: Any) -> None:
            self._perhaps("before", sql)
            original(connection, sql, *rest)
            self._perhaps("after", sql)

        for module in (execution, writing):
            monkeypatch.setattr(module, "execute", execute)

    def _perhaps(self, moment: str, sql: str) -> None:
        for wanted, beginning in self.plan:
            if wanted == moment and sql.startswith(beginning):
                self.plan.remove((wanted, beginning))
                self.struck += self.strike()
                return


@pytest.fixture
def saboteur(monkeypatch: pytest.MonkeyPatch) -> Saboteur:
    return Saboteur(monkeypatch)


@pytest.fixture
def settings(make_settings: Callable[..., Settings]) -> Settings:
    """Settings of a service that is to fail again and again."""
    return make_settings(breaker=BreakerSettings(failure_threshold=1_000_000))


@pytest.fixture
async def broken(service: DuckDBService, settings: Settings, saboteur: Saboteur) -> DuckDBService:
    """A service with a table ``a``, whose saboteur is ready."""
    await service.execute_query("CREATE TABLE a (n BIGINT)")
    await service.execute_query("CREATE TABLE ballast (n BIGINT)")
    await fill_the_log(service)
    instance = (await service.parts()).instance
    saboteur.strike = lambda: invalidate(instance, settings)
    return service


async def by_query(service: DuckDBService, n: int) -> Any:
    return await service.execute_query(f"INSERT INTO a VALUES ({n})")


async def by_returning(service: DuckDBService, n: int) -> Any:
    return await service.execute_query(f"INSERT INTO a VALUES ({n}) RETURNING n")


async def by_cte(service: DuckDBService, n: int) -> Any:
    return await service.execute_query(
        f"WITH d AS (INSERT INTO a VALUES ({n}) RETURNING n) SELECT n FROM d"
    )


async def by_batch(service: DuckDBService, n: int) -> Any:
    return await service.execute_batch([f"INSERT INTO a VALUES ({n})", "SELECT 1"])


async def by_loose_batch(service: DuckDBService, n: int) -> Any:
    return await service.execute_batch(
        [f"INSERT INTO a VALUES ({n})", "SELECT 1"], use_transaction=False
    )


async def by_transaction(service: DuckDBService, n: int) -> Any:
    async with service.transaction() as transaction:
        await transaction.execute(f"INSERT INTO a VALUES ({n})")
        await transaction.execute("SELECT 1")


async def by_create(service: DuckDBService, n: int) -> Any:
    """One row of ``a`` for the table: made twice, it would be an error."""
    return await service.execute_batch(
        [f"CREATE TABLE t{n} (x INT)", f"INSERT INTO a VALUES ({n})"]
    )


async def by_load(service: DuckDBService, n: int) -> Any:
    loader = (await service.parts()).loader
    return [
        event
        async for event in loader.load(io.BytesIO(b'{"n":%d}\n' % n), name="rows.ndjson", table="a")
    ]


def encoded(form: ResultFormat, sql: str) -> Callable[[DuckDBService, int], Any]:
    async def write(service: DuckDBService, n: int) -> Any:
        request = ResultRequest(sql.format(n=n), None, form, EncodingOptions())
        answer = await (await service.parts()).encoded.run(request, Caller())
        if answer.rest is not None:
            async for _ in answer.rest:
                pass
            await answer.rest.aclose()
        return answer

    return write


FORMATS: dict[str, Callable[[DuckDBService, int], Any]] = {
    **{f.value: encoded(f, "INSERT INTO a VALUES ({n})") for f in ResultFormat},
    **{
        f"{f.value} returning": encoded(f, "INSERT INTO a VALUES ({n}) RETURNING n")
        for f in ResultFormat
    },
}
ROUTES: dict[str, Callable[[DuckDBService, int], Any]] = {
    "query": by_query,
    "returning": by_returning,
    "batch": by_batch,
    "loose batch": by_loose_batch,
    "transaction": by_transaction,
    "create": by_create,
    "load": by_load,
    **FORMATS,
}
if duckdb.__version__ >= "2":
    ROUTES["cte"] = by_cte
MOMENTS = [
    *[("before", word) for word in ("BEGIN", "INSERT", "WITH", "CREATE", "SELECT", "COMMIT")],
    *[("after", word) for word in ("BEGIN", "INSERT", "WITH", "CREATE", "SELECT", "COMMIT")],
]


FEW_MOMENTS = [("before", "INSERT"), ("after", "INSERT"), ("before", "COMMIT"), ("after", "COMMIT")]
"""For the routes that differ only in what is made of the answer."""


@pytest.mark.parametrize("route", ROUTES)
async def test_a_write_around_a_fatal_error_is_there_once_or_not_acknowledged(
    broken: DuckDBService, saboteur: Saboteur, route: str
) -> None:
    write, n = ROUTES[route], 0
    acknowledged: set[int] = set()
    denied: set[int] = set()
    for _ in range(ROUNDS):
        for moment in FEW_MOMENTS if route in FORMATS and ROUNDS == 1 else MOMENTS:
            n += 1
            saboteur.plan[:] = [moment]
            try:
                await write(broken, n)
                acknowledged.add(n)
            except WriteOutcomeUnknownError as error:
                assert not error.retryable
            except DuckDBException:
                denied.add(n)
            saboteur.plan.clear()
    assert saboteur.struck >= ROUNDS
    rows = (await broken.execute_query("SELECT n, count(*) FROM a GROUP BY n")).data
    there = dict(rows)
    assert {n: there.get(n, 0) for n in acknowledged} == dict.fromkeys(acknowledged, 1)
    assert not denied & set(there)
    assert max(there.values(), default=1) == 1


async def test_an_insert_whose_answer_cannot_be_read_any_more_is_acknowledged(
    broken: DuckDBService, saboteur: Saboteur
) -> None:
    saboteur.plan[:] = [("after", "INSERT")]
    answer = await encoded(ResultFormat.JSON, "INSERT INTO a VALUES ({n})")(broken, 1)
    assert b'"data":[[1]]' in answer.body
    assert (await broken.execute_query("SELECT n FROM a")).data == [(1,)]


async def test_a_batch_of_which_a_part_was_committed_is_not_run_again(
    broken: DuckDBService, saboteur: Saboteur
) -> None:
    saboteur.plan[:] = [("before", "SELECT 1")]
    with pytest.raises(WriteOutcomeUnknownError):
        await by_loose_batch(broken, 1)
    assert (await broken.execute_query("SELECT n FROM a")).data == [(1,)]


async def test_words_of_a_user_do_not_make_a_fatal_error_one_without_effect(
    broken: DuckDBService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An engine's message may quote values: only where an error was raised says what it means."""
    original, runs = writing.execute, 0

    def execute(connection: Connection, sql: str, *rest: Any) -> None:
        nonlocal runs
        original(connection, sql, *rest)
        if sql.startswith("INSERT"):
            runs += 1

            def fail() -> None:
                raise duckdb.FatalException(
                    'Failed to append to index: "database has been invalidated because of a '
                    'previous fatal error"'
                )

            with execution._telling_refusals(connection):
                execution.in_engine(connection, sql, None, fail)

    monkeypatch.setattr(writing, "execute", execute)
    with pytest.raises(WriteOutcomeUnknownError):
        await by_query(broken, 1)
    assert runs == 1
    assert (await broken.execute_query("SELECT n FROM a")).data == [(1,)]


async def test_writers_beside_fatal_checkpoints(
    broken: DuckDBService, settings: Settings, saboteur: Saboteur
) -> None:
    acknowledged: list[int] = []
    chance, over, numbers = random.Random(3), asyncio.Event(), iter(range(1_000_000))

    async def writer() -> None:
        while not over.is_set():
            n = next(numbers)
            route = chance.choice([*ROUTES.values()])
            try:
                await route(broken, n)
            except DuckDBException:
                continue
            acknowledged.append(n)

    writers = [asyncio.create_task(writer()) for _ in range(3)]
    fatal = 0
    for _ in range(12 * ROUNDS):
        await asyncio.sleep(0.1)
        with suppress(DuckDBException):
            await broken.execute_query("INSERT INTO ballast VALUES (1)")
        try:
            size = wal_size(settings)
        except FileNotFoundError:
            continue  # the checkpoint of a writer's DDL has just taken it
        with full_disk(size + chance.choice(TORN_BYTES)):
            try:
                await broken.execute_query("CHECKPOINT")
            except DuckDBException as error:
                fatal += "fatal" in error.detail
    over.set()
    await asyncio.gather(*writers)
    there = dict((await broken.execute_query("SELECT n, count(*) FROM a GROUP BY n")).data)
    assert fatal
    assert acknowledged
    assert [n for n in acknowledged if there.get(n, 0) != 1] == []
    assert max(there.values()) == 1


async def test_a_keyed_load_is_resolved_from_the_record_of_its_key(
    broken: DuckDBService, saboteur: Saboteur
) -> None:
    """After each strike the request is sent again as a client would: with its key."""
    loader = (await broken.parts()).loader

    async def load(n: int) -> list[Any]:
        request = RequestKey("somebody", f"key {n}", "the same")
        async with loader.keys.claim(request) as claim:
            events = loader.load(
                io.BytesIO(b'{"n":%d}\n' % n), name="rows.ndjson", table="a", claim=claim
            )
            return [event async for event in events]

    await load(0)
    for n, moment in enumerate(MOMENTS, 1):
        saboteur.plan[:] = [moment]
        for _ in range(3):
            try:
                await load(n)
                break
            except DuckDBException as error:
                assert error.retryable, error
        saboteur.plan.clear()
    assert saboteur.struck >= 6
    there = (await broken.execute_query("SELECT n, count(*) FROM a GROUP BY n")).data
    assert dict(there) == dict.fromkeys(range(len(MOMENTS) + 1), 1)
