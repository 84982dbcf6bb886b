"""``make bench-durability-cost``: what the guarantees cost, before and after, side by side in one run.

Each round measures every variant on a new database, in a rotating order; the figures are medians over
the rounds, and the ratios are to the first variant. A variant is a checkout, a Python and settings; one
whose settings do not exist in its checkout, or whose Python is not there, is left out with a note.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
TREE = HERE.parent
PAGE = HERE / "DURABILITY.md"
FIGURES = HERE / "durability_cost.json"
HEADING = "## What the guarantees cost"
BASELINE = "0b45fe4"
"""The last commit before the engine moved to DuckDB 2.0.1."""
API = "/api/v1/duckdb"
CLIENTS = (1, 16, 64)
START_SECONDS = 60.0
DDL_SECONDS = 15.0
BULK_ROWS = 300_000
NDJSON_ROWS = 50_000


@dataclass(frozen=True)
class Variant:
    """A service to be measured."""

    name: str
    tree: Path
    python: Path
    settings: dict[str, str] = field(default_factory=dict)

    def why_not(self) -> str | None:
        """Return why it cannot be measured; None: it can."""
        if not self.python.exists():
            return f"{self.python} is not there"
        known = re.findall(r"`(DUCKDB_\w+)`", (self.tree / "docs" / "configuration.md").read_text())
        unknown = sorted(set(self.settings) - set(known))
        return f"{', '.join(unknown)} does not exist there" if unknown else None


METRICS: dict[str, tuple[str, str]] = {
    **{
        f"rows_{count}": (f"single rows a second, {count} client{'s' if count > 1 else ''}", ",.0f")
        for count in CLIENTS
    },
    "bulk_sql": ("INSERT of 300,000 rows, rows a second", ",.0f"),
    "bulk_ndjson": ("NDJSON of 50,000 rows, rows a second", ",.0f"),
    "ddl_single": ("DDL a second, one by one", ",.1f"),
    "ddl_batch": ("DDL a second, in a batch of 50", ",.1f"),
    "start_new": ("start with a new database, s", ",.2f"),
    "start_clean": ("start after a stop, s", ",.2f"),
    "start_killed": ("start after kill -9 under load, s", ",.2f"),
    "wal_killed": ("WAL at that kill, MB", ",.2f"),
    "disk": ("disk without replica and after all of it, MB", ",.1f"),
    "memory_idle": ("memory of all processes, idle (PSS), MB", ",.0f"),
    "memory_loaded": ("memory of all processes, after all of it (PSS), MB", ",.0f"),
    "cpu": ("CPU seconds of all processes", ",.1f"),
}
"""What is measured: its words and its format."""


class Service:
    """One variant's service in a directory of its own."""

    def __init__(self, variant: Variant, home: Path) -> None:
        self.variant = variant
        self.home = home
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        given = {
            "DUCKDB_DATABASE_PATH": home / "bench.db",
            "DUCKDB_TEMP_DIRECTORY": home / "temp",
            "DUCKDB_MEMORY_LIMIT": "1GB",
            "DUCKDB_BALLAST_SIZE": "0",
            "DUCKDB_STANDBY": "false",
            "DUCKDB_REPLICA_URL": home / "replica",
            "DUCKDB_PORT": self.port,
            **variant.settings,
        }
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("DUCKDB_")},
            **{name: str(value) for name, value in given.items()},
            "PYTHONPATH": str(variant.tree / "src"),
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> float:
        """Return the seconds until it is ready."""
        began = time.perf_counter()
        with (self.home / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [self.variant.python, "-m", "chronoduck", "serve"],
                env=self.environment,
                cwd=self.home,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        while time.perf_counter() - began < START_SECONDS:
            if self._process.poll() is not None:
                break
            with suppress(OSError):
                if self.request(self.connect(), "GET", "/health/ready")[0] == 200:
                    return time.perf_counter() - began
            time.sleep(0.02)
        raise RuntimeError((self.home / "server.log").read_text()[-2000:])

    def processes(self) -> list[int]:
        """Return supervisor, server and their children."""
        assert self._process is not None
        found, left = [], [self._process.pid]
        while left:
            pid = left.pop()
            found.append(pid)
            with suppress(OSError):
                left += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
        return found

    def stop(self) -> None:
        """End it in good order."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(90)

    def kill(self) -> None:
        """End all of it at once."""
        if self._process is None or self._process.poll() is not None:
            return
        for pid in self.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()
        time.sleep(0.3)

    def memory(self) -> float:
        """Return the proportional set size of all its processes, MB."""
        total = 0
        for pid in self.processes():
            with suppress(OSError):
                text = Path(f"/proc/{pid}/smaps_rollup").read_text()
                total += int(re.findall(r"^Pss:\s+(\d+)", text, re.M)[0])
        return total / 1000

    def cpu(self) -> float:
        """Return the CPU seconds of its processes and of those children that they waited for."""
        total = 0
        for pid in self.processes():
            with suppress(OSError):
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                total += sum(map(int, fields[11:15]))
        return total / os.sysconf("SC_CLK_TCK")

    def disk(self) -> float:
        """Return the bytes that it has allocated without its replica, MB."""
        total = 0
        for path in self.home.rglob("*"):
            if not path.is_relative_to(self.home / "replica"):
                with suppress(OSError):
                    total += path.lstat().st_blocks * 512
        return total / 1e6

    def connect(self) -> http.client.HTTPConnection:
        """Return a connection that is kept open."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)

    def request(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        body: Any = None,
        media_type: str = "application/json",
    ) -> tuple[int, bytes]:
        """Return status and body of an answer."""
        headers = {"Content-Type": media_type}
        with suppress(OSError):
            token = (self.home / "admin.token").read_text().strip()
            headers["Authorization"] = f"Bearer {token}"
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        connection.request(method, API + path, data, headers)
        response = connection.getresponse()
        return response.status, response.read()

    def query(self, sql: str) -> None:
        """Run a statement that must succeed."""
        status, told = self.request(self.connect(), "POST", "/query", {"query": sql})
        assert status == 200, (sql, status, told[:500])


def single_rows(service: Service, clients: int, seconds: float) -> float:
    """Return how many single-row INSERTs a second are acknowledged."""
    counts = [0] * clients
    end = time.perf_counter() + seconds

    def insert(number: int) -> None:
        connection = service.connect()
        while time.perf_counter() < end:
            sql = f"INSERT INTO small VALUES ({number}, {counts[number]}, 'some text of a row')"
            status, told = service.request(connection, "POST", "/query", {"query": sql})
            if status == 200:
                counts[number] += 1
            elif status not in (409, 429, 503):
                raise RuntimeError(f"{status} {told[:300]!r}")

    threads = [threading.Thread(target=insert, args=(number,)) for number in range(clients)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.perf_counter() - began)


def timed(work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def ddl(service: Service) -> dict[str, float]:
    """Return statements a second: 50 one by one, or as many as there is time for; and a batch of 50."""
    done, began = 0, time.perf_counter()
    while done < 50 and time.perf_counter() - began < DDL_SECONDS:
        kind = done % 3
        table = f"made_{done - kind}"
        service.query(
            (
                f"CREATE TABLE {table} (a INTEGER, made TIMESTAMP DEFAULT now())",
                f"ALTER TABLE {table} ADD COLUMN b VARCHAR",
                f"CREATE INDEX index_{done} ON {table} (a)",
            )[kind]
        )
        done += 1
    single = done / (time.perf_counter() - began)
    statements = [{"query": f"CREATE TABLE batched_{number} (a INTEGER)"} for number in range(50)]

    def batch() -> None:
        answer = service.request(service.connect(), "POST", "/batch", {"queries": statements})
        assert answer[0] == 200, answer

    return {"ddl_single": single, "ddl_batch": 50 / timed(batch)}


def bulk(service: Service) -> dict[str, float]:
    """Return rows a second of a statement and of an upload; medians of three."""
    lines = b"".join(
        b'{"a":%d,"b":"text of row %d"}\n' % (number, number) for number in range(NDJSON_ROWS)
    )
    service.query("CREATE TABLE bulk (a BIGINT, b VARCHAR)")

    def upload() -> None:
        answer = service.request(
            service.connect(), "POST", "/tables/bulk/rows", lines, "application/x-ndjson"
        )
        assert answer[0] == 200, answer
        assert b'"done"' in answer[1], answer

    sql = f"INSERT INTO bulk SELECT range, 'text of row ' || range FROM range({BULK_ROWS})"
    by_sql = [timed(lambda: service.query(sql)) for _ in range(3)]
    by_upload = [timed(upload) for _ in range(3)]
    return {
        "bulk_sql": BULK_ROWS / statistics.median(by_sql),
        "bulk_ndjson": NDJSON_ROWS / statistics.median(by_upload),
    }


def measure(variant: Variant, seconds: float) -> dict[str, float]:
    """Return the figures of one round of one variant."""
    home = Path(tempfile.mkdtemp(prefix="durability-cost-"))
    service = Service(variant, home)
    found: dict[str, float] = {}
    try:
        found["start_new"] = service.start()
        service.query("CREATE TABLE small (client INTEGER, number INTEGER, text VARCHAR)")
        service.query("INSERT INTO small SELECT -1, range, 'base' FROM range(1000000)")
        service.query("CHECKPOINT")
        time.sleep(2)
        found["memory_idle"] = service.memory()
        for clients in CLIENTS:
            found[f"rows_{clients}"] = single_rows(service, clients, seconds)
        found |= bulk(service)
        found |= ddl(service)
        found["memory_loaded"], found["disk"] = service.memory(), service.disk()
        found["cpu"] = service.cpu()
        service.stop()
        found["start_clean"] = service.start()
        single_rows(service, 16, seconds)
        service.kill()
        wal = home / "bench.db.wal"
        found["wal_killed"] = wal.stat().st_size / 1e6 if wal.exists() else 0.0
        found["start_killed"] = service.start()
        service.stop()
    finally:
        service.kill()
        shutil.rmtree(home, ignore_errors=True)
    return found


@contextmanager
def checkout(revision: str) -> Iterator[Path]:
    """Enter a checkout of a revision, removed afterwards."""
    directory = Path(tempfile.mkdtemp(prefix="durability-baseline-"))
    git = ["git", "-C", str(TREE), "worktree"]
    subprocess.run([*git, "add", "--detach", "--force", str(directory), revision], check=True)
    try:
        yield directory
    finally:
        subprocess.run([*git, "remove", "--force", str(directory)], check=False)


def section(figures: dict[str, Any]) -> str:
    """Return the page's section: medians, and in brackets the ratio to the first variant."""
    names = list(figures["variants"])
    first = figures["variants"][names[0]]
    lines = [
        HEADING,
        "",
        "Made by `make bench-durability-cost`. "
        f"{figures['machine']}, {figures['at']}; medians of {figures['rounds']} rounds in which the "
        f"variants take turns, each on a new database with a replica beside it; {figures['seconds']:g} s "
        f"for each number of clients. In brackets: the ratio to *{names[0]}*.",
        "",
        "| | " + " | ".join(names) + " |",
        "|---|" + "---:|" * len(names),
    ]
    for key, (words, form) in METRICS.items():
        cells = []
        for name in names:
            value, base = figures["variants"][name].get(key), first.get(key)
            if value is None:
                cells.append("")
                continue
            ratio = f" ({value / base:.2f})" if base and name != names[0] else ""
            cells.append(f"{value:{form}}{ratio}")
        lines.append(f"| {words} | " + " | ".join(cells) + " |")
    lines += ["", *(f"Not measured: {note}." for note in figures["left_out"]), ""]
    return "\n".join(lines)


def put_section(text: str) -> None:
    """Put the section into the page, in place of an earlier one."""
    page = PAGE.read_text() if PAGE.exists() else ""
    before, _, after = page.partition(HEADING)
    rest = after.partition("\n## ")[2]
    PAGE.write_text(f"{before.rstrip()}\n\n{text}" + (f"\n## {rest}" if rest else ""))


def main() -> None:
    """Measure, and write figures and page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10.0, help="for each number of clients")
    parser.add_argument("--baseline", default=BASELINE, help="the revision to compare with")
    parser.add_argument("--python15", type=Path, default=TREE / ".venv15" / "bin" / "python")
    parser.add_argument("--only", nargs="*", help="names of variants")
    parser.add_argument("--print", action="store_true", help="write no files")
    arguments = parser.parse_args()
    now, old = Path(sys.executable), arguments.python15.absolute()
    with checkout(arguments.baseline) as baseline:
        variants = [
            Variant("before, DuckDB 1.5.5", baseline, old),
            Variant("now", TREE, now),
            Variant("now, no shadow", TREE, now, {"DUCKDB_SHADOW_ENABLED": "false"}),
            Variant("now, checkpoints as before", TREE, now, {"DUCKDB_CHECKPOINT_REPLAY": "1h"}),
            Variant("now, DuckDB 1.5.5", TREE, old),
        ]
        wanted = [each for each in variants if not arguments.only or each.name in arguments.only]
        left_out = [f"{each.name} ({why})" for each in wanted if (why := each.why_not())]
        wanted = [each for each in wanted if not each.why_not()]
        rounds: dict[str, list[dict[str, float]]] = {each.name: [] for each in wanted}
        for number in range(arguments.rounds):
            turn = number % len(wanted)
            for variant in [*wanted[turn:], *wanted[:turn]]:
                print(f"round {number + 1}: {variant.name} ...", file=sys.stderr, flush=True)
                rounds[variant.name].append(measure(variant, arguments.seconds))
    figures = {
        "machine": f"{os.cpu_count()} CPUs shared by server and clients, Linux {os.uname().release}",
        "at": time.strftime("%Y-%m-%d", time.gmtime()),
        "rounds": arguments.rounds,
        "seconds": arguments.seconds,
        "left_out": left_out,
        "variants": {
            name: {
                key: statistics.median(each[key] for each in found)
                for key in METRICS
                if all(key in each for each in found)
            }
            for name, found in rounds.items()
        },
        "every_round": rounds,
    }
    print(section(figures))
    if not arguments.print:
        FIGURES.write_text(json.dumps(figures, indent=1))
        put_section(section(figures))


if __name__ == "__main__":
    main()
