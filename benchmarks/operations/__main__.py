"""``make bench-operations``: writes ``benchmarks/OPERATIONS.md`` and its picture."""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from benchmarks.operations.health import WORKERS, HealthLatency, measure_all, serve_embedded
from benchmarks.operations.soak import CLIENTS, Sample, Soak, run_soak
from benchmarks.report import describe_machine
from benchmarks.runaways.statements import make_database
from tests.server import Server

console = Console(highlight=False)
HERE = Path(__file__).parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0, help="of the soak")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each look at health")
    parser.add_argument("--only", choices=("health", "soak"), help="keep the other part as it is")
    arguments = parser.parse_args()
    stored = HERE / "operations.json"
    parts: dict[str, list[str]] = json.loads(stored.read_text()) if stored.exists() else {}
    if arguments.only != "soak":
        with _database() as directory, serve_embedded(directory) as address:
            parts["health"] = _health_table(measure_all(address, arguments.seconds))
    if arguments.only != "health":
        with _database() as directory, _server(directory) as server:
            soak = asyncio.run(run_soak(server, arguments.minutes, _show))
            server.stop()
        _plot(soak)
        parts["soak"] = _soak_table(soak)
    stored.write_text(json.dumps(parts, indent=1) + "\n")
    title = ["# Operations under load", "", "Made by `make bench-operations`.", ""]
    lines = title + parts.get("health", []) + parts.get("soak", [])
    (HERE / "OPERATIONS.md").write_text("\n".join(lines) + "\n")


@contextmanager
def _database() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as directory:
        make_database(Path(directory) / "test.db")
        yield Path(directory)


def _server(directory: Path) -> Server:
    return Server(
        directory,
        DUCKDB_MEMORY_LIMIT="1GB",
        DUCKDB_WORKER_THREADS=WORKERS,
        DUCKDB_REPLICA_URL=directory / "replica",
    )


def _show(sample: Sample) -> None:
    console.print(
        f"{sample.minutes:6.1f} min  {sample.rss_mb:6.0f} MB  {sample.descriptors:4} files  "
        f"{sample.threads:3} threads  {sample.requests:,} requests"
    )


def _health_table(found: list[HealthLatency]) -> list[str]:
    return [
        "## How fast `GET health` answers",
        "",
        f"Machine: {describe_machine()}.",
        "",
        "Milliseconds, asked twenty times a second by a client on the same CPUs.",
        "",
        "| | answers | p50 | p99 | longest | status |",
        "|---|--:|--:|--:|--:|---|",
        *(
            f"| {each.situation} | {each.answers} | {each.p50:.1f} | {each.p99:.1f} | "
            f"{each.longest:.1f} | {', '.join(each.told)} |"
            for each in found
        ),
        "",
    ]


def _soak_table(soak: Soak) -> list[str]:
    # The first minute fills caches and pools.
    begin = next(sample for sample in soak.samples if sample.minutes >= min(1, soak.minutes / 2))
    end = soak.samples[-1]
    return [
        f"## {soak.minutes:g} minutes of {CLIENTS} clients",
        "",
        f"Machine: {describe_machine()}.",
        "",
        "Two requests a second each: reads, inserts, Arrow results, one in twenty bad (wrong SQL, "
        "refused, cut at a deadline of 0.2 s), one in a hundred leaves in the middle of a large "
        "result. A replica follows.",
        "",
        "![memory](soak.png)",
        "",
        "| | after a minute | at the end, at rest |",
        "|---|--:|--:|",
        f"| resident MB | {begin.rss_mb:.0f} | {end.rss_mb:.0f} |",
        f"| open files | {begin.descriptors} | {end.descriptors} |",
        f"| threads | {begin.threads} | {end.threads} |",
        "",
        f"{sum(soak.answers.values()):,} answers: "
        + ", ".join(f"{count:,} {name}" for name, count in sorted(soak.answers.items()))
        + f"; {soak.clients_left:,} clients left. Inserts acknowledged {soak.acknowledged:,}, "
        f"stored {soak.stored:,}. Unexpected answers: "
        + (", ".join(f"{count} {name}" for name, count in soak.unexpected.items()) or "none")
        + ".",
    ]


def _plot(soak: Soak) -> None:
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 3.2), layout="constrained")
    minutes = [sample.minutes for sample in soak.samples]
    axes.plot(minutes, [sample.rss_mb for sample in soak.samples], label="resident MB")
    axes.plot(minutes, [sample.descriptors for sample in soak.samples], label="open files")
    axes.plot(minutes, [sample.threads for sample in soak.samples], label="threads")
    axes.set(xlabel="minutes", ylim=(0, None), title=f"{CLIENTS} clients, 5 % bad statements")
    axes.legend(frameon=False)
    figure.savefig(HERE / "soak.png", dpi=120)


if __name__ == "__main__":
    main()
