"""``make bench``: measure everything in one run and write ``benchmarks/RESULTS.md``."""

from __future__ import annotations

import argparse
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from benchmarks.loads import loads_table, measure_loads
from benchmarks.measure import median_of
from benchmarks.peer_engine import missing_reason
from benchmarks.peers import Analyst, Chronoduck, InProcess, Peer, Quack
from benchmarks.report import Results, describe_machine, write_loads, write_report
from benchmarks.workloads import WORKLOADS, build_database

console = Console(highlight=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a quarter of the time")
    parser.add_argument("--directory", type=Path, help="keep the database here between runs")
    parser.add_argument("--no-report", action="store_true", help="print only")
    parser.add_argument("--only", choices=("statements", "loads"), help="keep the other part")
    parser.add_argument("--rows", type=int, default=1_000_000, help="of each file that is loaded")
    parser.add_argument("--rounds", type=int, default=5, help="of loads")
    parser.add_argument("--older", type=Path, help="src of an older commit, to load with, too")
    parser.add_argument("--note", default="", help="what to say of the machine's state")
    arguments = parser.parse_args()
    if arguments.only != "loads":
        _measure_statements(arguments)
    if arguments.only != "statements":
        table = loads_table(measure_loads(arguments.rows, arguments.rounds, arguments.older))
        console.print("\n".join(table))
        if not arguments.no_report:
            machine = describe_machine() + (f"; {arguments.note}" if arguments.note else "")
            write_loads(table, machine, Path(__file__).parent)


def _measure_statements(arguments: argparse.Namespace) -> None:
    directory = arguments.directory or Path(tempfile.mkdtemp(prefix="chronoduck-bench-"))
    database = directory / "bench.db"
    try:
        console.print("building the database ...")
        build_database(database)
        results = measure_all(database, 0.25 if arguments.quick else 1.0)
    finally:
        if arguments.directory is None:
            shutil.rmtree(directory)
    if not arguments.no_report:
        write_report(results, describe_machine(), Path(__file__).parent)


def measure_all(database: Path, scale: float) -> Results:
    peers: list[Peer] = [
        InProcess(database, 1),
        InProcess(database, 4),
        Chronoduck(database),
        Analyst(database),
    ]
    reason = missing_reason(Quack.extension)
    if reason:
        console.print(f"{Quack.name:24} {reason}")
    else:
        peers.append(Quack(database))
    results = Results([peer.name for peer in peers])
    for peer in peers:
        with peer:
            for workload in WORKLOADS:
                shortened = replace(workload, seconds=workload.seconds * scale)
                found = peer.throughput(shortened)
                results.throughput[workload.name, peer.name] = found
                console.print(f"{peer.name:24} {workload.name:30} {found}")
            if isinstance(peer, Quack):
                seconds = peer.million_to_arrow_seconds(5)
                results.transfer["Arrow", peer.name] = seconds
                console.print(f"{peer.name:24} 1M rows as {'Arrow':19} {seconds} s")
                continue
            for name, call in (("Arrow", peer.million_to_arrow), ("JSON", peer.million_to_json)):
                try:
                    seconds = median_of(call, 5)
                except LookupError:
                    continue
                results.transfer[name, peer.name] = seconds
                console.print(f"{peer.name:24} 1M rows as {name:19} {seconds} s")
    return results


if __name__ == "__main__":
    main()
