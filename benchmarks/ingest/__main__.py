"""``make bench-ingest``: writes ``benchmarks/INGEST.md``."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from benchmarks.ingest.bulk import Bulk, measure_bulk
from benchmarks.ingest.large import Large, measure_memory
from benchmarks.ingest.single_rows import SingleRows, in_process_commits, measure_single_rows
from benchmarks.report import describe_machine

console = Console(highlight=False)
HERE = Path(__file__).parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=15.0, help="of each way to send rows")
    parser.add_argument("--rows", type=int, default=2_000_000, help="of each file")
    parser.add_argument("--times", type=int, default=5, help="each file is loaded")
    parser.add_argument("--large-gb", type=float, default=4.0, help="of the largest body")
    parser.add_argument("--note", default="", help="what to say of the machine's state")
    arguments = parser.parse_args()
    commits = in_process_commits(min(5.0, arguments.seconds))
    single = measure_single_rows(arguments.clients, arguments.seconds)
    bulk = measure_bulk(arguments.rows, arguments.times)
    memory = measure_memory(arguments.large_gb)
    lines = [
        "# Rows in over HTTP",
        "",
        "Made by `make bench-ingest`.",
        "",
        f"Machine: {describe_machine()}.{' ' + arguments.note if arguments.note else ''}",
        "",
        *_single_table(single, commits),
        *_bulk_table(bulk),
        *_memory_table(memory),
    ]
    text = "\n".join(lines) + "\n"
    (HERE / "INGEST.md").write_text(text)
    console.print(text)


def _single_table(found: list[SingleRows], commits: float) -> list[str]:
    return [
        f"## Single rows and small batches from {found[0].clients} clients",
        "",
        "Each request is acknowledged after its COMMIT. DuckDB itself commits "
        f"{commits:,.0f} single rows a second for one caller in its process.",
        "",
        "| | requests/s | rows/s | p50 ms | p99 ms | errors | rows acknowledged | stored | "
        "CPUs of the server |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|",
        *(
            f"| {each.way} | {each.per_second:,.0f} | {each.per_second * each.rows:,.0f} | "
            f"{each.p50_ms:.1f} | {each.p99_ms:.1f} | "
            f"{each.errors} | {each.acknowledged:,} | {each.stored:,} | {each.server_cpu:.2f} |"
            for each in found
        ),
        "",
    ]


def _memory_table(found: list[Large]) -> list[str]:
    return [
        "",
        "## Memory of the server while it takes a body",
        "",
        "The highest resident memory, with `DUCKDB_MEMORY_LIMIT=1GB`, of a server that took nothing "
        "before; "
        f"{found[0].before_mb:,.0f} MB when it waited. Arrow bodies are mapped from where they wait: the "
        "system may take those pages back, and what is the server's own is the last column.",
        "",
        "| | MB of the body | rows | seconds | highest MB | of it not mapped |",
        "|---|--:|--:|--:|--:|--:|",
        *(
            f"| {each.format} | {each.size_mb:,.0f} | {each.rows:,} | {each.seconds:.1f} | "
            f"{each.highest_mb:,.0f} | {each.own_mb:,.0f} |"
            for each in found
        ),
    ]


def _bulk_table(found: list[Bulk]) -> list[str]:
    return [
        f"## Files of {found[0].rows:,} rows",
        "",
        "Five columns. In-process: DuckDB inserts the same file from the disk, in one transaction. "
        "The ratio is in-process to HTTP: 1 would be as fast.",
        "",
        "| | MB | HTTP s | rows/s | of it the load s | in-process s | rows/s | ratio |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
        *(
            f"| {each.format} | {each.size_mb:.0f} | {each.http_seconds:.2f} | "
            f"{each.rows / each.http_seconds:,.0f} | {each.server_seconds:.2f} | "
            f"{each.in_process_seconds:.2f} | {each.rows / each.in_process_seconds:,.0f} | "
            f"{each.ratio:.2f} |"
            for each in found
        ),
    ]


if __name__ == "__main__":
    main()
