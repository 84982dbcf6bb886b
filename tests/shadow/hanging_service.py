"""A service whose checkpoint never ends (DuckDB 1.5): ``hanging_service.py DIRECTORY``."""

from __future__ import annotations

import asyncio
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb

from chronoduck.assembly import DuckDBService
from chronoduck.errors import WalNotReplayableError
from chronoduck.settings import CheckpointSettings, load_settings
from chronoduck.settings.groups import ShadowSettings

STATEMENTS = (
    "CREATE TABLE p (a INTEGER PRIMARY KEY)",
    "CREATE TABLE f (a INTEGER, p INTEGER REFERENCES p (a))",
    "INSERT INTO p VALUES (1), (2)",
    "INSERT INTO f VALUES (7, 1)",
    "CHECKPOINT",
    "ALTER TABLE f ALTER a SET DEFAULT NULL",
    "ALTER TABLE p RENAME TO p2",
)


async def until(condition: Callable[[], Any], seconds: float) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.05)


async def check(directory: Path) -> None:
    settings = load_settings(
        database_path=directory / "data" / "test.db",
        temp_directory=directory / "temp",
        shadow=ShadowSettings(enabled=True, cpu_percent=100),
        checkpoint=CheckpointSettings(timeout=2.0, interval=1.0),
        worker_threads=4,
        disk_floor=0,
    )
    replaced: list[str] = []
    service = DuckDBService(settings, on_stuck=replaced.append)
    await service.initialize()
    for statement in STATEMENTS:
        await service.execute_query(statement)
    parts = await service.parts()
    await until(lambda: parts.checkpointer.hanging_seconds is not None, 60.0)
    try:
        await service.execute_query("INSERT INTO f VALUES (8, 1)")
    except WalNotReplayableError:
        pass
    else:
        raise AssertionError("the write was taken")
    await until(lambda: parts.refuted.rescue_file, 200.0)
    copy = parts.refuted.rescue_file
    assert copy is not None
    with duckdb.connect(str(copy), read_only=True) as connection:
        assert connection.execute("SELECT count(*) FROM p2").fetchone() == (2,)
        assert connection.execute("SELECT a, p FROM f").fetchall() == [(7, 1)]
    assert not replaced
    health = await service.health_check()
    assert health["components"]["shadow"]["status"] == "unhealthy", health["components"]["shadow"]
    await parts.shadow.stop()


if __name__ == "__main__":
    code = 1
    try:
        asyncio.run(asyncio.wait_for(check(Path(sys.argv[1])), 350))
        code = 0
    except BaseException:  # noqa: BLE001 - whatever it was, the process must end
        traceback.print_exc()
    finally:
        os._exit(code)  # the thread of the checkpoint would keep the interpreter
