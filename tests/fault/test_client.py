"""The Python client when the service is full, limited, killed, or the network cuts connections."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from chronoduck import errors
from chronoduck.client import AsyncClient, Client, ConnectionBrokenError, Retries
from tests.flaky_proxy import FlakyProxy
from tests.patience import PATIENCE_SECONDS
from tests.server import Server

pytestmark = pytest.mark.slow

ENDLESS = "SELECT sum(a.range * b.range) FROM range(10000000) a, range(10000000) b"
LARGE = "SELECT range AS n, repeat('x', 200) AS text FROM range(3000000)"
TWO_SECONDS = "SELECT count(*) FROM range(20000000) t WHERE hash(sha256(range::VARCHAR)) = 0"
ONCE = Retries(attempts=1)
PATIENT = Retries(attempts=100, total_seconds=PATIENCE_SECONDS)
"""On a machine that is busy, a server that was killed needs longer than a client usually waits."""
SMALL = {"DUCKDB_WORKER_THREADS": 1, "DUCKDB_QUEUE_SIZE": 1, "DUCKDB_MAX_CONNECTIONS": 2}


def until(condition: Callable[[], Any], seconds: float = PATIENCE_SECONDS) -> Any:
    end = time.monotonic() + seconds
    while not (met := condition()):
        assert time.monotonic() < end
        time.sleep(0.02)
    return met


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as pool:
        yield pool


def connect(server: Server, **options: Any) -> Client:
    return Client(server.url, **{"token": server.token, **options})


def cancel_all(client: Client) -> None:
    for each in client.running():
        client.cancel(each["id"])


def test_a_full_queue_is_waited_out_by_reads_and_writes(
    tmp_path: Path, pool: ThreadPoolExecutor
) -> None:
    with Server(tmp_path, **SMALL) as server, connect(server) as client:
        client.execute("CREATE TABLE t (n INTEGER)")
        blockers: list[Future[Any]] = [pool.submit(client.query, ENDLESS) for _ in range(2)]
        until(lambda: len(client.running()) == 2)
        with connect(server, retries=ONCE) as hasty, pytest.raises(errors.QueueFullError):
            hasty.query("SELECT 1")
        refused = client.statistics()["queue"]["total_refused"]
        read = pool.submit(client.query, "SELECT 42")
        write = pool.submit(client.execute, "INSERT INTO t VALUES (1)")
        until(lambda: client.statistics()["queue"]["total_refused"] >= refused + 2)
        cancel_all(client)
        assert read.result().scalar() == 42
        assert write.result() == 1
        assert client.query("SELECT count(*) FROM t").scalar() == 1
        for each in blockers:
            assert isinstance(each.exception(), errors.StatementCancelledError)


def test_a_quota_is_waited_for_as_long_as_the_total_time_allows(
    tmp_path: Path, pool: ThreadPoolExecutor
) -> None:
    with Server(tmp_path) as server, connect(server) as admin, server.client() as http:
        admin.execute("CREATE TABLE t (n INTEGER)")
        limits = {"concurrent_statements": 1}
        body = {"name": "ann", "role": "writer", "limits": limits}
        token = http.post("/keys", json=body).json()["key"]
        with connect(server, token=token) as client:
            blocker = pool.submit(client.query, ENDLESS)
            until(admin.running)
            with (
                connect(server, token=token, retries=Retries(total_seconds=0)) as hasty,
                pytest.raises(errors.QuotaExceededError) as caught,
            ):
                hasty.query("SELECT 1")
            assert caught.value.retry_after_seconds is not None
            write = pool.submit(client.execute, "INSERT INTO t VALUES (1)")
            until(lambda: client.me()["since_start"]["refused"] >= 2)
            cancel_all(admin)
            assert write.result() == 1
            assert isinstance(blocker.exception(), errors.StatementCancelledError)
        assert admin.query("SELECT count(*) FROM t").scalar() == 1


def test_readers_do_not_notice_that_the_server_is_killed(
    tmp_path: Path, pool: ThreadPoolExecutor
) -> None:
    with Server(tmp_path) as server, connect(server, retries=PATIENT) as client:
        client.execute("CREATE TABLE t AS FROM range(1000)")
        stop = threading.Event()

        def read() -> int:
            count = 0
            with connect(server, retries=PATIENT) as reader:
                while not stop.is_set():
                    assert reader.query("SELECT count(*) FROM t").scalar() == 1000
                    assert reader.arrow("FROM t").num_rows == 1000
                    count += 1
            return count

        async def read_too() -> int:
            count = 0
            async with AsyncClient(server.url, token=server.token, retries=PATIENT) as reader:
                while not stop.is_set():
                    assert (await reader.query("SELECT count(*) FROM t")).scalar() == 1000
                    count += 1
            return count

        readers = [pool.submit(read), pool.submit(lambda: asyncio.run(read_too()))]
        long = pool.submit(client.query, TWO_SECONDS)
        until(lambda: any(each["query"] == TWO_SECONDS for each in client.running()))
        for _ in range(2):
            pid = server.kill_server()
            until(lambda killed=pid: server.pid_of_owner not in (None, killed))
            assert client.query("SELECT 1").scalar() == 1
        stop.set()
        assert all(reader.result() > 0 for reader in readers)
        assert long.result().scalar() == 0  # it was begun three times


def test_a_write_that_the_server_dies_in_is_not_sent_again(
    tmp_path: Path, pool: ThreadPoolExecutor
) -> None:
    with Server(tmp_path) as server, connect(server) as client:
        client.execute("CREATE TABLE t (n BIGINT)")
        sql = f"INSERT INTO t {TWO_SECONDS}"
        write = pool.submit(client.execute, sql)
        until(client.running)
        server.kill_server()
        with pytest.raises(errors.WriteOutcomeUnknownError):
            write.result()
        assert client.query("SELECT count(*) FROM t").scalar() == 0


@pytest.mark.parametrize("form", ["stream", "stream_arrow"])
def test_a_stream_that_the_server_dies_in_raises(tmp_path: Path, form: str) -> None:
    with Server(tmp_path) as server, connect(server) as client:
        with getattr(client, form)(LARGE) as stream:
            items = iter(stream)
            next(items)
            server.kill_server()
            with pytest.raises(ConnectionBrokenError):
                for _ in items:
                    pass
        assert client.query("SELECT 1").scalar() == 1


def test_what_a_job_was_is_known_after_the_server_was_killed(tmp_path: Path) -> None:
    with Server(tmp_path) as server, connect(server) as client:
        done = client.start_job("FROM range(1000)").wait()
        lost = client.start_job(ENDLESS)
        server.kill_server()
        with pytest.raises(errors.DuckDBException) as caught:
            lost.wait()
        assert lost.state == "interrupted"
        assert caught.value.code == "job_interrupted"
        assert len(done.result()) == 1000


@pytest.mark.parametrize("after_request", [False, True])
def test_on_a_bad_network_reads_come_through_and_writes_are_never_doubled(
    tmp_path: Path, after_request: bool
) -> None:
    with (
        Server(tmp_path) as server,
        FlakyProxy(server.port, failing=0.3, after_request=after_request) as proxy,
        connect(server) as admin,
        Client(
            f"http://127.0.0.1:{proxy.port}",
            token=server.token,
            retries=Retries(attempts=20, first_seconds=0.01),
        ) as client,
    ):
        admin.execute("CREATE TABLE t (n INTEGER)")
        acknowledged, unknown = [], []
        for number in range(100):
            assert client.query("SELECT ?", [number]).scalar() == number
            try:
                assert client.execute("INSERT INTO t VALUES (?)", [number]) == 1
                acknowledged.append(number)
            except errors.WriteOutcomeUnknownError:
                unknown.append(number)
        assert proxy.cut > 20
        assert unknown
        rows = admin.query("SELECT n, count(*) FROM t GROUP BY n ORDER BY n").rows
        assert {count for _, count in rows} == {1}
        written = {number for number, _ in rows}
        assert set(acknowledged) <= written
        assert after_request == bool(written & set(unknown))
        for number in range(20):
            with client.stream("FROM range(?)", [number]) as stream:
                assert len(list(stream)) == number


def test_inserts_are_done_once_though_answers_are_lost_and_the_server_is_killed(
    tmp_path: Path, pool: ThreadPoolExecutor
) -> None:
    with (
        Server(tmp_path) as server,
        FlakyProxy(server.port, failing=0.3, after_request=True) as proxy,
        connect(server) as admin,
        Client(
            f"http://127.0.0.1:{proxy.port}",
            token=server.token,
            retries=Retries(attempts=30, first_seconds=0.01),
        ) as client,
    ):
        admin.execute("CREATE TABLE t (n INTEGER)")

        def insert(numbers: range) -> None:
            for number in numbers:
                assert client.insert("t", [{"n": number}]).rows_added == 1
            assert client.insert("t", pa.table({"n": numbers})).rows_added == len(numbers)

        parts = [range(start, start + 50) for start in range(0, 200, 50)]
        done = [pool.submit(insert, part) for part in parts]
        for _ in range(2):
            until(lambda: admin.query("SELECT count(*) FROM t").scalar() > 0)
            pid = server.kill_server()
            until(lambda killed=pid: server.pid_of_owner not in (None, killed))
        for each in done:
            each.result()
        assert proxy.cut > 20
        assert admin.query("SELECT count(*), count(DISTINCT n) FROM t").rows == [(400, 200)]
