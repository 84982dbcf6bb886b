"""The commands around a replica, against a service that runs and files that nobody serves."""

from __future__ import annotations

import fcntl
import json
import re
import shutil
from pathlib import Path

import pytest

from tests.damaged_wal import count_rows
from tests.server import Server, run_cli

pytestmark = pytest.mark.slow


def settings(directory: Path) -> dict[str, str]:
    return {
        "DUCKDB_REPLICA_URL": str(directory / "replica"),
        "DUCKDB_REPLICA_INTERVAL": "50ms",
    }


@pytest.fixture
def served(tmp_path: Path) -> Path:
    """A directory with a database and its replica; the service has stopped."""
    with Server(tmp_path, **settings(tmp_path)) as server:
        server.query("CREATE TABLE t AS SELECT range AS a, 'x' || range AS b FROM range(200000)")
        server.query("INSERT INTO t VALUES (-1, 'last')")
        assert server.stop() == 0
    return tmp_path


def test_a_drill_restores_everything_and_is_remembered(tmp_path: Path) -> None:
    given = settings(tmp_path)
    with Server(tmp_path, **given) as server:
        server.query("CREATE TABLE t AS SELECT range AS a FROM range(200000)")
        drill = run_cli(tmp_path, "drill", "--json", **given)
        assert drill.returncode == 0, drill.stderr
        assert json.loads(drill.stdout)["tables"] in (0, 1)  # the table may be on its way yet
        whole = run_cli(tmp_path, "verify", "--json", **given)
        assert json.loads(whole.stdout)["rows"] == 200000, whole.stderr
        with server.client() as client:
            report = client.get("/replication").json()
            assert report["drill"]["last"]["succeeded"]
            assert "the last restore drill took" in report["sentence"]
            assert client.get("/health").json()["components"]["drill"]["status"] == "healthy"
            server.query("DELETE FROM t")
        assert server.stop() == 0
    drill = run_cli(tmp_path, "drill", "--json", **given)
    facts = json.loads(drill.stdout)
    assert (facts["tables"], facts["rows"], facts["succeeded"]) == (1, 0, True)
    assert not list((tmp_path / "temp").glob("drill-*"))


def test_a_drill_that_fails_makes_health_unhealthy(served: Path) -> None:
    # With the scrub of the store the service ships the pack again before the drill.
    given = {**settings(served), "DUCKDB_REPLICA_STORE_SCRUB_RATE": "0"}
    packs = list((served / "replica" / "packs").iterdir())
    for pack in packs:  # the newest generation may need any of them
        data = bytearray(pack.read_bytes())
        data[len(data) // 2] ^= 1
        pack.write_bytes(data)
    with Server(served, **given) as server:
        drill = run_cli(served, "drill", **given)
        assert drill.returncode == 74
        assert any(pack.name in drill.stderr for pack in packs)
        with server.client() as client:
            health = client.get("/health").json()
            assert health["components"]["drill"]["status"] == "unhealthy"
            assert not any(pack.name in json.dumps(health) for pack in packs)
            assert "failed (replica_damaged)" in client.get("/replication").json()["sentence"]
    verified = run_cli(served, "verify", given["DUCKDB_REPLICA_URL"], **given)
    assert verified.returncode == 74
    assert any(pack.name in verified.stderr for pack in packs)
    assert "chronoduck restore --list" in verified.stderr


def test_verify_reads_databases_replicas_and_backups(served: Path) -> None:
    given = {**settings(served), "DUCKDB_BACKUP_DIR": str(served / "backups")}
    assert run_cli(served, "backup", "create", **given).returncode == 0
    backup = next((served / "backups").glob("2*/*.zst"))
    for subject in ([], [str(served / "replica")], [str(backup)]):
        verified = run_cli(served, "verify", *subject, **given)
        assert verified.returncode == 0, verified.stderr
        assert "is whole" in verified.stdout
    database = served / "test.db"
    with database.open("r+b") as file:
        file.seek(12288 + 262144 + 1000)
        old = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([old[0] ^ 1]))
    verified = run_cli(served, "verify", **given)
    assert verified.returncode != 0
    assert "chronoduck recover" in verified.stderr


def test_a_missing_generation_segment_or_pack_is_told(served: Path) -> None:
    given = settings(served)
    replica = served / "replica"
    for blob in (
        next(replica.glob("packs/*")),
        next(path for path in sorted(replica.glob("generations/*/wal/*"))),
    ):
        kept = served / "kept"
        shutil.copytree(replica, kept)
        blob.unlink()
        verified = run_cli(served, "verify", str(replica), **given)
        listed = run_cli(served, "restore", "--list", "--json", **given)
        if "packs" in str(blob):
            assert verified.returncode == 74, verified.stdout
        else:  # what follows a lost segment is out of reach: the points end before it
            assert len(json.loads(listed.stdout)) >= 1
        shutil.rmtree(replica)
        kept.rename(replica)


def test_adopt_goes_on_with_files_that_the_replica_does_not_know(served: Path) -> None:
    given = settings(served)
    before = json.loads(run_cli(served, "restore", "--list", "--json", **given).stdout)[-1]
    for path in served.glob("test.db*"):
        path.unlink()
    created = run_cli(served, "query", "CREATE TABLE other AS SELECT 7 AS a", "--json")
    assert created.returncode == 0, created.stderr
    refused = run_cli(served, "serve", **given, DUCKDB_PORT="1")
    assert "chronoduck replication adopt" in refused.stderr
    adopted = run_cli(served, "replication", "adopt", **given)
    assert adopted.returncode == 0, adopted.stderr
    assert "are not the same database" in " ".join(adopted.stderr.split())
    assert f"chronoduck restore --to {before['point']} --output OTHER.db" in adopted.stdout
    with Server(served, **given) as server:
        assert server.query("SELECT a FROM other") == [[7]]
        server.query("INSERT INTO other VALUES (8)")
        assert server.stop() == 0
    points = json.loads(run_cli(served, "restore", "--list", "--json", **given).stdout)
    assert before["point"] in [point["point"] for point in points]
    for point, table in ((before, "t"), (points[-1], "other")):
        output = str(served / f"{table}.db")
        restored = run_cli(
            served, "restore", "--to", point["time"], "--output", output, "--json", **given
        )
        assert restored.returncode == 0, restored.stderr
        rows = run_cli(served, "query", "-d", output, f"SELECT count(*) FROM {table}", "--json")
        assert rows.returncode == 0, rows.stderr


def test_adopt_says_what_the_file_lacks_and_how_it_comes_back(tmp_path: Path) -> None:
    given = settings(tmp_path)
    with Server(tmp_path, **given) as server:
        server.query("CREATE TABLE t (a BIGINT)")
        server.query("CHECKPOINT")
        for number in range(3):
            server.query(f"INSERT INTO t VALUES ({number})")
        server.kill()
    with (tmp_path / "test.db.replicator.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # its replicator ships the rest before it ends
    (tmp_path / "test.db.wal").unlink()
    refused = run_cli(tmp_path, "serve", **given, DUCKDB_PORT="1")
    assert refused.returncode == 65
    assert "test.db.wal is missing" in " ".join(refused.stderr.split())
    adopted = run_cli(tmp_path, "replication", "adopt", **given)
    assert adopted.returncode == 0, adopted.stderr
    said = " ".join(adopted.stderr.split())
    assert "The replica is newer: it holds 3 transactions that the file lacks" in said
    assert "holds" not in adopted.stdout
    [point] = re.findall(r"restore --to (\S+) --output", adopted.stdout)
    output = tmp_path / "other.db"
    restored = run_cli(tmp_path, "restore", "--to", point, "--output", str(output), **given)
    assert restored.returncode == 0, restored.stderr
    assert count_rows(output) == [0, 1, 2]
    assert count_rows(tmp_path / "test.db") == []


def test_a_key_made_here_encrypts_and_another_does_not_open(tmp_path: Path) -> None:
    key, other = (run_cli(tmp_path, "replication", "key").stdout.strip() for _ in range(2))
    given = {**settings(tmp_path), "DUCKDB_REPLICA_ENCRYPTION_KEY": key}
    with Server(tmp_path, **given) as server:
        server.query("CREATE TABLE t AS SELECT 'very secret' AS a")
        assert server.stop() == 0
    assert not any(
        b"very secret" in path.read_bytes()
        for path in (tmp_path / "replica").rglob("*")
        if path.is_file()
    )
    assert run_cli(tmp_path, "drill", **given).returncode == 0
    wrong = run_cli(tmp_path, "drill", **{**given, "DUCKDB_REPLICA_ENCRYPTION_KEY": other})
    assert wrong.returncode == 78
    assert "DUCKDB_REPLICA_ENCRYPTION_KEY does not open" in wrong.stderr
    assert key not in wrong.stderr + wrong.stdout


def test_the_doctor_looks_at_replica_and_backups(served: Path) -> None:
    given = {**settings(served), "DUCKDB_BACKUP_DIR": str(served / "backups")}
    found = {
        check["id"]: check
        for check in json.loads(run_cli(served, "doctor", "--json", **given).stdout)
    }
    assert found["replica"]["severity"] == "ok"
    assert "generations" in found["replica"]["finding"]
    assert found["replica-disk"]["severity"] == "warning"
    assert found["backups"]["finding"].startswith("0 in ")
    without = json.loads(run_cli(served, "doctor", "--json").stdout)
    assert any(
        check["id"] == "replica" and "DUCKDB_REPLICA_URL" in check["fix"] for check in without
    )
