"""Storms of writers, ALTER and checkpoints: each point that is restored is one that was acknowledged."""

from __future__ import annotations

import asyncio
import os
import random
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import pytest

from chronoduck.assembly import DuckDBService
from chronoduck.errors import DuckDBConnectionError, DuckDBQueryError
from chronoduck.replication.envelope import new_key
from chronoduck.replication.opening import open_archive
from chronoduck.replication.recovery import restore_database
from chronoduck.replication.restore_plan import list_points
from chronoduck.replication.verification import verify_replica
from chronoduck.resilience.write_gate import WritersBusyError
from chronoduck.settings import CheckpointSettings, ReplicaSettings, Settings

pytestmark = pytest.mark.slow
SECONDS = float(os.environ.get("CHRONODUCK_STORM_SECONDS", "8"))
WRITERS = 6
RESTORES = 12
_NUMBERS = "SELECT writer, number, count(*) FROM log GROUP BY ALL"


def rows_of(writer: int, number: int) -> int:
    """Return how many rows a transaction inserts; every fourth is written into blocks."""
    return 20_000 if (writer + number) % 4 == 0 else 1


@dataclass
class Storm:
    """What happens at the same time, and what of it was acknowledged."""

    service: DuckDBService
    deadline: float
    acknowledged: dict[int, list[int]] = field(default_factory=lambda: defaultdict(list))
    """Each writer's numbers, in order."""
    uncertain: dict[int, set[int]] = field(default_factory=lambda: defaultdict(set))
    """Those of which the writer was told that the engine failed meanwhile."""
    altered: int = 0
    checkpoints: int = 0

    @property
    def is_on(self) -> bool:
        return asyncio.get_running_loop().time() < self.deadline

    async def write(self, writer: int) -> None:
        """Insert this writer's numbers, one transaction each, some of many rows."""
        number = 0
        while self.is_on:
            number += 1
            try:
                await self.service.execute_query(
                    "INSERT INTO log (writer, number) "
                    f"SELECT {writer}, {number} FROM range({rows_of(writer, number)})"
                )
            except DuckDBQueryError:
                continue  # an ALTER at the same moment is a conflict
            except DuckDBConnectionError:
                self.uncertain[writer].add(number)
            else:
                self.acknowledged[writer].append(number)

    def check(self, rows: list[tuple[Any, ...]]) -> dict[int, int]:
        """What is there is whole and a prefix of each writer's; return how long each prefix is."""
        found: dict[int, set[int]] = defaultdict(set)
        for writer, number, count in rows:
            assert count == rows_of(writer, number), f"number {number} of writer {writer} is torn"
            found[writer].add(number)
        lengths = {}
        for writer, numbers in found.items():
            known = self.acknowledged[writer]
            assert numbers <= {*known, *self.uncertain[writer]}
            lengths[writer] = len(numbers & set(known))
            assert numbers & set(known) == set(known[: lengths[writer]])
        return lengths

    async def alter(self) -> None:
        """Change the table that is written to, and another one, in every way."""
        name = 0
        while self.is_on:
            name += 1
            for text in (
                f"ALTER TABLE log ADD COLUMN c{name} INTEGER DEFAULT {name}",
                f"ALTER TABLE log ALTER c{name} SET DATA TYPE VARCHAR",
                f"ALTER TABLE log RENAME c{name} TO d{name}",
                f"ALTER TABLE log DROP COLUMN d{name}",
                f"CREATE OR REPLACE TABLE side AS SELECT {name} AS a, range AS b FROM range(5000)",
                "CREATE INDEX IF NOT EXISTS side_a ON side (a)",
                f"ALTER TABLE side RENAME TO side{name}",
                f"DROP TABLE side{name}",
            ):
                with suppress(DuckDBQueryError, DuckDBConnectionError):
                    await self.service.execute_query(text)
                    self.altered += 1
            with suppress(DuckDBQueryError, DuckDBConnectionError, WritersBusyError):
                await self.alter_in_a_transaction(name)

    async def alter_in_a_transaction(self, name: int) -> None:
        """Change the table's types in a transaction that has written before, and in a batch."""
        async with self.service.transaction(timeout=20) as transaction:
            await transaction.execute("CREATE TABLE IF NOT EXISTS other AS SELECT 1 AS a")
            await transaction.execute(f"ALTER TABLE log ADD COLUMN t{name} INTEGER")
            await transaction.execute(f"ALTER TABLE log ALTER t{name} SET DATA TYPE VARCHAR")
        await self.service.execute_batch(
            [
                f"ALTER TABLE log ALTER t{name} SET DATA TYPE BIGINT",
                f"ALTER TABLE log DROP COLUMN t{name}",
            ]
        )

    async def checkpoint(self) -> None:
        """Checkpoint as users do, beside those of the service."""
        choice = random.Random(9)
        while self.is_on:
            with suppress(DuckDBQueryError, DuckDBConnectionError):
                await self.service.execute_query(choice.choice(["CHECKPOINT", "VACUUM"]))
                self.checkpoints += 1
            await asyncio.sleep(choice.uniform(0.05, 0.3))


def rows_in(path: Path) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(path), read_only=True) as connection:
        return connection.execute(_NUMBERS).fetchall()


async def test_every_point_of_a_storm_is_a_prefix_of_each_writer(
    make_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    settings = make_settings(
        worker_threads=WRITERS + 2,
        checkpoint=CheckpointSettings(log_size="1MB", commits=200),
        replica=ReplicaSettings(
            url=str(tmp_path / "replica"), interval=0.02, encryption_key=new_key()
        ),
    )
    async with DuckDBService(settings) as service:
        await service.execute_query("CREATE TABLE log (writer INTEGER, number INTEGER)")
        storm = Storm(service, asyncio.get_running_loop().time() + SECONDS)
        await asyncio.gather(
            *(storm.write(writer) for writer in range(WRITERS)), storm.alter(), storm.checkpoint()
        )
        counts = await service.execute_query(_NUMBERS, max_rows=1_000_000)
        everything = {writer: len(numbers) for writer, numbers in storm.acknowledged.items()}
        assert storm.check(counts.data) == everything
    assert storm.altered > 10
    assert storm.checkpoints > 3
    archive = open_archive(settings)
    with ThreadPoolExecutor(2) as executor:
        points = list_points(archive, archive.listing(), executor)
        assert verify_replica(archive, executor).damages == ()
    chosen = [*sorted(random.Random(1).sample(range(1, len(points) - 1), RESTORES)), -1]
    before: dict[int, int] = {}
    for point in [points[index] for index in chosen]:
        output = tmp_path / f"{point.time_us}.db"
        restore_database(archive, output, to_us=point.time_us, verify="full")
        lengths = storm.check(rows_in(output))
        assert all(lengths.get(writer, 0) >= length for writer, length in before.items())
        before = lengths
        output.unlink()
    assert before == everything
