"""One user's statement runs out of memory; whatever others do needs threads and memory, and gets them."""

from __future__ import annotations

import os
import resource
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import httpx2
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.patience import PATIENCE_SECONDS
from tests.server import Server

pytestmark = pytest.mark.slow

SECONDS = float(os.environ.get("CHRONODUCK_MEMORY_SECONDS", "10"))
BOUND_BYTES = 4_000_000_000
LEFT_BYTES = 500_000_000
"""What must be free after any statement; a server takes 2.7 GB, and 3.1 GB once all has been used."""
SCARCE_BYTES = 64_000_000
IS_VERSION_1 = duckdb.__version__.startswith("1.")
SHAPES = {
    # one block, of DuckDB's buffer manager and of its allocator
    "string_agg": "SELECT length(string_agg(repeat('x', 1000), '')) FROM range(3000000)",
    "repeat": "SELECT length(repeat('x', n)) FROM (VALUES (3900000000)) t(n)",
    # blocks that double
    "range": "SELECT length(range(n)) FROM (VALUES (400000000)) t(n)",
    "list_sort": "SELECT length(list_sort(range(n))) FROM (VALUES (90000000)) t(n)",
    "split": "SELECT length(string_split(t, ',')) FROM words",
    "comprehension": "SELECT length([x + 1 for x in range(n)]) FROM (VALUES (90000000)) t(n)",
    # many small ones
    "strings": "SELECT length([x::VARCHAR || 'abcdefghijklmnopqrstuvw' for x in range(n)]) "
    "FROM (VALUES (30000000)) t(n)",
    "json": "SELECT length(to_json(list_transform(range(n), lambda x: {'a': x})::VARCHAR)) "
    "FROM (VALUES (20000000)) t(n)",
    "parsed": "SELECT json_structure(t) FROM words",
    "map": "SELECT cardinality(map_from_entries(list(struct_pack(k := i, v := i::VARCHAR)))) "
    "FROM range(20000000) t(i)",
    "histogram": "SELECT cardinality(histogram(i::VARCHAR)) FROM range(4000000) t(i)",
    # the hash tables of C++ in the heap of the C library
    "matches": "SELECT length(regexp_extract_all(t, '.')) FROM words",
    "unique": "SELECT list_unique(list(i)) FROM range(60000000) t(i)",
    "tree": "SELECT cardinality(histogram(i)) FROM range(40000000) t(i)",
    "modes": "SELECT mode(i::VARCHAR || 'abcdefghijklmnopqrstuvw') FROM range(9000000) t(i)",
}
if IS_VERSION_1:
    del SHAPES["tree"]  # it ends the process: bad_alloc in a thread of DuckDB's own


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    path = tmp_path / "test.db"
    with duckdb.connect(str(path)) as connection:
        connection.execute(
            "CREATE TABLE words AS SELECT '[' || repeat('1,', 60000000) || '1]' AS t"
        )
        connection.execute("CREATE TABLE numbers AS SELECT range AS i FROM range(300000)")
    path.chmod(0o640)
    with Server(
        tmp_path,
        DUCKDB_ADDRESS_SPACE_LIMIT=BOUND_BYTES,
        DUCKDB_BACKUP_DIR=tmp_path / "backups",
        DUCKDB_EXPORT_URL=tmp_path / "exports",
    ) as started:
        yield started


def mapped_bytes(server: Server) -> int:
    pages = Path(f"/proc/{server.server_pid}/statm").read_text().split()[0]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def key_of(server: Server, name: str, role: str) -> dict[str, str]:
    with server.client() as client:
        answer = client.post("/keys", json={"name": name, "role": role})
        assert answer.status_code == 201, answer.text
        return {"Authorization": f"Bearer {answer.json()['key']}"}


def run_out(server: Server, shape: str, key: dict[str, str]) -> str:
    """Send a statement that takes what it can get; return what became of it."""
    with server.client() as client:
        query = {"query": SHAPES[shape], "timeout_seconds": 60}
        answer = client.post("/query", json=query, headers=key)
        if answer.status_code == 429:
            time.sleep(1)
        return str(answer.json().get("code", "succeeded"))


# --- what others do ------------------------------------------------------------------------------


def parquet(directory: Path) -> bytes:
    file = directory / "rows.parquet"
    pq.write_table(pa.table({"a": list(range(50_000))}), file)
    return file.read_bytes()


def succeed(client: httpx2.Client, begun: httpx2.Response) -> None:
    """Wait for a job's good end, told by its stream of events."""
    assert begun.status_code == 202, begun.text
    path = f"/jobs/{begun.json()['id']}"
    with client.stream("GET", f"{path}/events") as events:
        assert events.status_code == 200
        for _ in events.iter_lines():
            pass
    answered = client.get(path)
    job = answered.json()
    assert job["state"] == "succeeded", answered.text


def of_others(server: Server) -> dict[str, Callable[[], None]]:
    """What needs a new thread, a new connection of DuckDB, a process or a large buffer."""
    key = key_of(server, "other", "writer")
    rows = parquet(server.directory)

    def client() -> httpx2.Client:
        made = server.client()
        made.headers.update(key)
        return made

    def query() -> None:
        with client() as other:
            answer = other.post("/query", json={"query": "SELECT sum(i) FROM numbers"})
            assert answer.status_code == 200, answer.text

    def health() -> None:
        with server.client() as admin:
            for path in ("/health", "/health/ready", "/statistics"):
                answer = admin.get(path)
                assert answer.status_code == 200, answer.text

    def upload() -> None:
        with client() as other:
            for kind, body in (
                ("application/vnd.apache.parquet", rows),
                ("application/x-ndjson", b'{"a": 1}\n' * 20_000),
            ):
                answer = other.post(
                    "/tables/loaded/rows?create=true", content=body, headers={"Content-Type": kind}
                )
                assert answer.status_code in (200, 201), answer.text

    def stream() -> None:
        wanted = {"query": "SELECT i FROM numbers", "max_rows": 300_000}
        with client() as other:
            for kind in ("application/x-ndjson", "application/vnd.apache.arrow.stream"):
                answer = other.post("/query", json=wanted, headers={"Accept": kind})
                assert answer.status_code == 200, answer.text

    def job() -> None:
        with client() as other:
            succeed(other, other.post("/jobs", json={"query": "SELECT i FROM numbers"}))

    def export() -> None:
        wanted = {"query": "SELECT i FROM numbers", "format": "parquet"}
        with client() as other:
            succeed(other, other.post("/exports", json=wanted))

    def backup() -> None:
        with server.client() as admin:
            succeed(admin, admin.post("/backups", json={"tables": ["numbers"]}))

    return {work.__name__: work for work in (query, health, upload, stream, job, export, backup)}


# --- tests ---------------------------------------------------------------------------------------


def test_what_a_statement_took_is_free_again_when_it_is_answered(server: Server) -> None:
    works = of_others(server)
    before = server.server_pid
    for work in works.values():
        work()
    outcomes = Counter[str]()
    taken = {}
    for number, shape in enumerate(SHAPES):
        outcomes[run_out(server, shape, key_of(server, f"hog{number}", "analyst"))] += 1
        taken[shape] = mapped_bytes(server)
        works["health"]()
    assert outcomes["out_of_memory"] >= len(SHAPES) // 2, outcomes
    if not IS_VERSION_1:  # its aggregates fill the heap of the C library, which shrinks little
        assert max(taken.values()) < BOUND_BYTES - LEFT_BYTES, taken
    for work in works.values():
        work()
    assert server.server_pid == before, "the process was replaced"


def test_others_work_while_statements_take_all_the_memory(server: Server) -> None:
    works = of_others(server)
    before = server.server_pid
    is_over = threading.Event()
    outcomes: Counter[str] = Counter()
    failures: list[tuple[str, Any]] = []
    done: Counter[str] = Counter()

    def take(number: int) -> None:
        key = key_of(server, f"hog{number}", "analyst")
        shapes = list(SHAPES)[number::2]
        while not is_over.is_set():
            for shape in shapes:
                if not is_over.is_set():
                    outcomes[run_out(server, shape, key)] += 1

    def go_on(name: str, work: Callable[[], None]) -> None:
        while not is_over.is_set() or not done[name]:
            try:
                work()
            except Exception as error:  # noqa: BLE001 - shown below
                # While it lasts there may be nothing left; but nothing else may come of that.
                if "out_of_memory" not in str(error) and "more memory than" not in str(error):
                    failures.append((name, error))
                    return
            else:
                done[name] += 1

    threads = [threading.Thread(target=take, args=(number,)) for number in range(2)]
    threads += [threading.Thread(target=go_on, args=pair) for pair in works.items()]
    for thread in threads:
        thread.start()
    is_over.wait(SECONDS)
    is_over.set()
    for thread in threads:
        thread.join(PATIENCE_SECONDS)
        assert not thread.is_alive()
    assert failures == []
    assert outcomes["out_of_memory"] > 0, outcomes
    assert server.server_pid == before, "the process was replaced"


def test_with_no_address_space_left_others_go_on_with_what_was_there_from_the_start(
    server: Server,
) -> None:
    """A statement that holds almost all of it, and nothing has been used before."""
    works = of_others(server)
    before = server.server_pid
    bound = mapped_bytes(server) + SCARCE_BYTES
    resource.prlimit(before, resource.RLIMIT_AS, (bound, resource.RLIM_INFINITY))
    for work in works.values():
        work()
    assert server.server_pid == before, "the process was replaced"
