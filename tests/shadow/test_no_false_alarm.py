"""A database that changes in every way while the shadow looks on: nothing is refuted without cause."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from chronoduck.engine.proving import Verdict
from chronoduck.settings import Settings
from chronoduck.settings.groups import ShadowSettings
from chronoduck.shadow.link import ShadowLink
from tests.shadow.live import LiveDatabase

STEPS = int(os.environ.get("CHRONODUCK_SHADOW_STEPS", "60"))
"""In CI; thousands for a soak."""


def _statement(choose: random.Random, step: int) -> str:
    table = f"t{choose.randrange(3)}"
    key = choose.randrange(200_000)
    return choose.choice(
        [
            f"INSERT INTO {table} (k, v) VALUES ({step}, 'x{step}')",
            f"INSERT INTO {table} (k, v) VALUES ({step}, NULL)",
            (
                f"INSERT INTO {table} (k, v) SELECT i, md5(i::VARCHAR) "
                f"FROM range({key}, {key + choose.choice([10, 3000, 130_000])}) r(i)"
            ),
            f"UPDATE {table} SET v = 'u{step}' WHERE k % 97 = {step % 97}",
            f"UPDATE {table} SET k = k + 1 WHERE k % 101 = {step % 101}",
            f"DELETE FROM {table} WHERE k % 11 = {step % 11}",
            f"DELETE FROM {table}",
            f"ALTER TABLE {table} ADD COLUMN c{step} INTEGER DEFAULT {step}",
            f"ALTER TABLE {table} RENAME TO {table}",
            f"CREATE INDEX i{step} ON {table} ({choose.choice(['k', 'v', 'lower(v)'])})",
            f"CREATE OR REPLACE TABLE {table} (k BIGINT, v VARCHAR, made TIMESTAMP DEFAULT now())",
            f"CREATE OR REPLACE VIEW w{choose.randrange(3)} AS SELECT k FROM {table}",
            f"CREATE SCHEMA s{step}",
            "DROP INDEX IF EXISTS i" + str(choose.randrange(STEPS)),
            "CHECKPOINT",
        ]
    )


@pytest.mark.skipif(duckdb.__version__.startswith("1.5."), reason="DuckDB 1.5 has real alarms")
@pytest.mark.parametrize("seed", [1])
async def test_whatever_is_written_is_proven(
    make_settings: Callable[..., Settings], seed: int, tmp_path: Path
) -> None:
    settings = make_settings(shadow=ShadowSettings(enabled=True, cpu_percent=100), disk_floor=0)
    live = LiveDatabase(settings.database_path)
    for number in range(3):
        live.run(f"CREATE TABLE t{number} (k BIGINT, v VARCHAR, made TIMESTAMP DEFAULT now())")
    link = ShadowLink(settings)
    link.begin()
    choose = random.Random(seed)
    done: list[str] = []
    for step in range(STEPS):
        statement = _statement(choose, step)
        try:
            await asyncio.to_thread(live.run, statement)
        except duckdb.Error:
            continue  # an index in the way of an ALTER, and the like
        done.append(statement)
        if choose.random() < 0.2:
            proof = await link.prove(live.position, 120.0)
            assert proof.verdict is Verdict.PROVEN, (proof, done)
    proof = await link.prove(live.position, 120.0)
    assert proof.verdict is Verdict.PROVEN, (proof, done)
    assert link.status.failures == 0, (link.status, done)
    await link.stop()
    live.close()
