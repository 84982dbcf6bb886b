"""Compaction of a live database: everything is the same, the space is given back, nobody is hurt."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from chronoduck.assembly import DuckDBService
from chronoduck.engine.compaction import compact_file
from chronoduck.errors import DatabaseFailedError, StatementRefusedError
from chronoduck.service.jobs import JobState
from chronoduck.settings import ReplicaSettings, Settings
from tests.patience import PATIENCE_SECONDS

SCHEMA = """
CREATE TYPE mood AS ENUM ('calm', 'wild');
CREATE SCHEMA other;
CREATE SEQUENCE ids START 5;
CREATE TABLE child_first (a INTEGER);
CREATE TABLE parent (id INTEGER PRIMARY KEY DEFAULT nextval('ids'), m mood,
    twice DECIMAL(12, 2) GENERATED ALWAYS AS (id * 2));
INSERT INTO parent (m) VALUES ('calm'), ('wild');
CREATE TABLE child (parent_id INTEGER REFERENCES parent(id), x VARCHAR CHECK (length(x) < 10));
INSERT INTO child VALUES (5, 'x');
CREATE INDEX child_x ON child (x);
CREATE VIEW v AS SELECT * FROM parent;
CREATE VIEW other.w AS SELECT * FROM v;
CREATE MACRO plus_one(x) AS x + 1;
COMMENT ON TABLE parent IS 'a comment';
CREATE TABLE other."strange name" AS SELECT 1 AS "a column", [1, 2] AS l, {'a': NULL} AS s;
"""


def test_a_compacted_file_has_everything(tmp_path: Path) -> None:
    source, target = tmp_path / "old.db", tmp_path / "new.db"
    with duckdb.connect(str(source)) as connection:
        for statement in SCHEMA.split(";\n"):
            if statement.strip():
                connection.execute(statement)
    assert compact_file(source, target) == 4
    with duckdb.connect(str(target)) as connection:
        assert connection.execute("SELECT plus_one(id) FROM other.w ORDER BY 1").fetchall() == [
            (6,),
            (7,),
        ]
        assert connection.execute(
            "INSERT INTO parent (m) VALUES ('calm') RETURNING id"
        ).fetchone() == (7,)
        with pytest.raises(duckdb.ConstraintException):
            connection.execute("INSERT INTO child VALUES (99, 'x')")


def test_a_damaged_database_is_not_compacted(tmp_path: Path) -> None:
    source = tmp_path / "old.db"
    with duckdb.connect(str(source)) as connection:
        connection.execute("CREATE TABLE t AS SELECT hash(range) AS a FROM range(200000)")
    data = bytearray(source.read_bytes())
    data[len(data) // 2] ^= 1
    source.write_bytes(data)
    with pytest.raises(DatabaseFailedError, match="cannot be compacted"):
        compact_file(source, tmp_path / "new.db")


@pytest.mark.parametrize("with_replica", [False, True])
async def test_compaction_beside_readers_and_writers(
    make_settings: Callable[..., Settings], tmp_path: Path, with_replica: bool
) -> None:
    replica = ReplicaSettings(
        url=str(tmp_path / "replica") if with_replica else None, interval=0.05
    )
    settings = make_settings(replica=replica)
    written = reads = 0
    is_done = False
    async with DuckDBService(settings) as service:
        await service.execute_query("CREATE TABLE t AS SELECT hash(range) AS a FROM range(2000000)")
        await service.execute_query("CREATE TABLE w (a INTEGER)")
        await service.execute_query("DROP TABLE t")
        await service.execute_query("CREATE TABLE t AS SELECT range AS a FROM range(1000)")
        await service.execute_query(
            "CREATE TABLE last AS SELECT hash(range) AS a FROM range(200000)"
        )
        await service.execute_query("CHECKPOINT")

        async def write() -> None:
            nonlocal written
            while not is_done:
                await service.execute_query("INSERT INTO w VALUES (1)")
                written += 1

        async def read() -> None:
            nonlocal reads
            while not is_done:
                rows = (await service.execute_query("SELECT count(*) FROM t")).data
                assert rows == [(1000,)]
                reads += 1

        others = [asyncio.create_task(write()), asyncio.create_task(read())]
        jobs, compaction = (await service.parts()).jobs, (await service.parts()).compaction
        job = await jobs.wait(await compaction.begin())
        assert job.state is JobState.SUCCEEDED, job.error
        assert job.result is not None
        await asyncio.sleep(0.3)
        is_done = True
        await asyncio.gather(*others)
        assert job.result["bytes_after"] < job.result["bytes_before"] / 2
        rows = (await service.execute_query("SELECT count(*) FROM w")).data
        assert rows == [(written,)]
        assert reads > 10
        if with_replica:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while (await service.get_replication_status())["state"] not in (
                    "following",
                    "syncing",
                ):
                    await asyncio.sleep(0.05)
    assert not list(settings.database_path.parent.glob(".*"))
    async with DuckDBService(settings) as service:
        assert (await service.execute_query("SELECT count(*) FROM w")).data == [(written,)]
        if with_replica:
            jobs, drills = (await service.parts()).jobs, (await service.parts()).drills
            job = await jobs.wait(drills.begin())
            assert job.state is JobState.SUCCEEDED, job.error
            assert job.result is not None
            assert job.result["rows"] == 1000 + 200_000 + written


async def test_values_of_a_sequence_that_a_select_takes_meanwhile_are_not_given_again(
    service: DuckDBService,
) -> None:
    await service.execute_query("CREATE SEQUENCE s")
    await service.execute_query("CREATE TABLE t AS SELECT hash(range) AS a FROM range(500000)")
    values: list[int] = []
    is_done = False

    async def take() -> None:
        while not is_done:
            values.append((await service.execute_query("SELECT nextval('s')")).data[0][0])
            await asyncio.sleep(0.01)

    taker = asyncio.create_task(take())
    jobs, compaction = (await service.parts()).jobs, (await service.parts()).compaction
    job = await jobs.wait(await compaction.begin())
    await asyncio.sleep(0.1)
    is_done = True
    await taker
    assert values == list(range(1, len(values) + 1))
    if job.state is JobState.FAILED:
        assert job.error is not None
        assert "nextval" in job.error["detail"] or job.error["code"] == "transaction_conflict"
    assert not list(service.settings.database_path.parent.glob(".*"))


async def test_checkpoints_of_users_are_counted_and_not_forced(service: DuckDBService) -> None:
    await service.execute_query("CREATE TABLE t AS SELECT 1 AS a")
    before = (await service.get_replication_status())["checkpoints"]["count"]
    await service.execute_query("CHECKPOINT")
    assert (await service.get_replication_status())["checkpoints"]["count"] == before + 1
    for text in ("FORCE CHECKPOINT", "FROM checkpoint()", "SELECT * FROM force_checkpoint()"):
        with pytest.raises(StatementRefusedError, match="checkpoint"):
            await service.execute_query(text)
    with pytest.raises(StatementRefusedError, match="CHECKPOINT"):
        async with service.transaction() as tx:
            await tx.execute("CHECKPOINT")
