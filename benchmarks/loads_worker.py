"""One load by the service in this process: ``python -m benchmarks.loads_worker FILE TABLE CREATE 2``.

It uses what all commits since the loader was made have, so that an older one can be measured by it: give
its ``src`` in PYTHONPATH.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

import duckdb

from chronoduck import DuckDBService
from chronoduck.settings import Settings


def main() -> None:
    file, table, create, threads = sys.argv[1:]
    with tempfile.TemporaryDirectory() as directory:
        if create == "plain":
            found = _plain(Path(directory), table, int(threads))
        else:
            found = asyncio.run(_load(Path(directory), Path(file), table, create, int(threads)))
    sys.stdout.write(json.dumps(found) + "\n")


def cpu_seconds() -> float:
    """Return the CPU time of all threads of this process and of its children."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime + _living_children()


def _living_children() -> float:
    ticks, mine = 0, os.getpid()
    parents: dict[int, tuple[int, int]] = {}
    for each in Path("/proc").iterdir():
        if each.name.isdecimal():
            try:
                fields = (each / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            parents[int(each.name)] = int(fields[1]), int(fields[11]) + int(fields[12])
    for pid, (parent, used) in parents.items():
        while parent and parent != mine:
            parent = parents.get(parent, (0, 0))[0]
        if parent == mine and pid != mine:
            ticks += used
    return ticks / os.sysconf("SC_CLK_TCK")


async def _load(
    directory: Path, file: Path, table: str, create: str, threads: int
) -> dict[str, float]:
    settings = Settings(
        database_path=directory / "own.db",
        temp_directory=directory / "temp",
        memory_limit="2GB",
        engine_threads=threads,
    )
    async with DuckDBService(settings) as service:
        if create:
            await service.execute_query(create)
        loader = (await service.parts()).loader
        with file.open("rb") as source:
            began, cpu = time.perf_counter(), cpu_seconds()
            async for event in loader.load(source, name=file.name, table=table):
                last = event
            return {
                "seconds": time.perf_counter() - began,
                "cpu": cpu_seconds() - cpu,
                "rows": last.rows_added,
            }


def _plain(directory: Path, statements: str, threads: int) -> dict[str, float]:
    """Run statements by DuckDB alone; the last one is measured."""
    create, insert = statements.split(";")
    connection = duckdb.connect(
        str(directory / "own.db"), config={"threads": threads, "memory_limit": "2GB"}
    )
    connection.execute(create)
    began, cpu = time.perf_counter(), cpu_seconds()
    rows = connection.execute(insert).fetchall()[0][0]
    return {
        "seconds": time.perf_counter() - began,
        "cpu": cpu_seconds() - cpu,
        "rows": rows,
    }


if __name__ == "__main__":
    main()
