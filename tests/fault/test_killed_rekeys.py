"""kill -9 while captures are rekeyed, and written to: none is lost, doubled or left behind.

``CHRONODUCK_REKEY_KILLS`` sets how many kills (3), ``CHRONODUCK_REKEY_ROWS`` how many captures there are.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx2
import orjson
import pytest

from tests.patience import PATIENCE_SECONDS
from tests.server import Server, environment, run_cli

pytestmark = pytest.mark.slow
KILLS = int(os.environ.get("CHRONODUCK_REKEY_KILLS", "3"))
ROWS = int(os.environ.get("CHRONODUCK_REKEY_ROWS", "4000"))
SEED = int(os.environ.get("CHRONODUCK_REKEY_SEED", "20261130"))
GAP = 200_000
"""Rows that were deleted among the others: the table is rekeyed in several transactions."""

# Capture number i is of second i: so it is known whatever its key, digest or row is.
_WHEN = "TIMESTAMP '2020-01-01' + to_seconds(i)"
_URL = (
    "CASE i % 2 WHEN 0 THEN 'http://www.e' || i || '.org/dir/' "
    "ELSE 'http://www2.e' || i || '.org/?b&a' END"
)
_OLD_KEY = "CASE i % 2 WHEN 0 THEN 'org,e' || i || ')/dir/' ELSE 'org,e' || i || ',www2)/?b&a' END"
_KEY = "CASE i % 2 WHEN 0 THEN 'org,e' || i || ')/dir' ELSE 'org,e' || i || ')/?a&b' END"
_DOMAIN = "CASE i % 2 WHEN 0 THEN 'e' ELSE 'www2.e' END || i || '.org'"
_COLUMNS = 'url, urlkey, domain, tld, captured_at, digest, status_code, "my note"'


def _rows(where: str, key: str, digest: str, note: str = "NULL") -> str:
    return (
        f"INSERT INTO pages_analytics ({_COLUMNS}) SELECT {_URL}, {key}, 'e' || i || '.org', 'org', "
        f"{_WHEN}, {digest}, 200, {note} FROM range({ROWS}) t(i) WHERE {where}"
    )


OLD_TABLE = [
    'ALTER TABLE pages_analytics ADD COLUMN "my note" VARCHAR',
    _rows("i % 4 < 2", _OLD_KEY, "'sha1:D' || i", "CASE WHEN i % 5 = 0 THEN 'note ' || i END"),
    f"INSERT INTO pages_analytics (url) SELECT 'gap' FROM range({GAP})",
    _rows("i % 4 >= 2", _OLD_KEY, "'sha1:D' || i"),
    # The same captures as an index had them, and a few that the operator noted something else of.
    _rows("i % 3 = 0 AND i % 7 <> 0", _OLD_KEY, "'D' || i"),
    _rows("i % 35 = 0 AND i % 4 < 2", _OLD_KEY, "'D' || i", "'other ' || i"),
    "DELETE FROM pages_analytics WHERE url = 'gap'",
]
KEPT_TWICE = f"SELECT count(*) FROM range({ROWS}) t(i) WHERE i % 35 = 0 AND i % 4 < 2"


class Traffic:
    """Loads captures, old and new, and writes notes, each again until it is acknowledged; and reads."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.new: list[int] = []
        self.noted: list[int] = []
        self.reads = 0
        self.failures: list[str] = []
        self._is_over = threading.Event()
        works = (self._load, self._note, self._read)
        self._threads = [threading.Thread(target=self._repeat, args=(each,)) for each in works]

    def __enter__(self) -> Traffic:
        for each in self._threads:
            each.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for each in self._threads:
            each.join()

    def _repeat(self, work: Any) -> None:
        number = 0
        try:
            with self.server.client() as client:
                while not self._is_over.is_set():
                    work(client, number)
                    number += 1
                    time.sleep(0.05)
        except Exception as error:  # what ends a thread ends the test
            self.failures.append(repr(error))
            raise

    def _send(self, client: httpx2.Client, path: str, **body: Any) -> Any:
        end = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < end:
            with suppress(httpx2.TransportError):
                answer = client.post(path, **body)
                if answer.status_code == 200:
                    last = orjson.loads(answer.text.splitlines()[-1])
                    if last.get("event") != "error":
                        return last
                elif answer.status_code not in (409, 500, 503):
                    raise AssertionError(answer.text)
            time.sleep(0.1)
        raise AssertionError(f"{path} is never acknowledged")

    def _load(self, client: httpx2.Client, number: int) -> None:
        """Load a new capture, and one that is there, perhaps under its old key."""
        new, old = ROWS + number, random.Random(number).randrange(ROWS)
        lines = "".join(
            orjson.dumps(
                {
                    "url": f"http://www.e{i}.org/dir/"
                    if i % 2 == 0
                    else f"http://www2.e{i}.org/?b&a",
                    "timestamp": time.strftime("%Y%m%d%H%M%S", time.gmtime(1577836800 + i)),
                    "digest": f"D{i}",
                    "status": "200",
                }
            ).decode()
            + "\n"
            for i in (new, old)
        )
        self._send(client, "/tables/pages_analytics/rows?format=cdxj", content=lines.encode())
        self.new.append(new)

    def _note(self, client: httpx2.Client, number: int) -> None:
        """Write into the operator's own column."""
        i = (7 * number + 1) % ROWS
        if i % 5 == 0:
            return
        when = _WHEN.replace("(i)", f"({i})")
        sql = f"UPDATE pages_analytics SET \"my note\" = 'later {i}' WHERE captured_at = {when}"
        self._send(client, "/query", json={"query": sql})
        self.noted.append(i)

    def _read(self, client: httpx2.Client, number: int) -> None:
        acknowledged = ROWS + len(self.new)
        found = self._send(
            client,
            "/query",
            json={"query": "SELECT count(DISTINCT captured_at) FROM pages_analytics"},
        )["data"][0][0]
        assert found >= acknowledged, f"{found} of {acknowledged} captures are seen"
        self.reads += 1


def _start_rekey(server: Server) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "chronoduck", "captures", "rekey", "--json"],
        env=environment(server.directory, **server._settings),
        cwd=server.directory,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def _wait_for_job(server: Server) -> None:
    """Wait until a job rekeys, or has done so."""
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end:
        with suppress(httpx2.TransportError), server.client() as client:
            jobs = client.get("/jobs").json()
            if any(each["kind"] == "rekey" for each in jobs):
                return
        time.sleep(0.02)
    raise AssertionError("no job rekeys")


def _restart(server: Server) -> None:
    """End everything at once and start it; the process that a supervisor starts meanwhile ends, too."""
    server.kill()
    end = time.monotonic() + PATIENCE_SECONDS
    while server.pid_of_owner is not None:
        assert time.monotonic() < end, "the process that owns the database does not end"
        time.sleep(0.02)
    server.start()


def test_kills_lose_and_double_no_capture(tmp_path: Path) -> None:
    moments = random.Random(SEED)
    with Server(tmp_path) as server:
        with server.client() as client:
            line = b'{"url":"http://x.org/","timestamp":"2019","digest":"D"}\n'
            assert (
                client.post("/tables/pages_analytics/rows?format=cdxj", content=line).status_code
                == 200
            )
        for sql in ["DELETE FROM pages_analytics", *OLD_TABLE]:
            server.query(sql)
        with Traffic(server) as traffic:
            for number in range(KILLS):
                with _start_rekey(server) as command:
                    try:
                        _wait_for_job(server)
                        time.sleep(moments.uniform(0.0, 1.0) if number else 0.0)
                        if number % 3 == 0:
                            server.kill_server()
                        elif number % 3 == 1:
                            _restart(server)
                    finally:  # else the job goes on without the command, beside the next one
                        command.kill()
                assert server.becomes_ready()
            during = run_cli(tmp_path, "captures", "rekey", "--json", **server._settings)
            assert during.returncode == 0, during.stderr
        assert traffic.failures == []
        after = [_rekeyed(server) for _ in range(2)]
        _check(server, traffic, after[-1])
        assert "Traceback" not in server.log_text()
        with server.client() as client:
            jobs = [each["state"] for each in client.get("/jobs").json() if each["kind"] == "rekey"]
    print(
        f"{KILLS} kills, {len(traffic.new)} new captures, {len(traffic.noted)} notes, "
        f"{traffic.reads} reads, jobs {Counter(jobs)}, then {after}"
    )


def _rekeyed(server: Server) -> dict[str, int]:
    done = run_cli(server.directory, "captures", "rekey", "--json", **server._settings)
    assert done.returncode == 0, done.stderr
    result: dict[str, int] = orjson.loads(done.stdout)
    return result


def _check(server: Server, traffic: Traffic, last: dict[str, int]) -> None:
    number = "epoch(captured_at - TIMESTAMP '2020-01-01')::BIGINT"
    numbered = f"(SELECT *, {number} AS i FROM pages_analytics)"
    twice = server.query(KEPT_TWICE)[0][0]
    whole = ROWS + len(traffic.new)
    assert traffic.new == list(range(ROWS, whole))
    assert traffic.noted
    assert traffic.reads
    found = server.query(f"SELECT count(DISTINCT i), min(i), max(i) FROM {numbered}")[0]
    assert found == [whole, 0, whole - 1]
    right = f"({_KEY}, {_DOMAIN}, 'D' || i)"
    wrong = f"(urlkey, domain, digest) IS DISTINCT FROM {right}"
    shown = f"SELECT i, urlkey, domain, digest FROM {numbered} WHERE {wrong} LIMIT 5"
    assert server.query(shown) == []
    # The operator's own column: what was in it, and what was written into it meanwhile.
    listed = 'SELECT i, list(DISTINCT "my note" ORDER BY "my note")'
    notes = dict(
        server.query(
            f'{listed} FROM {numbered} WHERE "my note" IS NOT NULL GROUP BY i LIMIT 100000'
        )
    )
    expected = {i: [f"note {i}"] for i in range(0, ROWS, 5) if i % 4 < 2}
    expected |= {i: [*expected[i], f"other {i}"] for i in expected if i % 35 == 0}
    expected |= {i: [f"later {i}"] for i in traffic.noted}
    assert notes == expected
    extra = server.query(f"SELECT i, count(*) FROM {numbered} GROUP BY i HAVING count(*) > 1")
    assert [each for each in extra if each[0] % 35 or each[0] % 4 >= 2 or each[1] != 2] == []
    assert len(extra) == twice
    assert last == {"rows": whole + twice, "changed": 0, "merged": 0, "doubles_left": twice}
