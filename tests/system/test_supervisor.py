"""``chronoduck serve`` as a whole: whatever ends its server, the port goes on answering."""

from __future__ import annotations

import fcntl
import json
import os
import resource
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import httpx2
import psutil
import pytest

from tests.patience import PATIENCE_SECONDS
from tests.server import Server, watch_end

pytestmark = pytest.mark.slow

# At each "a" the pattern looks for a "b" to the end of the value; the engine does not look up.
DEAF = "SELECT length(regexp_replace(a, 'a*b|a', 'x', 'g')) FROM words"


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for a process to get so far."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.02)


def ask(server: Server, sql: str, **fields: Any) -> httpx2.Response:
    """Send a statement on a connection of its own, again if the connection is cut before an answer.

    And again if the supervisor answers it, because no server is there.
    """
    while True:
        try:
            with server.client() as client:
                answer = client.post("/query", json={"query": sql, **fields})
        except httpx2.TransportError:
            assert server.process.poll() is None, "the supervisor ended"
            continue
        if answer.headers.get("retry-after") != "1":
            return answer
        assert answer.json()["code"] == "engine_restarted"
        time.sleep(0.02)


def standby_of(server: Server) -> psutil.Process | None:
    """Return the process that waits to take over."""
    for child in psutil.Process(server.process.pid).children():
        if server.pid_of_owner not in (None, child.pid):
            return child
    return None


def restarts(server: Server) -> dict[str, Any]:
    with server.client() as client:
        found: dict[str, Any] = client.get("/health").json()["restarts"]
        return found


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path, DUCKDB_WORKER_THREADS=2, DUCKDB_STUCK_SECONDS="200ms") as started:
        yield started


@pytest.fixture
def deaf(tmp_path: Path) -> Iterator[Server]:
    """A server with values on which a statement works for minutes and hears nothing."""
    path = tmp_path / "test.db"
    with duckdb.connect(str(path)) as connection:
        connection.execute("CREATE TABLE words AS SELECT repeat('a', 400000) AS a")
        connection.execute("CREATE TABLE t (a INTEGER)")
    path.chmod(0o640)
    with Server(
        tmp_path,
        DUCKDB_WORKER_THREADS=2,
        DUCKDB_STUCK_SECONDS="200ms",
        DUCKDB_STANDBY="true",
    ) as started:
        yield started


# --- runaways -----------------------------------------------------------------------------------


def test_a_statement_that_hears_nothing_ends_with_its_process(deaf: Server) -> None:
    before = deaf.server_pid
    answer = ask(deaf, DEAF, timeout_seconds=2)
    assert answer.status_code == 504, answer.text
    assert answer.json()["code"] == "statement_timeout"
    until(lambda: deaf.pid_of_owner not in (None, before), "the server was not replaced")
    assert ask(deaf, "SELECT 42").json()["data"] == [[42]]
    found = restarts(deaf)
    assert found["count"] == 1
    assert found["supervised"] is True
    log = deaf.log_lines()
    stuck = next(line for line in log if line["event"] == "statement_stuck")
    assert stuck["user"] == "admin"
    assert stuck["query_hash"] in found["last_reason"]
    assert "regexp_replace" not in json.dumps([stuck, found])
    assert any(line["event"] == "server_replaced" for line in log)
    trail = (deaf.directory / "test.db.audit.jsonl").read_text()
    assert stuck["query_hash"] in trail, "the trail lost the statement that did it"


def test_neighbours_are_answered_while_every_worker_hears_nothing(deaf: Server) -> None:
    before = deaf.server_pid
    offenders = [
        threading.Thread(target=ask, args=(deaf, DEAF), kwargs={"timeout_seconds": 2})
        for _ in range(2)
    ]
    codes: list[str] = []

    def neighbour() -> None:
        while deaf.pid_of_owner in (None, before):
            answer = ask(deaf, "SELECT 1")
            codes.append(answer.json().get("code", "ok"))
            if answer.status_code == 503:
                assert answer.headers["retry-after"] == "0"
                assert answer.headers["connection"] == "close"

    neighbours = [threading.Thread(target=neighbour) for _ in range(4)]
    for thread in [*offenders, *neighbours]:
        thread.start()
    for thread in [*offenders, *neighbours]:
        thread.join(PATIENCE_SECONDS)
        assert not thread.is_alive()
    assert set(codes) <= {"ok", "engine_restarted"}
    assert codes.count("ok") >= len(neighbours)


def test_a_client_that_leaves_its_statement_behind_blocks_nobody_for_long(deaf: Server) -> None:
    before = deaf.server_pid
    with deaf.client() as client:
        client.post("/query", json={"query": "SELECT 1"})  # the first one waits for an analyzer
        with pytest.raises(httpx2.ReadTimeout):
            client.post("/query", json={"query": DEAF}, timeout=3.0)
    until(lambda: deaf.pid_of_owner not in (None, before), "the server was not replaced")
    assert ask(deaf, "SELECT 42").json()["data"] == [[42]]


def test_inserts_beside_replacements_are_acknowledged_or_not_but_never_lost(deaf: Server) -> None:
    acknowledged: list[int] = []
    uncertain: list[int] = []
    is_over = threading.Event()

    def write() -> None:
        number = 0
        while not is_over.is_set():
            number += 1
            try:
                with deaf.client() as client:
                    answer = client.post(
                        "/query", json={"query": f"INSERT INTO t VALUES ({number})"}
                    )
            except httpx2.TransportError:
                uncertain.append(number)
                continue
            if answer.status_code == 200:
                acknowledged.append(number)
            elif answer.json()["code"] != "engine_restarted":
                assert answer.json()["code"] == "write_outcome_unknown"
                uncertain.append(number)

    writer = threading.Thread(target=write)
    writer.start()
    for _ in range(3):
        before = deaf.server_pid
        ask(deaf, DEAF, timeout_seconds=2)
        until(lambda before=before: deaf.pid_of_owner not in (None, before), "not replaced")
    is_over.set()
    writer.join()
    rows = ask(deaf, "SELECT a FROM t ORDER BY a", max_rows=1_000_000).json()["data"]
    found = [row[0] for row in rows]
    assert len(found) == len(set(found))
    assert set(acknowledged) <= set(found) <= {*acknowledged, *uncertain}


def test_a_value_beyond_the_address_space_fails_alone(tmp_path: Path) -> None:
    path = tmp_path / "test.db"
    with duckdb.connect(str(path)) as connection:
        connection.execute("CREATE TABLE big AS SELECT repeat('ab', 50000000) AS t")
    path.chmod(0o640)
    with Server(tmp_path, DUCKDB_ADDRESS_SPACE_LIMIT="3GB") as server:
        before = server.server_pid
        for sql in (
            "SELECT length(repeat(t, 35)) FROM big",
            "SELECT length(lpad(t, 3500000000, 'x')) FROM big",
            "SELECT length(array_to_string(list_transform(range(40), x -> t), '')) FROM big",
        ):
            answer = ask(server, sql, timeout_seconds=20)
            assert answer.status_code != 200, answer.text
            assert ask(server, "SELECT 42").json()["data"] == [[42]]
        assert (
            ask(server, "SELECT length(repeat(t, 35)) FROM big").json()["code"] == "out_of_memory"
        )
        assert server.server_pid == before, "the process did not survive"


# --- deaths -------------------------------------------------------------------------------------


@pytest.mark.parametrize("standby", ["true", "false"])
def test_the_port_answers_after_each_kill_of_the_server(tmp_path: Path, standby: str) -> None:
    with Server(tmp_path, DUCKDB_STANDBY=standby) as server:
        server.query("CREATE TABLE t (a INTEGER)")
        for number in range(3):
            server.query(f"INSERT INTO t VALUES ({number})")
            server.kill_server()
            rows = ask(server, "SELECT count(*) FROM t").json()["data"]
            assert rows == [[number + 1]]
        found = restarts(server)
        assert found["count"] == 3
        assert "SIGKILL" in found["last_reason"]
        with server.client() as client:
            health = client.get("/health").json()
        assert health["components"]["restarts"]["status"] == "degraded"
        assert server.stop() == 0


def test_no_connection_is_refused_while_the_server_is_replaced(server: Server) -> None:
    refused: list[Exception] = []
    answered: list[int] = []
    is_over = threading.Event()

    def connect() -> None:
        while not is_over.is_set():
            try:
                answered.append(httpx2.get(f"{server.url}/api/v1/duckdb/health/live").status_code)
            except httpx2.ConnectError as error:
                refused.append(error)
            except httpx2.TransportError:
                pass  # accepted by the one that died

    thread = threading.Thread(target=connect)
    thread.start()
    for _ in range(2):
        server.kill_server()
        ask(server, "SELECT 1")
    is_over.set()
    thread.join()
    assert refused == []
    assert set(answered) <= {200, 503}  # of a server, of the supervisor
    assert 200 in answered


def test_a_log_that_nobody_reads_holds_up_nothing(server: Server) -> None:
    assert server.process.stderr is not None
    pipe = f"/proc/self/fd/{server.process.stderr.fileno()}"
    descriptor = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
    with pytest.raises(BlockingIOError):
        while True:
            os.write(descriptor, b"full\n" * 100)
    os.close(descriptor)
    for _ in range(2):
        server.kill_server()
        assert ask(server, "SELECT 42").json()["data"] == [[42]]
    assert server.stop() == 0


def test_a_server_whose_event_loop_hangs_is_replaced(tmp_path: Path) -> None:
    with Server(tmp_path, DUCKDB_SILENT_SECONDS="1s") as server:
        before = server.server_pid
        os.kill(before, signal.SIGSTOP)
        assert ask(server, "SELECT 42").json()["data"] == [[42]]
        assert server.server_pid != before
        assert "silent" in restarts(server)["last_reason"]


def test_the_server_dies_with_its_supervisor(tmp_path: Path) -> None:
    with Server(tmp_path, DUCKDB_STANDBY="true") as server:
        until(lambda: standby_of(server) is not None, "there is no standby")
        standby = standby_of(server)
        assert standby is not None
        ends = [watch_end(server.server_pid), watch_end(standby.pid)]
        server.process.kill()
        server.process.wait()
        for wait in ends:
            wait()


def test_a_standby_that_dies_is_nobodys_loss(tmp_path: Path) -> None:
    with Server(tmp_path, DUCKDB_STANDBY="true") as server:
        until(lambda: standby_of(server) is not None, "there is no standby")
        standby = standby_of(server)
        assert standby is not None
        ends = watch_end(standby.pid)
        standby.kill()
        ends()
        server.kill_server()
        assert ask(server, "SELECT 42").json()["data"] == [[42]]


def test_a_successor_that_finds_the_database_damaged_ends_the_service(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        server.query("CREATE TABLE t AS SELECT 1 AS a")
        server.query("CHECKPOINT")
        path = tmp_path / "test.db"
        with path.open("r+b") as file:
            file.seek(100)
            byte = file.read(1)
            file.seek(100)
            file.write(bytes([byte[0] ^ 1]))
        server.kill_server()
        assert server.process.wait(PATIENCE_SECONDS) == 74
        assert server.process.stderr is not None
        said = server.process.stderr.read()
    assert said.count("error:") == 1
    assert "cannot be opened" in " ".join(said.split())


def test_a_successor_waits_for_who_took_the_file_in_between(server: Server) -> None:
    server.query("CREATE TABLE t AS SELECT 1 AS a")
    descriptor = os.open(server.directory / "test.db.lock", os.O_RDWR)
    holds = threading.Event()

    def take() -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        holds.set()

    thread = threading.Thread(target=take)
    thread.start()
    server.kill_server()
    thread.join(PATIENCE_SECONDS)
    assert holds.is_set()
    assert server.process.stderr is not None
    tried = [json.loads(server.process.stderr.readline())["code"]]  # the one that was killed
    while len(tried) < 3:
        line = server.process.stderr.readline()
        if line.startswith("{"):
            tried.append(json.loads(line)["code"])
    assert tried == [137, 75, 75]
    os.close(descriptor)
    assert ask(server, "FROM t").json()["data"] == [[1]]


# --- ends ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_good_order(tmp_path: Path, number: signal.Signals) -> None:
    with Server(tmp_path, DUCKDB_STANDBY="true") as server:
        server.query("CREATE TABLE t AS SELECT 1 AS a")
        server.process.send_signal(number)
        assert server.process.wait(PATIENCE_SECONDS) == 0
        assert server.pid_of_owner is None
        assert '"event":"service_stopped","graceful":true' in server.log_text()
        with pytest.raises(httpx2.ConnectError):
            httpx2.get(server.url)


def test_a_signal_to_the_server_itself_ends_the_supervisor_too(server: Server) -> None:
    os.kill(server.server_pid, signal.SIGTERM)
    assert server.process.wait(PATIENCE_SECONDS) == 0


def test_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    with Server(tmp_path, DUCKDB_SHUTDOWN_GRACE="60") as server:

        def run_for_ever() -> None:
            with pytest.raises(httpx2.TransportError):
                server.query(
                    "SELECT count(*) FROM range(1000000) a, range(1000000) b "
                    "WHERE a.range + b.range = -1"
                )

        thread = threading.Thread(target=run_for_ever)
        thread.start()
        with server.client() as client:
            until(lambda: client.get("/queries").json() != [], "the statement does not run")
            server.process.send_signal(signal.SIGTERM)
            until(lambda: _is_draining(client), "the first signal has not arrived")
        time.sleep(1.1)  # signals closer together are one
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(PATIENCE_SECONDS) == 137
        thread.join()


def _is_draining(client: httpx2.Client) -> bool:
    try:
        client.get("/health/live")
    except httpx2.TransportError:
        return True
    return False


def test_systemd_is_told_of_start_life_and_end(tmp_path: Path) -> None:
    heard: list[bytes] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))

        def listen() -> None:
            while b"over" not in heard:
                heard.append(systemd.recv(1000))

        thread = threading.Thread(target=listen)
        thread.start()
        with Server(tmp_path, NOTIFY_SOCKET=tmp_path / "notify") as server:
            until(lambda: any(b"READY=1" in each for each in heard), "it is not ready")
            before = len(heard)
            until(lambda: b"WATCHDOG=1" in heard[before:], "it does not tell that it lives")
            assert server.stop() == 0
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"over", str(tmp_path / "notify"))
        thread.join()
    ready = next(n for n, each in enumerate(heard) if b"READY=1" in each)
    assert any(each.startswith(b"EXTEND_TIMEOUT_USEC=") for each in heard[:ready])
    assert b"STOPPING=1" in heard[ready:]


# --- limits -------------------------------------------------------------------------------------


def test_the_server_is_limited_and_its_replicator_is_not(tmp_path: Path) -> None:
    with Server(tmp_path, DUCKDB_REPLICA_URL=tmp_path / "replica") as server:
        process = psutil.Process(server.server_pid)
        limit = 2 * 500_000_000 + 4_000_000_000
        assert process.rlimit(psutil.RLIMIT_AS)[0] == limit
        assert process.rlimit(psutil.RLIMIT_CORE)[0] == 0
        replicator = next(
            child for child in process.children() if "chronoduck.replication" in child.cmdline()
        )
        assert replicator.rlimit(psutil.RLIMIT_AS)[0] == resource.RLIM_INFINITY


def test_the_supervisor_stays_small(server: Server) -> None:
    supervisor = psutil.Process(server.process.pid)
    assert supervisor.memory_info().rss < 30_000_000
    assert supervisor.num_threads() == 1
