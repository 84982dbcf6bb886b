"""Bodies far larger than the memory that the engine may have: how much the server needs for them."""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import orjson

from benchmarks.ingest.bulk import MEDIA_TYPES, make_files
from benchmarks.ingest.single_rows import CREATE
from tests.server import Server

_PARTS_ROWS = 2_000_000
_BLOCK_BYTES = 1_000_000


@dataclass(frozen=True)
class Large:
    """One body, into a new server."""

    format: str
    size_mb: float
    rows: int
    seconds: float
    before_mb: float
    highest_mb: float
    own_mb: float
    """The highest without what is mapped from files, which the system may take back at any time."""


def measure_memory(largest_gb: float) -> list[Large]:
    """Return the figures of bodies of a hundredth, a tenth and the whole of that size.

    Arrow and Parquet cannot be lengthened by repetition: theirs are as large as their rows.
    """
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        files = {rows: make_files(directory, rows) for rows in (_PARTS_ROWS, 10 * _PARTS_ROWS)}
        lines = [
            _measure(directory, form, files[_PARTS_ROWS][form], largest_gb * 1e9 * share)
            for form in ("csv", "ndjson")
            for share in (0.01, 0.1, 1.0)
        ]
        whole = [
            _measure(directory, form, files[rows][form], files[rows][form].stat().st_size)
            for form in ("arrow", "parquet")
            for rows in files
        ]
    return lines + whole


def _measure(directory: Path, form: str, path: Path, size: float) -> Large:
    """Send a file as often as makes up the size: one body, of many gigabytes if wanted."""
    home = Path(tempfile.mkdtemp(dir=directory))
    sent = 0

    def blocks() -> Iterator[bytes]:
        nonlocal sent
        is_first = True
        while sent < size:
            with path.open("rb") as file:
                if form == "csv" and not is_first:
                    file.readline()
                while sent < size and (block := file.read(_BLOCK_BYTES)):
                    sent += len(block)
                    # The last line is whole, though the size is reached in the middle of it.
                    yield block if sent < size else block + file.readline()
            is_first = False

    with Server(home, DUCKDB_MEMORY_LIMIT="1GB", DUCKDB_MAX_UPLOAD_SIZE="64GB") as server:
        server.query(CREATE)
        before = server.resident_mb()
        watch = _Watch(server.server_pid)
        began = time.perf_counter()
        with server.client() as client:
            client.timeout = 3600
            answer = client.post(
                "/tables/t/rows",
                content=blocks() if form in ("csv", "ndjson") else _whole(path),
                headers={"Content-Type": MEDIA_TYPES[form]},
            )
        seconds = time.perf_counter() - began
        done = orjson.loads(answer.content.splitlines()[-1])
        if done.get("event") != "done":
            raise RuntimeError(f"the load failed: {done}")
        watch.end()
    shutil.rmtree(home)
    return Large(
        form, size / 1e6, done["rows_added"], seconds, before, watch.resident_mb, watch.own_mb
    )


def _whole(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            yield block


class _Watch:
    """Looks a hundred times a second how much memory a process has."""

    def __init__(self, pid: int) -> None:
        self._status = Path(f"/proc/{pid}/status")
        self._is_over = threading.Event()
        self.resident_mb = self.own_mb = 0.0
        self._thread = threading.Thread(target=self._look)
        self._thread.start()

    def _look(self) -> None:
        while not self._is_over.wait(0.01):
            fields = dict(line.split(":", 1) for line in self._status.read_text().splitlines())
            own = int(fields["RssAnon"].split()[0]) / 1000
            self.own_mb = max(self.own_mb, own)
            self.resident_mb = max(self.resident_mb, int(fields["VmRSS"].split()[0]) / 1000)

    def end(self) -> None:
        self._is_over.set()
        self._thread.join()
