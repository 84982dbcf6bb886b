"""A process that a statement ends: who is named for it, who waits, and what everybody else notices."""

from __future__ import annotations

import json
import os
import signal
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.certificates import Certificate
from tests.patience import PATIENCE_SECONDS
from tests.server import Server, run_cli, watch_end

pytestmark = pytest.mark.slow

# At each "a" the pattern looks for a "b" to the end of the value; the engine does not look up.
DEAF = "SELECT length(regexp_replace(a, 'a*b|a', 'x', 'g')) FROM words"
ENDLESS = (
    "SELECT sum(a.range * b.range) FROM range(10000000) a, range(10000000) b WHERE a.range > {}"
)


def until(condition: Callable[[], Any], what: str) -> Any:
    """Wait for something, and return it."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not (found := condition()):
        assert time.monotonic() < end, what
        time.sleep(0.02)
    return found


class User:
    """Somebody with a key."""

    def __init__(self, server: Server, name: str, **more: Any) -> None:
        self.server = server
        with server.client() as admin:
            made = admin.post("/keys", json={"name": name, "role": "analyst", **more}).json()
        self.id = f"key:{made['id']}"
        self.name = name
        self.headers = {"Authorization": f"Bearer {made['key']}"}

    def ask(self, sql: str, **headers: str) -> httpx2.Response:
        """Send a statement, again when the connection breaks or the process is not there yet."""
        while True:
            try:
                with self.server.client() as client:
                    answer = client.post(
                        "/query", json={"query": sql}, headers={**self.headers, **headers}
                    )
            except httpx2.TransportError:
                assert self.server.process.poll() is None, "the supervisor ended"
                continue
            if answer.json().get("code") != "engine_restarted":
                return answer
            time.sleep(0.05)

    def begin(self, number: int, **headers: str) -> None:
        """Have an endless statement run; whatever ends it is not looked at."""

        answers = []

        def send() -> None:
            try:
                with self.server.client() as client:
                    answer = client.post(
                        "/query",
                        json={"query": ENDLESS.format(number)},
                        headers={**self.headers, **headers},
                    )
                    answers.append(answer.text)
            except httpx2.TransportError:
                pass

        def has_begun() -> bool:
            assert not answers, answers
            return any(each["query"] == ENDLESS.format(number) for each in running(self.server))

        threading.Thread(target=send, daemon=True).start()
        until(has_begun, "it does not run")


def running(server: Server) -> list[dict[str, Any]]:
    with server.client() as client:
        found = client.get("/queries").json()
    return [each for each in found if each["state"] == "running"]


def penalties(server: Server) -> dict[str, Any]:
    with server.client() as client:
        found: dict[str, Any] = client.get("/penalties").json()
        return found


def crash(server: Server, number: signal.Signals) -> None:
    """End the process as a fault in the engine does, and wait for the next one."""
    pid = server.server_pid
    ends = watch_end(pid)
    os.kill(pid, number)
    ends()
    until(lambda: server.pid_of_owner not in (None, pid), "nobody takes over")

    def answers() -> bool:
        try:
            with server.client() as client:
                return client.get("/health/ready").status_code == 200
        except httpx2.TransportError:
            return False

    until(answers, "the next one does not serve")


def trail(server: Server, event: str, *names: str) -> list[dict[str, Any]]:
    """Return the events, of these principals if there are some."""
    lines = (server.directory / "test.db.audit.jsonl").read_text().splitlines()
    events = [found for line in lines if (found := json.loads(line))["event"] == event]
    return [each for each in events if not names or each.get("name") in names]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(
        tmp_path_factory.mktemp("crashes"),
        DUCKDB_WORKER_THREADS=3,
        DUCKDB_AUTH_SUB_USER_KEYS="platform",
        DUCKDB_QUOTA_PENALTY_WAIT="500s",
        DUCKDB_STUCK_SECONDS="200ms",
    ) as started:
        started.query("CREATE TABLE words AS SELECT string_agg('a', '') AS a FROM range(400000)")
        yield started


@pytest.fixture
def server(shared: Server) -> Iterator[Server]:
    """One service for all tests: a start costs more than they do. A test leaves nobody behind."""
    yield shared
    with shared.client() as client:
        while found := running(shared):
            for each in found:
                client.delete(f"/queries/{each['id']}")
        found = penalties(shared)
        for party in {each["party"] for each in (*found["waiting"], *found["alone"])}:
            client.delete(f"/penalties/{party}")


def test_the_statement_that_ends_the_process_is_named_and_its_author_waits(server: Server) -> None:
    eve, bob = User(server, "eve-1"), User(server, "bob-1")
    eve.begin(11)
    crash(server, signal.SIGSEGV)

    refused = eve.ask("SELECT 1")
    assert refused.status_code == 429
    told = refused.json()
    assert (told["code"], told["reason"]) == ("penalty_box", "process_death")
    assert 100 < int(refused.headers["retry-after"]) <= 500
    assert bob.ask("SELECT 42").json()["data"] == [[42]]

    lost = until(lambda: trail(server, "statement_lost", "eve-1"), "the trail does not name it")
    assert [(each["principal"], each["name"]) for each in lost] == [(eve.id, "eve-1")]
    assert lost[0]["query_hash"]
    assert "SIGSEGV" in lost[0]["reason"]
    boxed = trail(server, "penalty_boxed")[-2:]
    assert {each["party"] for each in boxed} == {eve.id}
    log = server.log_lines()
    named = [each for each in log if each["event"] == "statement_lost"]
    assert named[-1]["query_hash"] == lost[0]["query_hash"]
    assert "range" not in json.dumps(named)

    # What is public counts, and names nobody.
    with httpx2.Client(base_url=f"{server.url}") as anybody:
        health = anybody.get("/api/v1/duckdb/health").json()["components"]["penalties"]
        page = anybody.get("/metrics").text
    assert health["status"] == "healthy"
    assert health["reason"].startswith("1 principal")
    assert "eve" not in json.dumps(health)
    assert 'duckdb_penalty_waiting{what="principal"} 1.0' in page
    assert 'duckdb_statement_faults_total{kind="process_death"} 1.0' in page

    # The box outlives one more death, of which nobody is a suspect.
    crash(server, signal.SIGKILL)
    assert eve.ask("SELECT 1").status_code == 429

    listed = run_cli(server.directory, "penalties", "list", "--json", DUCKDB_PORT=server.port)
    assert listed.returncode == 0, listed.stderr
    assert {each["name"] for each in json.loads(listed.stdout)["waiting"]} == {"eve-1"}
    # By the name that the list shows; what was answered outlives the process.
    with server.client() as admin:
        assert admin.delete("/penalties/eve-1").status_code == 200
        os.kill(server.server_pid, signal.SIGKILL)
    released = trail(server, "penalty_released")
    assert [(each["party"], each["verdict"]) for each in released] == [(eve.id, "ok")]
    assert eve.ask("SELECT 1").json()["data"] == [[1]]


def test_a_victim_beside_two_crashers_is_never_boxed_and_they_are(server: Server) -> None:
    eve, mal, bob = User(server, "eve-2"), User(server, "mal-2"), User(server, "bob-2")
    bob.begin(1)
    eve.begin(2)
    crash(server, signal.SIGSEGV)
    assert penalties(server)["waiting"] == []
    assert {each["party"] for each in penalties(server)["alone"]} == {bob.id, eve.id, "*"}

    bob.begin(1)  # it has run alone before the next one is let in
    mal.begin(3)
    crash(server, signal.SIGSEGV)
    assert penalties(server)["waiting"] == []
    assert bob.ask("SELECT 1").status_code == 200

    for guilty, number in ((eve, 2), (mal, 3)):
        guilty.begin(number)
        crash(server, signal.SIGSEGV)
        assert guilty.ask("SELECT 1").status_code == 429
    assert bob.ask("SELECT 1").status_code == 200


def test_a_third_key_cannot_send_the_statement_that_ended_two_processes(server: Server) -> None:
    for name in ("eve-6", "mal-6"):
        guilty = User(server, name)
        guilty.begin(1)
        crash(server, signal.SIGSEGV)
        assert guilty.ask("SELECT 1").status_code == 429
    amy = User(server, "amy-6")
    refused = amy.ask(ENDLESS.format(99))
    assert (refused.status_code, refused.json()["code"]) == (429, "penalty_box")
    assert amy.ask("SELECT 1").json()["data"] == [[1]]
    for_all = [each for each in penalties(server)["waiting"] if each["party"] == "*"]
    assert [each["reason"] for each in for_all] == ["process_death"]
    with server.client() as admin:
        assert admin.delete("/penalties/*").status_code == 200
    amy.begin(99)


def test_of_a_key_that_serves_many_only_the_one_who_did_it_waits(server: Server) -> None:
    platform = User(server, "platform")
    other = User(server, "other")
    platform.begin(5, **{"X-Chronoduck-User": "eve"})
    crash(server, signal.SIGKILL)
    assert platform.ask("SELECT 1", **{"X-Chronoduck-User": "eve"}).status_code == 429
    assert platform.ask("SELECT 1", **{"X-Chronoduck-User": "bob"}).status_code == 200
    assert platform.ask("SELECT 1").status_code == 200
    # A key that nobody allowed to speak for others is boxed itself, whatever it says.
    other.begin(6, **{"X-Chronoduck-User": "somebody"})
    crash(server, signal.SIGKILL)
    assert other.ask("SELECT 1", **{"X-Chronoduck-User": "somebody-else"}).status_code == 429
    lost = trail(server, "statement_lost", "platform", "other")
    assert [each.get("sub_user") for each in lost] == ["eve", None]


def test_who_does_not_listen_waits_and_neighbours_are_answered(server: Server) -> None:
    eve, bob = User(server, "eve-5"), User(server, "bob-5")
    bob.begin(8)  # it is sent away with an answer, and is no suspect
    pid = server.server_pid
    with server.client() as client:
        answer = client.post(
            "/query", json={"query": DEAF, "timeout_seconds": 2}, headers=eve.headers
        )
    assert answer.json()["code"] == "statement_timeout"
    until(lambda: server.pid_of_owner not in (None, pid), "it is not replaced")
    refused = eve.ask("SELECT 1")
    assert refused.json()["reason"] == "forced_replacement"
    assert bob.ask("SELECT 1").status_code == 200
    assert {each["party"] for each in penalties(server)["waiting"]} == {eve.id}
    lost = trail(server, "statement_lost", "eve-5", "bob-5")
    assert [each["name"] for each in lost] == ["eve-5"]


def test_used_quotas_survive_the_process(server: Server) -> None:
    eve = User(server, "eve-4", limits={"engine_seconds_per_hour": 2, "requests_per_minute": 500})
    assert eve.ask("SELECT max(md5(range::VARCHAR)) FROM range(300000)").status_code == 200

    def used() -> dict[str, float]:
        with server.client() as client:
            found = client.get("/usage").json()
        usage = next(each["usage"] for each in found if each["id"] == eve.id)
        return {name: usage[name]["used"] for name in ("requests", "engine_seconds")}

    before = used()
    assert before["engine_seconds"] > 0
    saved = until(
        lambda: eve.id in (server.directory / "test.db.usage.json").read_text(), "not saved"
    )
    assert saved
    time.sleep(1.2)  # as much as may be forgotten
    crash(server, signal.SIGKILL)
    assert eve.ask("SELECT 1").status_code == 200
    after = used()
    assert after["engine_seconds"] >= before["engine_seconds"]
    assert after["requests"] > before["requests"]


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_who_comes_while_nobody_serves_is_told_so_and_is_served_soon(
    tmp_path: Path, scheme: str
) -> None:
    settings: dict[str, Any] = {}
    verify: Any = True
    if scheme == "https":
        made = Certificate.make(tmp_path)
        settings = {"DUCKDB_TLS_CERT_FILE": made.certificate, "DUCKDB_TLS_KEY_FILE": made.key}
        verify = ssl.create_default_context(cafile=str(made.certificate))
        verify.check_hostname = False
    with Server(tmp_path, **settings) as server:
        # Without a standby the gap is long enough for a client of this machine to be in it.
        headers = {"Authorization": f"Bearer {server.token}"}
        os.kill(server.server_pid, signal.SIGKILL)
        answers: list[httpx2.Response] = []
        while not answers or answers[-1].status_code != 200:
            assert server.process.poll() is None
            try:
                answers.append(
                    httpx2.post(
                        f"{server.url}/api/v1/duckdb/query",
                        json={"query": "SELECT 42"},
                        headers=headers,
                        verify=verify,
                        timeout=PATIENCE_SECONDS,
                    )
                )
            except httpx2.TransportError:
                continue
            time.sleep(0.05)
        told = [each for each in answers if each.status_code == 503]
        assert told, "nobody answered while the server was away"
        assert {each.json()["code"] for each in told} == {"engine_restarted"}
        assert {each.headers["retry-after"] for each in told} == {"1"}
        assert answers[-1].json()["data"] == [[42]]
