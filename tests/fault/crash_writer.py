"""A service that writes until it is killed: the child process of the crash rounds."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

from chronoduck.assembly import DuckDBService
from chronoduck.settings import CheckpointSettings, ReplicaSettings, Settings, load_settings

__all__ = ["BULK_EVERY", "BULK_ROWS", "rows_of", "settings_for", "write_until_killed"]

BULK_EVERY, BULK_ROWS = 7, 3000
"""Every seventh transaction is a bulk insert, which DuckDB writes into the file's blocks."""


def rows_of(number: int) -> int:
    """Return how many rows the transaction of a number writes."""
    return BULK_ROWS if number % BULK_EVERY == 0 else 1


def settings_for(directory: Path) -> Settings:
    """Return settings with which a lot happens in a second."""
    return load_settings(
        database_path=directory / "data" / "test.db",
        temp_directory=directory / "temp",
        memory_limit="300MB",
        worker_threads=1,
        ballast_size=0,
        log_level="error",
        checkpoint=CheckpointSettings(log_size="40KB", commits=60),
        replica=ReplicaSettings(url=str(directory / "replica"), interval=0.02, scrub_rate=0),
    )


def write_until_killed(directory: str, pipe: int, verified: int, first: int) -> None:
    """Tell what is there, then number transactions and tell each that was acknowledged."""
    asyncio.run(_write(Path(directory), pipe, verified, first))


async def _write(directory: Path, pipe: int, verified: int, first: int) -> None:
    def tell(fact: Any) -> None:
        os.write(pipe, json.dumps(fact).encode() + b"\n")

    async with DuckDBService(settings_for(directory)) as service:
        await service.execute_query("CREATE TABLE IF NOT EXISTS t (a INTEGER)")
        old = await service.execute_query(
            "SELECT count(DISTINCT a), count(*) FROM t WHERE a <= ?", [verified]
        )
        new = await service.execute_query(
            "SELECT a, count(*) FROM t WHERE a > ? GROUP BY a ORDER BY a", [verified]
        )
        parts = service._parts
        assert parts is not None
        assert parts.link is not None
        tell({"old": old.data[0], "new": new.data, "replicator": parts.link.pid})
        number = first
        while True:
            number += 1
            await service.execute_query(
                f"INSERT INTO t SELECT {number} FROM range({rows_of(number)})"
            )
            tell(number)
