"""Whole files: over HTTP into the service, and by DuckDB itself from the disk, in turns."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import duckdb
import orjson
import pyarrow as pa

from benchmarks.ingest.single_rows import CREATE
from tests.server import Server

_MAKE = """
CREATE TABLE source AS
SELECT i AS id, 'https://example.com/page/' || i AS url, (i * 7 % 1000) / 10.0::DOUBLE AS score,
       TIMESTAMP '2026-01-01' + to_seconds(i) AS seen, i % 3 = 0 AS ok
FROM range($rows) r (i)
"""
COLUMNS = "{id: 'BIGINT', url: 'VARCHAR', score: 'DOUBLE', seen: 'TIMESTAMP', ok: 'BOOLEAN'}"
MEDIA_TYPES = {
    "arrow": "application/vnd.apache.arrow.stream",
    "parquet": "application/vnd.apache.parquet",
    "ndjson": "application/x-ndjson",
    "csv": "text/csv",
}


@dataclass(frozen=True)
class Bulk:
    """Median seconds of one format."""

    format: str
    rows: int
    size_mb: float
    http_seconds: float
    in_process_seconds: float
    server_seconds: float
    """Of the load itself, as the service tells: without the upload."""

    @property
    def ratio(self) -> float:
        return self.in_process_seconds / self.http_seconds


def measure_bulk(rows: int, times: int) -> list[Bulk]:
    """Return the figures of every format."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        files = make_files(directory, rows)
        (directory / "server").mkdir()
        with Server(directory / "server", DUCKDB_MEMORY_LIMIT="2GB") as server:
            server.query(CREATE)
            return [_measure(server, directory, *each, rows, times) for each in files.items()]


def _measure(server: Server, directory: Path, name: str, path: Path, rows: int, times: int) -> Bulk:
    http, told, own = [], [], []
    for _ in range(times):  # in turns: both meet the same neighbours
        server.query("DELETE FROM t")
        server.query("CHECKPOINT")
        began = time.perf_counter()
        told.append(_send(server, path, MEDIA_TYPES[name], rows))
        http.append(time.perf_counter() - began)
        own.append(_in_process(directory, name, path, rows))
    return Bulk(
        name,
        rows,
        round(path.stat().st_size / 1e6, 1),
        statistics.median(http),
        statistics.median(own),
        statistics.median(told),
    )


def _send(server: Server, path: Path, media_type: str, rows: int) -> float:
    def blocks() -> Iterator[bytes]:
        with path.open("rb") as file:
            while block := file.read(1_000_000):
                yield block

    with server.client() as client:
        response = client.post(
            "/tables/t/rows", content=blocks(), headers={"Content-Type": media_type}
        )
    done = orjson.loads(response.content.splitlines()[-1])
    if done["event"] != "done" or done["rows_added"] != rows:
        raise RuntimeError(f"the load failed: {done}")
    return float(done["seconds"])


def _in_process(directory: Path, name: str, path: Path, rows: int) -> float:
    database = directory / "own.db"
    connection = duckdb.connect(str(database))
    connection.execute(CREATE)
    insert: dict[str, Callable[[], str]] = {
        "arrow": lambda: _registered(connection, path),
        "parquet": lambda: f"read_parquet('{path}')",
        "ndjson": lambda: f"read_json('{path}', format='newline_delimited', columns={COLUMNS})",
        "csv": lambda: f"read_csv('{path}', header=true, delim=',', columns={COLUMNS})",
    }
    began = time.perf_counter()
    count = connection.execute(f"INSERT INTO t FROM {insert[name]()}").fetchall()[0][0]
    seconds = time.perf_counter() - began
    connection.close()
    for each in directory.glob("own.db*"):
        each.unlink()
    if count != rows:
        raise RuntimeError(f"{count} rows of {rows} came in")
    return seconds


def _registered(connection: duckdb.DuckDBPyConnection, path: Path) -> str:
    connection.register("body", pa.ipc.open_stream(pa.memory_map(str(path))))
    return "body"


def make_files(directory: Path, rows: int) -> dict[str, Path]:
    connection = duckdb.connect()
    connection.execute(_MAKE, {"rows": rows})
    files = {name: directory / f"{rows}.{name}" for name in MEDIA_TYPES}
    connection.execute(f"COPY source TO '{files['parquet']}' (FORMAT parquet)")
    connection.execute(f"COPY source TO '{files['ndjson']}' (FORMAT json)")
    connection.execute(f"COPY source TO '{files['csv']}' (FORMAT csv, HEADER)")
    reader = connection.execute("FROM source").to_arrow_reader(65_536)
    with (
        pa.OSFile(str(files["arrow"]), "wb") as file,
        pa.ipc.new_stream(file, reader.schema) as writer,
    ):
        for batch in reader:
            writer.write_batch(batch)
    connection.close()
    return files
