"""``make bench-overhead``: writes ``benchmarks/OVERHEAD.md``."""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import psutil
from rich.console import Console

from benchmarks.overhead.observers import background_cost, loop_costs
from benchmarks.report import describe_machine
from tests.server import Server

console = Console(highlight=False)
CLIENTS = 8
VARIANTS = {
    "query log on": {"DUCKDB_QUERY_LOG_ENABLED": "true"},
    "query log off": {"DUCKDB_QUERY_LOG_ENABLED": "false"},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=2.0)
    arguments = parser.parse_args()
    costs = asyncio.run(loop_costs())
    background = asyncio.run(background_cost())
    console.print(costs, background)
    measured = _throughput(arguments.rounds, arguments.seconds)
    Path("benchmarks/OVERHEAD.md").write_text(_page(costs, background, measured, arguments))


@dataclass(frozen=True)
class Round:
    """One round against one server."""

    per_second: float
    cpu_us: float
    """Processor time of the server's process a statement."""


def _throughput(rounds: int, seconds: float) -> dict[str, list[Round]]:
    """Return the rounds of both variants: A B, B A, A B, ..., each on its own server."""
    measured: dict[str, list[Round]] = {name: [] for name in VARIANTS}
    with tempfile.TemporaryDirectory() as directory, ExitStack() as stack:
        servers = {}
        for index, (name, settings) in enumerate(VARIANTS.items()):
            place = Path(directory) / str(index)
            place.mkdir()
            server = Server(place, DUCKDB_MEMORY_LIMIT="2GB", **settings)
            servers[name] = stack.enter_context(server)
            _load(server, 2.0)
        for number in range(rounds):
            names = list(VARIANTS)
            for name in names if number % 2 else reversed(names):
                measured[name].append(_load(servers[name], seconds))
            console.print({name: each[-1] for name, each in measured.items()})
        for server in servers.values():
            server.stop()
    return measured


def _load(server: Server, seconds: float) -> Round:
    program = (sys.executable, "-m", "benchmarks.http_client")
    arguments = (str(server.port), server.token, str(CLIENTS), str(seconds), "SELECT 1")
    process = psutil.Process(server.server_pid)
    before = process.cpu_times()
    done = subprocess.run([*program, *arguments], capture_output=True, text=True, check=True)
    after = process.cpu_times()
    answer = json.loads(done.stdout)
    assert answer["errors"] == 0, answer
    rate = float(answer["per_second"])
    spent = after.user + after.system - before.user - before.system
    return Round(rate, spent / (rate * seconds) * 1e6)


def _page(
    costs: dict[str, float],
    background: dict[str, float],
    measured: dict[str, list[Round]],
    arguments: argparse.Namespace,
) -> str:
    on, off = measured.values()
    ratios = sorted(a.per_second / b.per_second for a, b in zip(on, off, strict=True))
    cpu = statistics.median(a.cpu_us / b.cpu_us for a, b in zip(on, off, strict=True))
    return "\n".join(
        [
            "# What watching statements costs",
            "",
            "Made by `make bench-overhead`.",
            "",
            f"Machine: {describe_machine()}.",
            "",
            "## On the event loop's thread",
            "",
            "Microseconds a statement, each text a new one; the median of 20 rounds of 5,000.",
            "",
            "| observer | µs |",
            "|---|--:|",
            *(f"| {name} | {cost:.2f} |" for name, cost in costs.items()),
            "",
            "## In the thread behind it",
            "",
            f"1,000 statements are normalised, ranked and written in {background['wall']:.0f} ms, "
            f"{background['cpu']:.0f} ms of it processor time.",
            "",
            "## Throughput",
            "",
            f"`SELECT 1` over HTTP from {CLIENTS} clients, one server with the query log and one "
            f"without, in turn, {arguments.rounds} rounds of {arguments.seconds:g} s. Statistics and "
            "metrics are on in both.",
            "",
            "| | statements/s (median) | least | most | server's processor time a statement, µs |",
            "|---|--:|--:|--:|--:|",
            *(_row(name, rounds) for name, rounds in measured.items()),
            "",
            f"With the log it does **{statistics.median(ratios):.3f}** of what it does without (median "
            f"of the rounds' ratios; least {ratios[0]:.3f}, most {ratios[-1]:.3f}), and a statement "
            f"takes **{cpu:.3f}** of the processor time.",
            "",
        ]
    )


def _row(name: str, rounds: list[Round]) -> str:
    rates = [each.per_second for each in rounds]
    cpu = statistics.median(each.cpu_us for each in rounds)
    return (
        f"| {name} | {statistics.median(rates):,.0f} | {min(rates):,.0f} | {max(rates):,.0f} "
        f"| {cpu:.0f} |"
    )


if __name__ == "__main__":
    main()
