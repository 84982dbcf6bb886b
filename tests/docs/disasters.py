"""What each runbook is for, done to a machine that runs the service."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Protocol

import httpx2
import psutil

from chronoduck.replication.lease import Lease
from chronoduck.replication.opening import open_archive
from chronoduck.settings import ReplicaSettings, load_settings
from tests.damaged_wal import rename_in_wal
from tests.docs.machine import Machine, until
from tests.fault.volumes import fill
from tests.postgres import postgres_or_skip
from tests.shadow.live import append_rejected_entry

__all__ = ["DISASTERS", "ROWS", "Disaster"]

ROWS = 500
"""Of the table, when nothing is lost."""
LONG = "SELECT count(*) FROM range(100000000) a, range(1000000) b"
_SPARE = "INSERT INTO pages_analytics VALUES (-1, 'com')"


class Break(Protocol):
    """Breaks a machine; what it returns is left when the runbook was followed."""

    def __call__(self, machine: Machine) -> AbstractContextManager[object] | None: ...


def _nothing(machine: Machine) -> None:
    pass


@dataclass(frozen=True)
class Disaster:
    """How a machine is broken, and what its operator then sees."""

    happen: Break = _nothing
    seen: str = ""
    """A pattern in what the commands under See print."""
    settings: dict[str, str] = field(default_factory=dict)
    is_broken: bool = True
    """Whether the check under "Did it work?" must fail before the fix."""
    rows: tuple[int, int] = (ROWS, ROWS)
    """The least and the most of the table's rows afterwards."""
    small_disk: bool = False
    mounted_replica: bool = False
    ends_before_fix: bool = False
    """What is broken is left when somebody mends it: the cause is gone, the harm is there."""
    uses_otherwise: bool = False
    """Whether the commands under "If not" are the ones that mend it."""


@contextmanager
def _no_space_in_the_log(machine: Machine) -> Iterator[None]:
    """Let no file of the service grow beyond its log, as a full disk does."""
    machine.query("CREATE TABLE IF NOT EXISTS other (a BIGINT)")
    process = psutil.Process(machine.server_pid)
    before = process.rlimit(psutil.RLIMIT_FSIZE)
    while not _limit_files_to_the_wal(machine, process):
        process.rlimit(psutil.RLIMIT_FSIZE, before)
    yield
    process.rlimit(psutil.RLIMIT_FSIZE, before)


def _limit_files_to_the_wal(machine: Machine, process: psutil.Process) -> bool:
    """Fill the WAL and set the limit; return whether no checkpoint of the service came between."""
    wal = machine.database.with_name(machine.database.name + ".wal")
    machine.query("INSERT INTO other FROM range(100000)")  # the service's own log must still fit
    with suppress(FileNotFoundError):
        size = wal.stat().st_size
        process.rlimit(psutil.RLIMIT_FSIZE, (size, process.rlimit(psutil.RLIMIT_FSIZE)[1]))
        return size > 500_000 and wal.stat().st_size == size
    return False


def _make_the_engine_fail(machine: Machine) -> None:
    for _ in range(3):
        with _no_space_in_the_log(machine):
            assert machine.attempt("chronoduck query CHECKPOINT").returncode != 0


def _open_the_breaker(machine: Machine) -> None:
    with _no_space_in_the_log(machine):
        for _ in range(2):
            machine.attempt("chronoduck query CHECKPOINT")
    assert machine.health()["circuit_breaker"]["state"] == "open"


@contextmanager
def _fail_checkpoints(machine: Machine) -> Iterator[None]:
    with _no_space_in_the_log(machine):
        until(lambda: machine.health()["components"]["checkpoint"]["status"] == "degraded")
        yield  # with space the next one would succeed by itself


def _refute_the_wal(machine: Machine) -> None:
    """Have an entry in the WAL that no replay accepts; the service's own checkpoint ends that."""
    wal = machine.database.with_name(machine.database.name + ".wal")
    until(lambda: machine.health()["components"]["shadow"]["status"] == "healthy")
    append_rejected_entry(wal, machine.root)
    until(lambda: "refuted" in machine.log.read_text())


def _fail_a_backup(machine: Machine) -> None:
    """Another file is where the directory should be: as on a volume that is not mounted."""
    shutil.rmtree(machine.backups)
    machine.backups.touch()
    assert machine.attempt("chronoduck backup create").returncode != 0
    machine.backups.unlink()


def _lose_backups(machine: Machine) -> None:
    shutil.rmtree(machine.backups)
    machine.backups.mkdir()


@contextmanager
def _long_statements(machine: Machine, count: int) -> Iterator[None]:
    with machine.statements(LONG, count) as statuses:
        until(lambda: machine.health()["queue"]["running"] + _waiting(machine) == count)
        until(lambda: _oldest(machine) > 10.5)
        yield
    assert 409 in statuses, statuses  # some caller was told that its statement was ended


def _waiting(machine: Machine) -> int:
    return int(machine.health()["queue"]["waiting"])


def _oldest(machine: Machine) -> float:
    with machine.client() as client:
        return float(min(each["elapsed_seconds"] for each in client.get("/queries").json()))


def _time_out(machine: Machine) -> AbstractContextManager[object]:
    for _ in range(3):
        machine.attempt(f'chronoduck query --timeout 0.2 "{LONG}"')
    return _long_statements(machine, 2)


def _one_long(machine: Machine) -> AbstractContextManager[object]:
    return _long_statements(machine, 1)


def _fill_the_queue(machine: Machine) -> AbstractContextManager[object]:
    return _long_statements(machine, 4)


@contextmanager
def _slow_readers(machine: Machine) -> Iterator[None]:
    body = {"query": "SELECT range, repeat('x', 100) FROM range(50000000)", "timeout_seconds": 200}
    accept = {"Accept": "application/x-ndjson"}
    results = []  # a result that nobody holds is closed
    with ExitStack() as stack:
        for _ in range(4):
            client = stack.enter_context(machine.client())
            answer = stack.enter_context(client.stream("POST", "/query", json=body, headers=accept))
            results.append(answer.iter_raw(1000))
            next(results[-1])
        until(lambda: machine.health()["connection_pool"]["available_connections"] == 0)
        yield


def _fill_the_disk(machine: Machine) -> None:
    stuffing = fill(machine.data, leave=20_000_000)
    stuffing.rename(machine.data / "chrono_analytics.db.corrupt-20260101T000000Z")
    until(lambda: machine.health()["components"]["disk"]["status"] == "unhealthy")


def _let_a_user_fill_the_disk(machine: Machine) -> None:
    machine.query("CREATE TABLE table_to_drop (a UBIGINT)")
    fill_it = "INSERT INTO table_to_drop SELECT hash(range + random()) FROM range(1000000)"
    while machine.health()["components"]["disk"]["status"] != "unhealthy":
        machine.attempt(f'chronoduck query "{fill_it}"')


def _unmount_the_replica(machine: Machine) -> None:
    subprocess.run(["umount", "-l", machine.replica], check=True)
    until(lambda: machine.health()["components"]["replica"]["status"] == "degraded")


@contextmanager
def _another_writer(machine: Machine) -> Iterator[None]:
    replica = ReplicaSettings(url=str(machine.replica))
    settings = load_settings(
        database_path=machine.database, temp_directory=machine.root / "temp", replica=replica
    )
    other = Lease(open_archive(settings).store, machine.root / "other.db")
    (machine.replica / "lease").unlink()
    other.acquire()
    for child in psutil.Process(machine.server_pid).children(recursive=True):
        if "chronoduck.replication" in child.cmdline():
            child.kill()
    until(lambda: machine.health()["components"]["replica"]["status"] == "unhealthy")
    yield
    other.release()


def _damage_a_block(machine: Machine) -> None:
    """A block of the table's column in the file, found by the background check of the next start."""
    machine.run("systemctl stop chronoduck")
    machine.flip(machine.database, 0.6)
    machine.run("systemctl start chronoduck")
    until(lambda: machine.health()["components"]["file"]["status"] == "unhealthy")


def _damage_the_header(machine: Machine) -> None:
    machine.run("systemctl stop chronoduck")
    machine.flip(machine.database, 0.001)
    assert machine.attempt("systemctl start chronoduck").returncode != 0


def _damage_the_replica(machine: Machine) -> None:
    until(lambda: machine.health()["components"]["replica"]["status"] == "healthy")
    for pack in (machine.replica / "packs").iterdir():
        machine.flip(pack, 0.5)


def _open_the_token(machine: Machine) -> None:
    machine.run("systemctl stop chronoduck")
    machine.database.chmod(0o644)
    (machine.data / "admin.token").chmod(0o644)
    assert machine.attempt("systemctl start chronoduck").returncode != 0


def _kill_the_server(machine: Machine) -> None:
    pid = machine.server_pid
    os.kill(pid, signal.SIGKILL)
    until(lambda: machine.pid_of_owner not in (None, pid))
    until(lambda: _count_of_restarts(machine) == 1)


def _kill_the_server_under_a_user(machine: Machine) -> None:
    with machine.client() as client:
        key = client.post("/keys", json={"name": "eve", "role": "analyst"}).json()["key"]
    with ExitStack() as stack:
        # Its connection is cut; nobody looks at the answer.
        user = stack.enter_context(machine.client())
        user.headers["Authorization"] = f"Bearer {key}"
        sending = threading.Thread(target=_send, args=(user, LONG), daemon=True)
        sending.start()
        until(lambda: machine.health()["queue"]["running"] == 1)
        _kill_the_server(machine)
        sending.join()


def _send(client: httpx2.Client, sql: str) -> None:
    with suppress(httpx2.TransportError):
        client.post("/query", json={"query": sql, "timeout_seconds": 300})


def _count_of_restarts(machine: Machine) -> int:
    try:
        return int(machine.health()["restarts"]["count"])
    except (httpx2.TransportError, ValueError, KeyError):  # it is being replaced
        return 0


def _damage_the_log(machine: Machine) -> None:
    for _ in range(20):
        machine.query(_SPARE)
    machine.kill()
    machine.flip(machine.database.with_name(machine.database.name + ".wal"), 0.5)
    assert machine.attempt("systemctl start chronoduck").returncode != 0


def _damage_the_log_without_a_replica(machine: Machine) -> None:
    _damage_the_log(machine)
    settings = machine.root / "etc" / "duckdb.env"
    settings.write_text(settings.read_text() + "DUCKDB_REPLICA_URL=\n")


def _make_the_log_unreplayable(machine: Machine) -> None:
    """Ten rows, a transaction that DuckDB refuses to replay, ten more rows; and no replica."""
    machine.query("CREATE TABLE evil (a BIGINT)")
    machine.query("CHECKPOINT")
    for number in range(21):
        machine.query("INSERT INTO evil VALUES (1)" if number == 10 else _SPARE)
    machine.kill()
    rename_in_wal(machine.database, b"evil", b"evix")
    settings = machine.root / "etc" / "duckdb.env"
    settings.write_text(settings.read_text() + "DUCKDB_REPLICA_URL=\n")
    assert machine.attempt("systemctl start chronoduck").returncode != 0


def _lose_the_disk(machine: Machine) -> None:
    machine.run("systemctl stop chronoduck")
    shutil.rmtree(machine.data)
    machine.data.mkdir(mode=0o750)


def _lose_the_replica(machine: Machine) -> None:
    machine.run("systemctl stop chronoduck")
    shutil.rmtree(machine.replica)
    machine.flip(machine.database, 0.001)


def _lose_the_wal(machine: Machine) -> None:
    """The WAL's transactions are in the replica, and nowhere else."""
    for _ in range(20):
        machine.query(_SPARE)
    machine.kill()
    until(lambda: not _has_replicator(machine))
    machine.database.with_name(machine.database.name + ".wal").unlink()
    assert machine.attempt("systemctl start chronoduck").returncode != 0


def _has_replicator(machine: Machine) -> bool:
    lock = machine.database.with_name(machine.database.name + ".replicator.lock")
    with lock.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


def _put_another_file(machine: Machine) -> None:
    machine.run("systemctl stop chronoduck")
    for path in machine.data.glob("chrono_analytics.db*"):
        path.unlink()
    sql = "CREATE TABLE pages_analytics AS SELECT 1 AS a, 'x' AS tld FROM range(7)"
    machine.cli("query", sql, DUCKDB_REPLICA_URL="")
    assert machine.attempt("systemctl start chronoduck").returncode != 0


def _delete_everything(machine: Machine) -> None:
    def transactions() -> int:
        with machine.client() as client:
            report = client.get("/replication").json()
        return int(report["transactions"]) if report["state"] == "following" else 0

    shipped = until(transactions)
    machine.query("DELETE FROM pages_analytics")
    until(lambda: transactions() > shipped)
    machine.query("CHECKPOINT")  # as the service does by itself: the newest point is after it


BREAKER = {"DUCKDB_BREAKER_FAILURE_THRESHOLD": "2"}
SMALL = {"DUCKDB_WORKER_THREADS": "2", "DUCKDB_QUEUE_SIZE": "2", "DUCKDB_MAX_CONNECTIONS": "4"}


@contextmanager
def _let_a_sync_fail(machine: Machine) -> Iterator[None]:
    with postgres_or_skip() as server:
        source = server.create_database("platform")
        source.sql("CREATE TABLE pages (id INT PRIMARY KEY); INSERT INTO pages VALUES (1)")
        etc = machine.root / "etc"
        (etc / "dsn").write_text(source.dsn)
        (etc / "dsn").chmod(0o600)
        (etc / "sync.toml").write_text(
            f'[source.platform]\ndsn_file = "{etc}/dsn"\n'
            '[sync.pages]\nsource = "platform"\ntable = "public.pages"\ntarget = "pages"\n'
            'mode = "full"\n'
        )
        with (etc / "duckdb.env").open("a") as settings:
            settings.write(f"DUCKDB_SYNC_FILE={etc}/sync.toml\n")
        machine.run("systemctl restart chronoduck")
        server.stop()
        for _ in range(3):
            assert machine.attempt("chronoduck sync run").returncode != 0
        server.start()
        yield


DISASTERS: dict[str, list[Disaster]] = {
    "service-down": [Disaster(_open_the_breaker, "unhealthy\nThe circuit breaker", BREAKER)],
    "service-missing": [Disaster(Machine.kill, "failed")],
    "service-degraded": [Disaster(_fail_a_backup, "backup: The last backup was not made")],
    "circuit-breaker-open": [
        Disaster(_open_the_breaker, r"^open: [\s\S]*instance_failed", BREAKER)
    ],
    "engine-failing": [Disaster(_make_the_engine_fail, "File too large")],
    "errors": [Disaster(_time_out, r"^ +3 statement_timeout", SMALL)],
    "slow-queries": [Disaster(_one_long, r"range\(100000000\)", SMALL, is_broken=False)],
    "queue-full": [Disaster(_fill_the_queue, '"waiting":2.*"queue_size":2', SMALL)],
    "pool-exhausted": [
        Disaster(_slow_readers, r'"available_connections": 0[\s\S]*streaming', SMALL)
    ],
    "memory": [Disaster(seen='"process_memory_mb"', settings={"DUCKDB_MEMORY_LIMIT": "1500MB"})],
    "disk-full": [
        Disaster(_fill_the_disk, "corrupt-", {"DUCKDB_DISK_FLOOR": "30MB"}, small_disk=True),
        Disaster(
            _let_a_user_fill_the_disk,
            "chrono_analytics.db",
            {"DUCKDB_DISK_FLOOR": "30MB", "DUCKDB_BALLAST_SIZE": "5MB"},
            small_disk=True,
            uses_otherwise=True,
        ),
    ],
    "wal-not-replayable": [
        Disaster(_refute_the_wal, "refuted", {"DUCKDB_SHADOW_ENABLED": "true"}, is_broken=False)
    ],
    "checkpoint-failing": [
        Disaster(
            _fail_checkpoints,
            "File too large",
            {"DUCKDB_CHECKPOINT_INTERVAL": "2s"},
            ends_before_fix=True,
        )
    ],
    "replica-lag": [Disaster(_unmount_the_replica, "! .*Mount it again", mounted_replica=True)],
    "replica-refused": [Disaster(_another_writer, "! .* is written by another service")],
    "replica-mismatch": [
        Disaster(
            _lose_the_wal,
            "The replica is newer: it holds [0-9]+ transactions",
            rows=(ROWS + 20, ROWS + 20),
        ),
        Disaster(_put_another_file, "are not the same database", rows=(7, 7), uses_otherwise=True),
    ],
    "sync-failing": [Disaster(_let_a_sync_fail, "failed 3 times[\\s\\S]*what to do")],
    "backup-old": [Disaster(_lose_backups, "backups")],
    "database-corrupt": [
        Disaster(_damage_a_block, "1 block of the database file is damaged"),
        Disaster(_damage_the_header, "recover"),
    ],
    "scrub-overdue": [Disaster(seen="scrub +0 %", settings={"DUCKDB_REPLICA_SCRUB_RATE": "0"})],
    "drill": [Disaster(_damage_the_replica, "^$")],
    "does-not-start": [Disaster(_open_the_token, "fix: .*chmod 600")],
    "restarted-by-itself": [Disaster(_kill_the_server, '"count":1.*\n.*server_replaced')],
    "penalty-box": [
        Disaster(
            _kill_the_server_under_a_user,
            r"process_death[\s\S]*statement_lost",
            {"DUCKDB_QUOTA_PENALTY_WAIT": "500s"},
        )
    ],
    "log-damaged": [
        Disaster(_damage_the_log, "would silently drop at least", rows=(ROWS + 20, ROWS + 20)),
        Disaster(
            _damage_the_log_without_a_replica,
            "would silently drop at least",
            rows=(ROWS, ROWS + 19),
            uses_otherwise=True,
        ),
        Disaster(
            _make_the_log_unreplayable,
            "opens with the first 10 of 21 transactions",
            rows=(ROWS + 10, ROWS + 10),
            uses_otherwise=True,
        ),
    ],
    "disk-lost": [Disaster(_lose_the_disk, r"^20\d\d-")],
    "backups-only": [
        Disaster(_lose_the_replica, "chrono_analytics.db.zst", rows=(ROWS - 1, ROWS - 1)),
        Disaster(
            _lose_the_replica,
            "chrono_analytics.db.zst",
            rows=(ROWS - 1, ROWS - 1),
            uses_otherwise=True,
        ),
    ],
    "wrong-rows-deleted": [Disaster(_delete_everything, r"^20\d\d-")],
    "daily-maintenance": [Disaster(seen="ok +health", is_broken=False)],
    "weekly-maintenance": [Disaster(seen="ok +backups", is_broken=False)],
    "monthly-maintenance": [Disaster(seen="ok +verify", is_broken=False)],
    "performance-tuning": [Disaster(seen="HASH_GROUP_BY|PERFECT_HASH|Aggregates: count_star")],
    "capacity": [Disaster(seen="file, a million rows", is_broken=False)],
}
