"""Transactions a second with a replica and without, in turn, on new databases each."""

from __future__ import annotations

import json
import statistics
from pathlib import Path

from benchmarks.durability.load import TABLE
from benchmarks.durability.loop import write_for
from tests.server import Server

__all__ = ["Throughput", "compare_throughput"]

Throughput = dict[str, list[float]]
"""``without`` and ``with``: transactions a second of each turn."""


def compare_throughput(
    directory: Path, settings: dict[str, str], seconds: float, turns: int
) -> Throughput:
    """Take turns, so that a machine whose speed drifts drifts for both."""
    found: Throughput = {"without": [], "with": []}
    for turn in range(turns):
        for name, given in (("without", {}), ("with", settings)):
            data = directory / f"{name}-{turn}"
            data.mkdir(parents=True)
            own = {
                **given,
                **(
                    {"DUCKDB_REPLICA_URL": f"{given['DUCKDB_REPLICA_URL']}-{turn}"} if given else {}
                ),
            }
            with Server(data, **own) as server:
                server.query(TABLE)
                clients = json.loads(write_for(server, seconds).communicate()[0])
                server.stop()
            found[name].append(sum(len(each["acknowledged"]) for each in clients) / seconds)
    return found


def ratio(found: Throughput) -> float:
    """Return the median of the turns' ratios."""
    pairs = zip(found["with"], found["without"], strict=True)
    return statistics.median(one / other for one, other in pairs)
