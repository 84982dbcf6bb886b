"""Storms of writers, ALTER and checkpoints: each point that is restored is one that was acknowledged."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import pytest

from chronoduck.assembly import DuckDBService
from chronoduck.errors import DuckDBQueryError
from chronoduck.replication.envelope import new_key
from chronoduck.replication.opening import open_archive
from chronoduck.replication.recovery import restore_database
from chronoduck.replication.restore_plan import list_points
from chronoduck.replication.verification import verify_replica
from chronoduck.settings import CheckpointSettings, ReplicaSettings, Settings

pytestmark = pytest.mark.slow
SECONDS = float(os.environ.get("CHRONODUCK_STORM_SECONDS", "8"))
WRITERS = 6
RESTORES = 12
_PER_WRITER = (
    "SELECT writer, count(DISTINCT number), max(number), count(*) FROM log GROUP BY writer"
)


@dataclass
class Storm:
    """What happens at the same time, and what of it was acknowledged."""

    service: DuckDBService
    deadline: float
    acknowledged: dict[int, int] = field(default_factory=dict)
    """Each writer's last number."""
    altered: int = 0
    checkpoints: int = 0

    @property
    def is_on(self) -> bool:
        return asyncio.get_running_loop().time() < self.deadline

    async def write(self, writer: int) -> None:
        """Insert this writer's numbers, one transaction each; some of many rows, some updated."""
        choice = random.Random(writer)
        number = 0
        while self.is_on:
            rows = choice.choice([1, 1, 1, 5, 20_000])
            text = (
                f"INSERT INTO log (writer, number) SELECT {writer}, {number + 1} FROM range({rows})"
            )
            # An ALTER at the same moment is a conflict, of which the writer is told.
            with suppress(DuckDBQueryError):
                await self.service.execute_query(text)
                number += 1
                self.acknowledged[writer] = number

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
                with suppress(DuckDBQueryError):
                    await self.service.execute_query(text)
                    self.altered += 1

    async def checkpoint(self) -> None:
        """Checkpoint as users do, beside those of the service."""
        choice = random.Random(9)
        while self.is_on:
            with suppress(DuckDBQueryError):
                await self.service.execute_query(choice.choice(["CHECKPOINT", "VACUUM"]))
                self.checkpoints += 1
            await asyncio.sleep(choice.uniform(0.05, 0.3))


def state_of(path: Path) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(path), read_only=True) as connection:
        return connection.execute(_PER_WRITER).fetchall()


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
        counts = await service.execute_query(_PER_WRITER)
        live = {row[0]: row[1:] for row in counts.data}
        status = await service.get_replication_status()
    assert {writer: facts[1] for writer, facts in live.items()} == storm.acknowledged
    assert storm.altered > 10
    assert status["generations"] > 3
    _check_points(settings, tmp_path, live)


def _check_points(settings: Settings, tmp_path: Path, live: dict[int, tuple[int, ...]]) -> None:
    archive = open_archive(settings)
    with ThreadPoolExecutor(2) as executor:
        points = list_points(archive, archive.listing(), executor)
        assert verify_replica(archive, executor).damages == ()
    middle = random.Random(1).sample(points[1:-1], RESTORES)
    before: dict[int, int] = {}
    for point in [*sorted(middle, key=lambda point: point.time_us), points[-1]]:
        output = tmp_path / f"{point.time_us}.db"
        restore_database(archive, output, to_us=point.time_us, verify="full")
        found = {row[0]: row[1:] for row in state_of(output)}
        for writer, (distinct, last, _) in found.items():
            assert distinct == last, f"writer {writer} has gaps at {point}"
            assert last >= before.get(writer, 0)
        before = {writer: facts[1] for writer, facts in found.items()}
        output.unlink()
    assert found == live
