"""``make bench-durability``: loop, throughput, sizes; writes ``benchmarks/DURABILITY.md``."""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.durability.loop import run_loop
from benchmarks.durability.report import write_report
from benchmarks.durability.sizes import measure_size
from benchmarks.durability.throughput import compare_throughput
from benchmarks.report import describe_machine
from tests.flaky_proxy import FlakyProxy
from tests.s3_server import S3Server

console = Console(highlight=False)
FIGURES = "durability.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="length of the loop")
    parser.add_argument("--turn-seconds", type=float, default=60.0)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--gigabytes", type=float, nargs="*", default=[1.0, 5.0, 10.0])
    parser.add_argument("--s3-minutes", type=float, default=2.0)
    parser.add_argument("--s3-gigabytes", type=float, default=1.0)
    parser.add_argument("--directory", type=Path, help="on a disk with four times the largest size")
    parser.add_argument("--only", choices=["loop", "throughput", "sizes", "s3"], nargs="*")
    arguments = parser.parse_args()
    here = Path(__file__).parents[1]
    figures: dict[str, Any] = {}
    if arguments.only and (here / FIGURES).exists():
        figures = json.loads((here / FIGURES).read_text())
    figures["machine"] = describe_machine()
    wanted = arguments.only or ["loop", "throughput", "sizes", "s3"]
    for name, measure in (
        ("loop", _loop),
        ("throughput", _throughput),
        ("sizes", _sizes),
        ("s3", _s3),
    ):
        if name in wanted:
            console.print(f"measuring: {name} ...")
            figures[name] = measure(arguments)
            (here / FIGURES).write_text(json.dumps(figures))
    write_report(figures, here)


@contextlib.contextmanager
def _scratch(arguments: argparse.Namespace) -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="chronoduck-bench-", dir=arguments.directory))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _replica(directory: Path) -> dict[str, str]:
    return {"DUCKDB_REPLICA_URL": str(directory / "replica")}


def _loop(arguments: argparse.Namespace) -> dict[str, Any]:
    with _scratch(arguments) as directory:
        return asdict(run_loop(directory, _replica(directory), 60 * arguments.minutes))


def _throughput(arguments: argparse.Namespace) -> dict[str, list[float]]:
    with _scratch(arguments) as directory:
        return compare_throughput(
            directory, _replica(directory), arguments.turn_seconds, arguments.turns
        )


def _sizes(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    found = []
    for size in arguments.gigabytes:
        with _scratch(arguments) as directory:
            found.append(asdict(measure_size(directory, size, _replica(directory))))
            console.print(f"{size} GB: {found[-1]}")
    return found


def _s3(arguments: argparse.Namespace) -> dict[str, Any]:
    found: dict[str, Any] = {}
    with _scratch(arguments) as directory, S3Server(directory / "s3") as server:
        server.create_bucket("bench")
        found["sizes"] = asdict(
            measure_size(
                directory / "sizes",
                arguments.s3_gigabytes,
                {**server.environment, "DUCKDB_REPLICA_URL": "s3://bench/sizes"},
            )
        )
        with FlakyProxy(server.port, failing=0.0) as proxy:
            for name, failing in (("well", 0.0), ("failing", 0.5)):
                proxy.failing = 0.0  # a service starts only if it can ask the store, or knows it
                settings = {
                    **server.environment,
                    "DUCKDB_REPLICA_URL": f"s3://bench/{name}",
                    "DUCKDB_REPLICA_ENDPOINT": f"http://127.0.0.1:{proxy.port}",
                }
                found[name] = asdict(
                    run_loop(
                        directory / name,
                        settings,
                        60 * arguments.s3_minutes,
                        before=lambda failing=failing: setattr(proxy, "failing", failing),
                        after=lambda: setattr(proxy, "failing", 0.0),
                    )
                )
    return found


if __name__ == "__main__":
    main()
