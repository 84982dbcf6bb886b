"""The figures as a page for people, with a plot of the loop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl

from benchmarks.durability.throughput import ratio

mpl.use("Agg")
import matplotlib.pyplot as plt

__all__ = ["write_report"]


def write_report(figures: dict[str, Any], directory: Path) -> None:
    """Write DURABILITY.md and its plot, of what was measured."""
    lines = [
        "# What a lost disk costs",
        "",
        "Made by `make bench-durability`.",
        "",
        f"Machine: {figures['machine']}. Replica and database are on the same disk, the writers on the "
        "same CPUs.",
        "",
    ]
    if "loop" in figures:
        lines += _loop("The loop", figures["loop"])
        _plot(figures["loop"], directory / "durability.png")
        lines += ["![the loop](durability.png)", ""]
    if "throughput" in figures:
        lines += _throughput(figures["throughput"])
    if "sizes" in figures:
        lines += ["## By size", ""] + _sizes(figures["sizes"])
    if "s3" in figures:
        found = figures["s3"]
        lines += ["## On S3 (OpenStack Swift on the same machine)", ""] + _sizes([found["sizes"]])
        lines += _loop("The loop on S3", found["well"])
        lines += _loop("The loop on S3 while half of the requests fail", found["failing"])
    (directory / "DURABILITY.md").write_text("\n".join(lines).rstrip() + "\n")


def _loop(title: str, found: dict[str, Any]) -> list[str]:
    small = sorted(took for _, took in found["latencies"]["small"])
    bulk = sorted(took for _, took in found["latencies"]["bulk"])
    lags = sorted(lag for _, lag in found["lags"])
    points = found["checkpoints"]
    rows = (
        ("seconds of writing", f"{found['seconds']:,.0f}"),
        ("transactions acknowledged", f"{found['acknowledged']:,}"),
        ("restored", f"{found['restored']:,}"),
        ("lost", f"{found['lost']:,}, all of the last {found['lost_span']:.2f} s"),
        ("rows restored", f"{found['rows']:,}"),
        ("`chronoduck recover`, every column verified", f"{found['recover_seconds']:.1f} s"),
        ("lag p50 / p99 / max", _quantiles(lags, "s", 1)),
        (
            f"pauses of writers in {points['count']:,} checkpoints, p50 / p99 / max",
            " / ".join(
                f"{1000 * (points[f'pause_{name}'] or 0):.0f}" for name in ("p50", "p99", "max")
            )
            + " ms",
        ),
        ("small transactions p50 / p99 / max", _quantiles(small, "ms", 1000)),
        ("bulk inserts of 20,000 rows p50 / p99 / max", _quantiles(bulk, "ms", 1000)),
    )
    return [
        f"## {title}",
        "",
        "Three clients write small transactions, a fourth 20,000 rows twice a second; then service and "
        "replicator are killed, the directory of the database is deleted, and `chronoduck recover` runs. "
        "Each transaction is looked for in what came back, whole.",
        "",
        "| | |",
        "|---|---:|",
        *(f"| {name} | {value} |" for name, value in rows),
        "",
    ]


def _quantiles(ordered: list[float], unit: str, factor: float) -> str:
    last = len(ordered) - 1
    values = (ordered[int(last * share)] * factor for share in (0.5, 0.99, 1.0))
    return " / ".join(f"{value:.1f}" for value in values) + f" {unit}"


def _throughput(found: dict[str, list[float]]) -> list[str]:
    turns = zip(found["without"], found["with"], strict=True)
    return [
        "## Throughput with and without replica",
        "",
        "Transactions a second of the same writers, in turn, each turn on a new database:",
        "",
        "| turn | without | with | ratio |",
        "|---|---:|---:|---:|",
        *(
            f"| {number} | {one:,.0f} | {other:,.0f} | {other / one:.2f} |"
            for number, (one, other) in enumerate(turns, start=1)
        ),
        "",
        f"Median of the ratios: **{ratio(found):.2f}**",
        "",
    ]


def _sizes(found: list[dict[str, Any]]) -> list[str]:
    def row(name: str, key: str, form: str, factor: float = 1.0) -> str:
        return f"| {name} | " + " | ".join(f"{each[key] * factor:{form}}" for each in found) + " |"

    sizes = " | ".join(f"{each['database_bytes'] / 1e9:.2f} GB" for each in found)
    return [
        f"| | {sizes} |",
        "|---|" + "---:|" * len(found),
        row("first sync, s", "first_sync", ",.1f"),
        row("replica, GB", "replica_bytes", ",.2f", 1e-9),
        row("1 % more rows: database grows, MB", "change_bytes", ",.0f", 1e-6),
        row("1 % more rows: shipped, MB", "change_shipped", ",.1f", 1e-6),
        row("1 % more rows: in the replica after the commit, s", "change_sync", ",.2f"),
        row("`restore --verify none`, s", "restore", ",.1f"),
        row("`restore --verify full`, s", "restore_verified", ",.1f"),
        row("`cp` + `gzip`, s", "cp_gzip", ",.1f"),
        row("`cp` + `gzip`, GB", "cp_gzip_bytes", ",.2f", 1e-9),
        row("`gunzip`, s", "gunzip", ",.1f"),
        row("`EXPORT DATABASE` (Parquet, zstd), s", "export", ",.1f"),
        row("`EXPORT DATABASE`, GB", "export_bytes", ",.2f", 1e-9),
        "",
    ]


def _plot(found: dict[str, Any], path: Path) -> None:
    figure, (above, below) = plt.subplots(2, 1, figsize=(9, 6), sharex=True)
    for name, mark in (("small", "."), ("bulk", "+")):
        points = found["latencies"][name]
        above.plot(
            [at for at, _ in points],
            [1000 * took for _, took in points],
            mark,
            markersize=2 if name == "small" else 5,
            alpha=0.4,
            label=f"{name} transactions",
            rasterized=True,
        )
    above.set_yscale("log")
    above.set_ylabel("ms")
    above.set_title("Time of each transaction")
    above.legend(loc="upper right")
    below.plot(*zip(*found["lags"], strict=True))
    below.set_title("Lag of the replica")
    below.set_ylabel("s")
    below.set_xlabel("seconds since the beginning")
    figure.tight_layout()
    figure.savefig(path, dpi=90)
