"""The figures as a page for people: tables with ratios, and a plot."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import matplotlib as mpl

from benchmarks.measure import Figures
from benchmarks.peer_engine import missing_reason
from benchmarks.workloads import ROWS, WORKLOADS

mpl.use("Agg")
import matplotlib.pyplot as plt

_LOADS = "## Loads of files\n"


@dataclass
class Results:
    """Figures by (workload, peer) and seconds by (format, peer)."""

    peers: list[str]
    throughput: dict[tuple[str, str], Figures] = field(default_factory=dict)
    transfer: dict[tuple[str, str], float] = field(default_factory=dict)


def describe_machine() -> str:
    """Return the machine and the versions in a sentence."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return (
        f"{model}, {os.cpu_count()} CPUs shared by server and client, {memory:.0f} GB memory, "
        f"Linux {platform.release().split('-')[0]}, Python {platform.python_version()}, "
        f"DuckDB {version('duckdb')}, {datetime.now(UTC):%Y-%m-%d}"
    )


def write_report(results: Results, machine: str, directory: Path) -> None:
    """Write RESULTS.md and its plot."""
    lines = [
        "# Benchmark results",
        "",
        "Made by `make bench`; every figure of a table comes from the same run.",
        "",
        f"Machine: {machine}. Table: {ROWS:,} captures, 7 columns.",
        "",
        "Figures on a shared machine drift; the ratios are what to look at. Clients run in a "
        "process of their own on the same CPUs. In-process is DuckDB's Python client calling "
        "`fetchall()`; the service is measured through HTTP with authentication, logging and "
        "health on, once as its admin and once as an analyst, whose statements are judged, counted "
        "and run in read-only transactions; Quack is DuckDB's own server with DuckDB as client, both "
        "of version 1.5.5, the last that there is a Quack for.",
        "",
        "![throughput](throughput.png)",
        "",
        *_throughput_table(results),
        *_transfer_table(results),
    ]
    page = directory / "RESULTS.md"
    loads = page.read_text().partition(_LOADS)[2] if page.exists() else ""
    page.write_text("\n".join(lines) + "\n" + (f"\n{_LOADS}{loads}" if loads else ""))
    _plot(results, directory / "throughput.png")


def write_loads(table: list[str], machine: str, directory: Path) -> None:
    """Put the section of loads at the end of RESULTS.md, in the place of an earlier one."""
    page = directory / "RESULTS.md"
    others = page.read_text().partition(_LOADS)[0].rstrip("\n")
    page.write_text("\n".join([others, "", f"{_LOADS}", f"Machine: {machine}.", "", *table]) + "\n")


def _throughput_table(results: Results) -> list[str]:
    base, ours, quack = results.peers[0], "chronoduck", "Quack"
    lines = ["## Statements per second", ""]
    for workload in WORKLOADS:
        lines += [
            f"### {workload.name}",
            "",
            f"`{workload.sql}`",
            "",
            "| | per second | p50 ms | p99 ms | errors | ratio to " + base + " |",
            "|---|---:|---:|---:|---:|---:|",
        ]
        reference = results.throughput[workload.name, base].per_second
        for peer in results.peers:
            found = results.throughput[workload.name, peer]
            lines.append(
                f"| {peer} | {found.per_second:,.0f} | {found.p50_ms:.2f} | {found.p99_ms:.2f} | "
                f"{found.errors} | {found.per_second / reference:.2f} |"
            )
        if quack not in results.peers:
            lines += ["", f"Not measured: Quack. {missing_reason('quack')}.", ""]
            continue
        mine = results.throughput[workload.name, ours].per_second
        theirs = results.throughput[workload.name, quack].per_second
        lines += ["", f"chronoduck / Quack: **{mine / theirs:.2f}**", ""]
    return lines


def _transfer_table(results: Results) -> list[str]:
    lines = [
        "## One million rows, 7 columns",
        "",
        "Median seconds of five runs, to the client's last byte. In-process JSON is `fetchall()` "
        "and `orjson`.",
        "",
        "| | Arrow s | ratio | JSON s | ratio to in-process JSON | ratio to in-process Arrow |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    base = results.peers[0]
    arrow, json = results.transfer["Arrow", base], results.transfer["JSON", base]
    for peer in results.peers:
        mine, text = results.transfer["Arrow", peer], results.transfer.get(("JSON", peer))
        cells = f"{text:.2f} | {text / json:.2f} | {text / arrow:.2f}" if text else "- | - | -"
        lines.append(f"| {peer} | {mine:.2f} | {mine / arrow:.2f} | {cells} |")
    return lines


def _plot(results: Results, path: Path) -> None:
    figure, axes = plt.subplots(1, len(WORKLOADS), figsize=(3.2 * len(WORKLOADS), 3.2))
    colors = ["#9aa5b1", "#616e7c", "#f0b429", "#f7d070", "#2186eb"]
    for axis, workload in zip(axes, WORKLOADS, strict=True):
        values = [results.throughput[workload.name, peer].per_second for peer in results.peers]
        bars = axis.bar(range(len(values)), values, color=colors)
        axis.bar_label(bars, fmt="{:,.0f}", fontsize=8)
        axis.set_title(workload.name, fontsize=9)
        axis.set_xticks([])
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("statements per second")
    figure.legend(
        [plt.Rectangle((0, 0), 1, 1, color=color) for color in colors[: len(results.peers)]],
        results.peers,
        loc="lower center",
        ncols=len(results.peers),
        frameon=False,
        fontsize=9,
    )
    figure.tight_layout(rect=(0, 0.08, 1, 1))
    figure.savefig(path, dpi=110)
    plt.close(figure)
