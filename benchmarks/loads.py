"""What a load costs in CPU time, against DuckDB's own INSERT of the same file, in turns."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import orjson

from benchmarks.ingest.bulk import COLUMNS, make_files
from benchmarks.ingest.single_rows import CREATE
from chronoduck.transfer.captures.surt import surt_key

HERE = Path(__file__).parent
SAMPLES = HERE.parent / "examples" / "data"
_FIELDS = ("urlkey", "timestamp", "original", "mimetype", "statuscode", "digest", "length")
_PLAIN_CDX = (
    "CREATE TABLE t (urlkey VARCHAR, captured_at TIMESTAMP, url VARCHAR, mime_type VARCHAR, "
    "status_code SMALLINT, digest VARCHAR, content_length BIGINT);"
    "INSERT INTO t SELECT urlkey, strptime(timestamp, '%Y%m%d%H%M%S'), original, mimetype, "
    "TRY_CAST(statuscode AS SMALLINT), digest, TRY_CAST(length AS BIGINT) FROM read_csv('{path}', "
    "delim = ' ', quote = '', escape = '', header = false, auto_detect = false, columns = {{"
    + ", ".join(f"{name}: 'VARCHAR'" for name in _FIELDS)
    + "}})"
)


@dataclass(frozen=True)
class Load:
    """The least of all rounds: what other work on the machine adds is no cost of a load."""

    file: str
    way: str
    rows: int
    threads: int
    cpu: float
    """Seconds, of all threads and child processes."""
    seconds: float


def measure_loads(rows: int, rounds: int, older: Path | None) -> list[Load]:
    """Return the figures of every file and way; ``older``: the ``src`` of an older commit."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        files = make_files(directory, rows)
        cdx = directory / "captures.cdx"
        _make_cdx(cdx, rows)
        csv, ndjson = files["csv"], files["ndjson"]
        read_csv = f"read_csv('{csv}', header = true, delim = ',', columns = {COLUMNS})"
        read_json = f"read_json('{ndjson}', format = 'newline_delimited', columns = {COLUMNS})"
        return [
            *_measure(
                "CDX", cdx, "pages_analytics", "", _PLAIN_CDX.format(path=cdx), rounds, older
            ),
            *_measure(
                "CSV", csv, "t", CREATE, f"{CREATE};INSERT INTO t FROM {read_csv}", rounds, older
            ),
            *_measure(
                "NDJSON",
                ndjson,
                "t",
                CREATE,
                f"{CREATE};INSERT INTO t FROM {read_json}",
                rounds,
                older,
            ),
        ]


def _measure(
    name: str, path: Path, table: str, create: str, plain: str, rounds: int, older: Path | None
) -> list[Load]:
    source = HERE.parent / "src"
    ways = {
        "DuckDB": (source, plain, "plain"),
        **({"older commit": (older, table, create)} if older else {}),
        "chronoduck": (source, table, create),
        **({"chronoduck, a new table": (source, table, "")} if create else {}),
    }
    found: dict[tuple[str, int], list[dict[str, float]]] = {}
    for _ in range(rounds):
        for threads in (1, os.cpu_count() or 1):
            for way, (tree, what, how) in ways.items():
                found.setdefault((way, threads), []).append(_run(tree, path, what, how, threads))
    return [
        Load(
            name,
            way,
            int(runs[0]["rows"]),
            threads,
            min(run["cpu"] for run in runs),
            statistics.median(run["seconds"] for run in runs),
        )
        for (way, threads), runs in found.items()
    ]


def _run(tree: Path, path: Path, what: str, how: str, threads: int) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, str(HERE / "loads_worker.py"), str(path), what, how, str(threads)],
        env={**os.environ, "PYTHONPATH": str(tree)},
        cwd=path.parent,
        check=True,
        stdout=subprocess.PIPE,
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _make_cdx(path: Path, rows: int) -> None:
    """Write real captures again and again, each time with another first part in the paths."""
    lines = [line.split(" ") for line in (SAMPLES / "twitter-labels.cdx").read_text().splitlines()]
    names, *entries = orjson.loads((SAMPLES / "example.com-404.cdx-api.json").read_bytes())
    for entry in entries[: len(lines)]:
        fields = {**dict.fromkeys(_FIELDS, "-"), **dict(zip(names, entry, strict=True))}
        fields["urlkey"] = surt_key(fields["original"]).key
        lines.append([fields[name] for name in _FIELDS])
    usual = [
        line
        for line in lines
        if len(line) == len(_FIELDS) and ")/" in line[0] and line[2].count("/") > 2
    ]
    count = 0
    with path.open("w") as file:
        while count < rows:
            for key, date, url, *rest in usual[: rows - count]:
                scheme, _, host, tail = url.split("/", 3)
                key = key.replace(")/", f")/r{count}/", 1)
                varied = f"{scheme}//{host}/r{count}/{tail}"
                file.write(" ".join([key, date, varied, *rest]) + "\n")
            count += len(usual[: rows - count])


def loads_table(found: list[Load]) -> list[str]:
    """Return the section of the page."""
    lines = [
        "CPU seconds of one million rows, with all threads and child processes: the least of the rounds, "
        "in which all ways take turns. Rows/s are by the clock, the median: what else the machine does "
        "counts there. DuckDB inserts the same file by `INSERT ... FROM read_csv` or `read_json` with "
        "the columns given; of CDX it computes no keys, and looks for no capture that is known.",
        "",
        "| | threads | rows | CPU s a million rows | ratio to DuckDB | rows/s of one CPU | rows/s |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for each in found:
        base = next(
            other
            for other in found
            if (other.file, other.threads, other.way) == (each.file, each.threads, "DuckDB")
        )
        cpu, least = each.cpu / each.rows, base.cpu / base.rows
        lines.append(
            f"| {each.file}, {each.way} | {each.threads} | {each.rows:,} | {cpu * 1e6:.2f} | "
            f"{cpu / least:.2f} | {1 / cpu:,.0f} | {each.rows / each.seconds:,.0f} |"
        )
    return lines
