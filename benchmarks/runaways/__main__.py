"""``make bench-runaways``: writes ``benchmarks/RUNAWAYS.md``."""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from benchmarks.report import describe_machine
from benchmarks.runaways.neighbours import Latencies
from benchmarks.runaways.rounds import (
    CLIENTS,
    Kill,
    Round,
    kill_under_load,
    make_key,
    measure_memory,
    run_round,
)
from benchmarks.runaways.statements import ONE_DEADLINE_SECONDS, STATEMENTS, make_database
from tests.server import Server

console = Console(highlight=False)
SETTINGS = {"DUCKDB_MEMORY_LIMIT": "2GB", "DUCKDB_STANDBY": "true"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--statements", nargs="*", help="only those whose name begins so")
    arguments = parser.parse_args()
    wanted = {
        name: sql
        for name, sql in STATEMENTS.items()
        if not arguments.statements or name.startswith(tuple(arguments.statements))
    }
    lines = [
        "# Runaway statements and restarts",
        "",
        "Made by `make bench-runaways`.",
        "",
        f"Machine: {describe_machine()}.",
        "",
    ]
    with _server() as server:
        memory = measure_memory(server)
        rounds = []
        for name, sql in wanted.items():
            console.print(f"{name} ...")
            rounds.append(run_round(server, name, sql))
            console.print(_round_line(rounds[-1]))
        deaf = STATEMENTS["levenshtein"]
        console.print("many at once ...")
        rounds.append(
            run_round(
                server, "levenshtein, 8 at once, an analyst", deaf, times=8, token=make_key(server)
            )
        )
        unfair = run_round(server, "levenshtein, 4 at once, an admin", deaf, times=4)
    lines += _rounds_table(rounds, unfair)
    kills = {}
    for name, settings in {
        "with a standby": {},
        "without a standby": {"DUCKDB_STANDBY": "false"},
        "with a standby and a replica": {"DUCKDB_REPLICA_URL": "replica"},
    }.items():
        console.print(f"kills {name} ...")
        with _server(**settings) as server:
            has_standby = "DUCKDB_STANDBY" not in settings
            kills[name] = [
                kill_under_load(server, with_standby=has_standby) for _ in range(arguments.kills)
            ]
    lines += [*_kills_table(kills), *_memory_table(memory)]
    (Path(__file__).parents[1] / "RUNAWAYS.md").write_text("\n".join(lines) + "\n")


@contextmanager
def _server(**settings: str) -> Iterator[Server]:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory)
        make_database(path / "test.db")
        given = {**SETTINGS, **settings}
        if "DUCKDB_REPLICA_URL" in given:
            given["DUCKDB_REPLICA_URL"] = str(path / "replica")
        with Server(path, **given) as server:
            yield server
            server.stop()


def _round_line(each: Round) -> str:
    answer = each.offender
    told = answer.code or "answered"
    seen = each.neighbours
    return (
        f"| {each.name} | {told} | {answer.seconds:.2f} | {'yes' if each.was_replaced else 'no'} | "
        f"{len(seen.seconds):,} | {_milliseconds(seen)} | {seen.told_to_retry} | {seen.resets} | "
        f"{len(seen.failed)} |"
    )


def _milliseconds(seen: Latencies) -> str:
    return " | ".join(
        f"{value * 1000:.0f}"
        for value in (seen.percentile(0.5), seen.percentile(0.99), max(seen.seconds))
    )


def _rounds_table(rounds: list[Round], unfair: Round) -> list[str]:
    worst = max(max(each.neighbours.seconds) for each in rounds)
    return [
        "## One bad statement, and what everybody else notices",
        "",
        f"Each statement has a deadline of {ONE_DEADLINE_SECONDS:g} s; {CLIENTS} neighbours send "
        "`SELECT 1` and a small aggregate meanwhile, repeat what is answered 503 after its "
        "`Retry-After`, and connect again when a connection is cut. Their times include all that. "
        f"4 workers. The longest that any of them waited: **{worst:.2f} s**. An admin alone may hold "
        "every worker: then others wait for the deadline, a second, and the restart (last row).",
        "",
        "| statement | its caller gets | after s | process replaced | neighbours' answers | p50 ms | "
        "p99 ms | max ms | told to retry | cut | failed |",
        "|---|---|--:|---|--:|--:|--:|--:|--:|--:|--:|",
        *(_round_line(each) for each in [*rounds, unfair]),
        "",
    ]


def _kills_table(kills: dict[str, list[Kill]]) -> list[str]:
    lines = [
        "## `kill -9` of the server's process under load",
        "",
        f"{CLIENTS} readers, one writer. Answering: from the kill to the first answer on a new "
        "connection.",
        "",
        "| | kills | answering, median s | longest s | readers' longest wait s | "
        "inserts acknowledged | lost |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for name, each in kills.items():
        times = [kill.answering_seconds for kill in each]
        waits = [max(kill.neighbours.seconds) for kill in each]
        lines.append(
            f"| {name} | {len(each)} | {statistics.median(times):.2f} | {max(times):.2f} | "
            f"{max(waits):.2f} | {sum(kill.acknowledged for kill in each):,} | "
            f"{sum(kill.lost for kill in each)} |"
        )
    return [*lines, ""]


def _memory_table(memory: dict[str, tuple[float, float]]) -> list[str]:
    return [
        "## Memory at rest",
        "",
        "Proportional: pages that processes share are divided among them.",
        "",
        "| process | resident MB | proportional MB |",
        "|---|--:|--:|",
        *(f"| {name} | {rss:.0f} | {pss:.0f} |" for name, (rss, pss) in memory.items()),
    ]


if __name__ == "__main__":
    main()
