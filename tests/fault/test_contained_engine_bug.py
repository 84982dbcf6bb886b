"""A WAL that the installed DuckDB cannot replay, by a bug of its own: the service does not lose by it.

The bugs are reports of docs/engine-bugs.md. A release that mends them makes ``is_refused`` fail: then
take another report of that page.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import duckdb
import httpx2
import pytest

from tests.server import Server, run_cli

pytestmark = pytest.mark.slow
BASE = "CREATE TABLE t (id INTEGER, made TIMESTAMP DEFAULT now(), s STRUCT(a INTEGER, b VARCHAR))"
ALTER = "ALTER TABLE t DROP COLUMN s.a"
_SLOW = """
SELECT count(*) FROM ledger
RIGHT JOIN (FROM range(100000000) a, range(100000000) b) q ON true WHERE hash(q) % 3 = 7
"""


def is_refused(directory: Path) -> bool:
    """Whether DuckDB alone cannot open what the statements leave."""
    path = directory / "alone.db"
    script = (
        "import duckdb, os, sys; c = duckdb.connect(sys.argv[1], config={'wal_autocheckpoint': '1TB'}); "
        "[c.execute(text) for text in sys.argv[2:]]; os._exit(0)"
    )
    command = [sys.executable, "-c", script, str(path), BASE, "CHECKPOINT", ALTER]
    subprocess.run(command, check=True, timeout=60)
    try:
        duckdb.connect(str(path), read_only=True).close()
    except duckdb.Error:
        return True
    return False


@pytest.mark.parametrize(("has_reader", "shadow"), [(True, "true"), (False, "false")])
def test_what_was_acknowledged_is_there_after_a_kill(
    tmp_path: Path, has_reader: bool, shadow: str
) -> None:
    assert is_refused(tmp_path)
    server = Server(
        tmp_path / "service", DUCKDB_SHADOW_ENABLED=shadow, DUCKDB_REPLICA_URL=tmp_path / "replica"
    )
    with server, server.client() as client:
        server.query(BASE)
        server.query("CREATE TABLE ledger (i INTEGER)")
        reader = threading.Thread(target=_read, args=(server,), daemon=True)
        if has_reader:
            reader.start()
            time.sleep(1.0)
        altered = client.post("/query", json={"query": ALTER, "timeout_seconds": 60})
        acknowledged = []
        for number in range(30):
            answer = client.post("/query", json={"query": f"INSERT INTO ledger VALUES ({number})"})
            if answer.status_code == 200:
                acknowledged.append(number)
        if client.get("/replication").json()["shadow"]["acknowledging"]["unproven"]:
            # Neither a proof nor a checkpoint was possible: the risk that the documentation states.
            assert (shadow, has_reader) == ("false", True)
            return
        assert altered.status_code == 200 or altered.json()["code"] == "write_outcome_unknown"
        assert acknowledged
        if has_reader and shadow == "true":
            _until_checkpointed(client)
        server.kill()
        server.start()
        assert [row[0] for row in server.query("SELECT i FROM ledger ORDER BY i")] == acknowledged
        columns = server.query("SELECT count(*) FROM duckdb_columns() WHERE table_name = 't'")
        assert columns == [[3]]
        assert run_cli(tmp_path / "service", "verify").returncode == 0


def _read(server: Server) -> None:
    with server.client() as client:
        try:
            client.post("/query", json={"query": _SLOW, "timeout_seconds": 100})
        except httpx2.HTTPError:
            return  # the server was killed


def _until_checkpointed(client: httpx2.Client) -> None:
    """Wait until the service has taken the WAL into the file, which ends the slow reader."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        found = client.get("/health").json()["components"]["shadow"]
        if found["status"] == "healthy" and "Proven" in found["reason"]:
            return
        time.sleep(0.2)
    raise AssertionError(found)
