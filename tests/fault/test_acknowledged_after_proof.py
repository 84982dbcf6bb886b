"""What a start might not survive is acknowledged only after a proof, on every path that writes."""

from __future__ import annotations

import asyncio
import io
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from chronoduck.api import create_app
from chronoduck.assembly import DuckDBService
from chronoduck.engine.encoding import EncodingOptions, ResultFormat
from chronoduck.engine.proving import Absence, Proof, Verdict, WalPosition
from chronoduck.errors import DuckDBException, WriteOutcomeUnknownError
from chronoduck.service.acknowledging import AckBarrier
from chronoduck.service.lending import lend
from chronoduck.service.records import Caller
from chronoduck.service.result_encoding import ResultRequest
from chronoduck.settings import Settings
from chronoduck.settings.groups import ShadowSettings
from chronoduck.transfer import LoadOptions

MANY = 200_000
"""Rows that DuckDB writes past the WAL."""
REPLAY = """
import shutil, sys, duckdb
database, copy, size = sys.argv[1], sys.argv[2], int(sys.argv[3])
with open(database + ".wal", "rb") as wal, open(copy + ".wal", "wb") as prefix:
    prefix.write(wal.read(size))
shutil.copy(database, copy)
for _ in range(2):
    connection = duckdb.connect(copy)
    connection.execute("CHECKPOINT")
    connection.close()
"""


class ChildProver:
    """Replays a copy in a process of its own."""

    def __init__(self, settings: Settings, directory: Path) -> None:
        self._database = settings.database_path
        self._directory = directory
        self.asked: list[WalPosition] = []
        self.may_begin = asyncio.Event()
        self.may_begin.set()

    async def prove(self, until: WalPosition, timeout: float) -> Proof:
        self.asked.append(until)
        await self.may_begin.wait()
        copy = self._directory / f"{len(self.asked)}.db"
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", REPLAY, str(self._database), str(copy), str(until.offset))
        )
        failed = await asyncio.wait_for(process.wait(), timeout)
        return Proof(Verdict.REFUTED if failed else Verdict.PROVEN, until, seconds=0.1)


class FixedProver:
    """Says what it is told to say."""

    def __init__(self, verdict: Verdict, absence: Absence | None = None) -> None:
        self._verdict = verdict
        self._absence = absence

    async def prove(self, until: WalPosition, timeout: float) -> Proof:
        if self._verdict is Verdict.NOT_JUDGED and self._absence is None:
            await asyncio.sleep(timeout)
        return Proof(self._verdict, until, "a test says so", absence=self._absence)


@pytest.fixture
def settings(make_settings: Callable[..., Settings]) -> Settings:
    return make_settings(shadow=ShadowSettings(enabled=False), proof_timeout=60, worker_threads=4)


async def barrier_of(service: DuckDBService) -> AckBarrier:
    return (await service.parts()).access.barrier


@asynccontextmanager
async def older_reader(service: DuckDBService) -> AsyncIterator[None]:
    """Keep a transaction open that DuckDB does not checkpoint beside DDL."""
    async with service.transaction() as reader:
        await reader.execute("SELECT count(*) FROM plain")
        await reader.execute("SELECT count(*) FROM keyed")
        yield


@asynccontextmanager
async def no_checkpoint(service: DuckDBService) -> AsyncIterator[None]:
    """Keep checkpoints off: by a reader that blocks DDL's, and by a copy that blocks all others."""
    async with older_reader(service), (await service.parts()).checkpointer.held():
        yield


@pytest.fixture
async def ready(service: DuckDBService) -> DuckDBService:
    await service.execute_query("CREATE TABLE plain (a BIGINT, b VARCHAR)")
    await service.execute_query("CREATE TABLE keyed (a BIGINT, b VARCHAR)")
    await service.execute_query("CREATE INDEX i ON keyed (a)")
    await service.execute_query("CHECKPOINT")
    return service


async def by_query(service: DuckDBService) -> Any:
    return await service.execute_query("CREATE TABLE t AS SELECT 1 AS a")


async def by_stream(service: DuckDBService) -> Any:
    return [batch async for batch in service.stream("CREATE TABLE t AS SELECT 1 AS a")]


async def by_json(service: DuckDBService) -> Any:
    request = ResultRequest("CREATE TABLE t (a INT)", None, ResultFormat.JSON, EncodingOptions())
    return await (await service.parts()).encoded.run(request, Caller())


async def by_job(service: DuckDBService) -> Any:
    jobs = (await service.parts()).statement_jobs
    job = await jobs.start(
        "CREATE TABLE t (a INT)",
        None,
        EncodingOptions(),
        max_rows=None,
        timeout=None,
        caller=Caller(),
    )
    while not job.has_ended:
        await asyncio.sleep(0.02)
    if job.error is not None:
        raise (
            WriteOutcomeUnknownError(str(job.error))
            if (job.error["code"] == "write_outcome_unknown")
            else AssertionError(job.error)
        )


async def by_batch(service: DuckDBService) -> Any:
    return await service.execute_batch(["CREATE TABLE t (a INT)", "INSERT INTO t VALUES (1)"])


async def by_loose_batch(service: DuckDBService) -> Any:
    return await service.execute_batch(
        ["CREATE TABLE t (a INT)", "INSERT INTO t VALUES (1)"], use_transaction=False
    )


async def by_failing_batch(service: DuckDBService) -> Any:
    """The answer says that the first statement stays committed."""
    try:
        await service.execute_batch(
            ["CREATE TABLE t (a INT)", "INSERT INTO t VALUES ('x')"], use_transaction=False
        )
    except WriteOutcomeUnknownError:
        raise
    except DuckDBException as error:
        assert "stay committed" in error.detail


async def by_transaction(service: DuckDBService) -> Any:
    async with service.transaction() as transaction:
        await transaction.execute("CREATE TABLE t (a INT)")


async def by_loan(service: DuckDBService) -> Any:
    loan = await lend((await service.parts()).runner)
    try:
        await loan.execute("CREATE TABLE t (a INT)")
    finally:
        loan.close()


async def by_loan_with_a_transaction(service: DuckDBService) -> Any:
    loan = await lend((await service.parts()).runner)
    try:
        await loan.begin()
        await loan.execute("CREATE TABLE t (a INT)")
        await loan.commit()
    finally:
        loan.close()


async def by_load(service: DuckDBService) -> Any:
    loader = (await service.parts()).loader
    options = LoadOptions(create=True)
    body = io.BytesIO(b'{"a":1}\n')
    return [each async for each in loader.load(body, name="t.ndjson", table="t", options=options)]


async def by_bulk(service: DuckDBService) -> Any:
    return await service.execute_query(f"INSERT INTO keyed SELECT range, 'x' FROM range({MANY})")


PATHS = [
    by_query,
    by_stream,
    by_json,
    by_job,
    by_batch,
    by_loose_batch,
    by_failing_batch,
    by_transaction,
    by_loan,
    by_loan_with_a_transaction,
    by_load,
    by_bulk,
]


@pytest.mark.parametrize("path", PATHS)
async def test_it_is_answered_after_the_proof_of_all_that_is_in_the_wal(
    ready: DuckDBService, settings: Settings, tmp_path: Path, path: Callable[..., Any]
) -> None:
    barrier = await barrier_of(ready)
    prover = barrier.prover = ChildProver(settings, tmp_path)
    async with no_checkpoint(ready) if path is by_bulk else older_reader(ready):
        await path(ready)
    assert prover.asked
    assert barrier.proofs >= 1
    wal = settings.database_path.with_name(settings.database_path.name + ".wal")
    assert prover.asked[-1].offset <= wal.stat().st_size


@pytest.mark.parametrize("path", PATHS)
async def test_it_is_not_answered_as_done_without_one(
    ready: DuckDBService, path: Callable[..., Any]
) -> None:
    barrier = await barrier_of(ready)
    barrier.prover, barrier.timeout = FixedProver(Verdict.NOT_JUDGED), 0.5
    async with no_checkpoint(ready) if path is by_bulk else older_reader(ready):
        with pytest.raises(WriteOutcomeUnknownError):
            await path(ready)
        with pytest.raises(WriteOutcomeUnknownError):  # its bytes lie behind
            await ready.execute_query("INSERT INTO plain VALUES (1, 'x')")
    await ready.execute_query("INSERT INTO plain VALUES (2, 'x')")


async def test_plain_rows_ask_nobody(ready: DuckDBService) -> None:
    barrier = await barrier_of(ready)
    barrier.prover = FixedProver(Verdict.REFUTED)
    before = barrier.get_status()
    async with older_reader(ready):
        await ready.execute_query("INSERT INTO plain VALUES (1, 'x')")
        await ready.execute_query("INSERT INTO keyed VALUES (1, 'x')")
        await ready.execute_query(f"INSERT INTO plain SELECT range, 'x' FROM range({MANY})")
        await ready.execute_query("UPDATE plain SET b = 'y' WHERE a < 10 RETURNING a")
    assert barrier.get_status() == before


async def test_a_checkpoint_takes_the_place_of_a_proof(ready: DuckDBService) -> None:
    barrier = await barrier_of(ready)
    barrier.prover = FixedProver(Verdict.REFUTED)
    before = barrier.checkpoints
    await by_query(ready)
    assert barrier.checkpoints == before + 1


async def test_refuted_and_not_checkpointed_is_told_at_once(
    make_settings: Callable[..., Settings],
) -> None:
    settings = make_settings(shadow=ShadowSettings(enabled=False), proof_timeout=30)
    async with DuckDBService(settings) as service:
        await service.execute_query("CREATE TABLE plain (a BIGINT)")
        await service.execute_query("CREATE TABLE keyed (a BIGINT)")
        (await barrier_of(service)).prover = FixedProver(Verdict.REFUTED)
        async with older_reader(service):
            async with asyncio.timeout(20):
                with pytest.raises(WriteOutcomeUnknownError, match="a test says so"):
                    await service.execute_query("CREATE TABLE t (a INT)")


async def test_without_a_prover_an_older_reader_leaves_a_risk_that_is_counted(
    ready: DuckDBService,
) -> None:
    barrier = await barrier_of(ready)
    for prover in (None, FixedProver(Verdict.NOT_JUDGED, Absence.OFF)):
        barrier.prover, before = prover, barrier.unproven
        async with older_reader(ready):
            await ready.execute_query("CREATE OR REPLACE TABLE t (a INT)")
        assert barrier.unproven == before + 1
    transport = httpx2.ASGITransport(create_app(ready))
    async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
        metrics = (await client.get("/metrics")).text
        health = (await client.get("/api/v1/duckdb/health")).json()
    assert f'duckdb_ack_waits_total{{outcome="unproven"}} {float(barrier.unproven)}' in metrics
    assert "duckdb_ack_waiting 0.0" in metrics
    assert barrier.wait_seconds > 0
    assert "2 writes were acknowledged without a proof" in health["components"]["shadow"]["reason"]


async def test_a_prover_that_stops_with_the_service_is_no_excuse(ready: DuckDBService) -> None:
    barrier = await barrier_of(ready)
    barrier.prover, before = FixedProver(Verdict.NOT_JUDGED, Absence.STOPPING), barrier.unproven
    async with older_reader(ready):
        async with asyncio.timeout(30):  # at once, not at the end of the wait
            with pytest.raises(WriteOutcomeUnknownError, match="a test says so"):
                await ready.execute_query("CREATE TABLE t (a INT)")
    await ready.execute_query("CREATE TABLE u (a INT)")  # a checkpoint is as good
    assert barrier.unproven == before


async def test_the_gate_is_closed_until_the_proof_and_those_inside_share_it(
    ready: DuckDBService, settings: Settings, tmp_path: Path
) -> None:
    barrier = await barrier_of(ready)
    prover = barrier.prover = ChildProver(settings, tmp_path)
    prover.may_begin.clear()
    barrier.timeout = 60
    runner = (await ready.parts()).runner

    async def ddl(number: int, begun: asyncio.Barrier) -> None:
        async with ready.transaction() as transaction:
            await transaction.execute(f"CREATE TABLE t{number} (a INT)")
            await begun.wait()

    async with older_reader(ready):
        begun = asyncio.Barrier(3)
        inside = [asyncio.create_task(ddl(number, begun)) for number in range(3)]
        while not prover.asked:
            await asyncio.sleep(0.01)
        newcomer = asyncio.create_task(ready.execute_query("INSERT INTO plain VALUES (1, 'x')"))
        await asyncio.sleep(0.1)
        states = [each.state for each in runner.list_running() if each.kind == "insert"]
        assert states == ["waiting"]
        while barrier.waiting < len(inside):
            await asyncio.sleep(0.01)
        prover.may_begin.set()
        await asyncio.gather(*inside)
        await newcomer
    assert 1 <= len(prover.asked) <= 2
