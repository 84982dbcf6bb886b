"""The doctor says before a start what the start says: of undamaged files, and of every damage."""

from __future__ import annotations

import asyncio
import fcntl
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from chronoduck.assembly import DuckDBService
from chronoduck.assembly.start_check import check_start
from chronoduck.cli.engine_checks import check_downgrade
from chronoduck.errors import DuckDBException
from chronoduck.settings import ReplicaSettings, Settings, ShadowSettings
from tests.damaged_wal import crash, make_unreplayable
from tests.patience import PATIENCE_SECONDS
from tests.server import Server, run_cli

pytestmark = pytest.mark.slow

ROWS = 30
_SIZE = re.compile(r" after [0-9,]+ bytes")
"""Of a WAL: a start first cuts off an incomplete transaction."""
Damage = Callable[[Path], None]


def _flip(path: Path, *offsets: int) -> None:
    data = bytearray(path.read_bytes())
    for offset in offsets:
        data[offset : offset + 4] = bytes(255 - byte for byte in data[offset : offset + 4])
    path.write_bytes(data)


def _truncate(path: Path, size: int) -> None:
    with path.open("r+b") as file:
        file.truncate(size)


def _database(directory: Path) -> Path:
    return directory / "test.db"


def _wal(directory: Path) -> Path:
    return directory / "test.db.wal"


def _remove_both(directory: Path) -> None:
    _wal(directory).unlink()
    _database(directory).unlink()


def _older_copy(directory: Path) -> None:
    for path in (directory / "older").iterdir():
        shutil.copy(path, directory / path.name)
    if not (directory / "older" / "test.db.wal").exists():
        _wal(directory).unlink(missing_ok=True)


def _foreign(directory: Path) -> None:
    _remove_both(directory)
    crash(_database(directory), ["CREATE TABLE other(a INTEGER)", "CHECKPOINT"])


def _unreplayable(directory: Path) -> None:
    _remove_both(directory)
    make_unreplayable(_database(directory), 3, 2)


def _lose_replica(directory: Path) -> None:
    shutil.rmtree(directory / "replica")
    (directory / "replica").mkdir()


def _lose_replica_and_database(directory: Path) -> None:
    _lose_replica(directory)
    _remove_both(directory)


def _zero_a_block(directory: Path) -> None:
    with _database(directory).open("r+b") as file:
        file.seek(12288 + 262144)
        file.write(bytes(262144))


def _append_to_wal(directory: Path) -> None:
    with _wal(directory).open("ab") as file:
        file.write(_wal(directory).read_bytes()[-100:-50])


def _newer_engine(directory: Path) -> None:
    (directory / "test.db.engine").write_text("99.0.0\n")


def _directory(directory: Path) -> None:
    _database(directory).unlink()
    _database(directory).mkdir()


DAMAGES: dict[str, Damage] = {
    "none": lambda directory: None,
    "WAL flipped": lambda directory: _flip(_wal(directory), 1200),
    "WAL cut short": lambda directory: _truncate(_wal(directory), 1200),
    "WAL gone": lambda directory: _wal(directory).unlink(),
    "WAL longer": _append_to_wal,
    "file gone": lambda directory: _database(directory).unlink(),
    "file and WAL gone": _remove_both,
    "file empty": lambda directory: _truncate(_database(directory), 0),
    "file cut short": lambda directory: _truncate(_database(directory), 300_000),
    "file cut inside its headers": lambda directory: _truncate(_database(directory), 6000),
    "main header flipped": lambda directory: _flip(_database(directory), 10),
    "both root headers flipped": lambda directory: _flip(_database(directory), 4100, 8200),
    "one root header flipped": lambda directory: _flip(_database(directory), 4100),
    "a block flipped": lambda directory: _flip(_database(directory), 300_000),
    "a block zeroed": _zero_a_block,
    "older copy": _older_copy,
    "other database": _foreign,
    "WAL that replay rejects": _unreplayable,
    "WAL of a newer engine": lambda directory: (
        (directory / "test.db.engine").write_text("99.0.0\n") and None
    ),
    "open to everybody": lambda directory: _database(directory).chmod(0o646),
    "a directory": _directory,
    "replica gone": _lose_replica,
    "replica and database gone": _lose_replica_and_database,
}


def _settings(directory: Path, **given: object) -> Settings:
    return Settings(
        database_path=_database(directory),
        temp_directory=directory / "temp",
        memory_limit="500MB",
        ballast_size=0,
        shutdown_grace=0.5,
        shadow=ShadowSettings(enabled=False),
        **given,  # type: ignore[arg-type]
    )


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return a directory of a killed service whose replica is complete, and a copy to begin from."""
    directory = tmp_path_factory.mktemp("start") / "data"
    directory.mkdir()
    server = Server(
        directory, DUCKDB_REPLICA_URL=directory / "replica", DUCKDB_REPLICA_INTERVAL="50ms"
    ).start()
    server.query("CREATE TABLE big AS SELECT range AS a, hash(range) AS b FROM range(60000)")
    server.query("CREATE TABLE t(a INTEGER)")
    server.query("CHECKPOINT")
    (directory / "older").mkdir()
    for number in range(ROWS):
        if number == ROWS // 2:
            for path in (_database(directory), _wal(directory)):
                shutil.copy(path, directory / "older" / path.name)
            server.query("CHECKPOINT")
        server.query(f"INSERT INTO t VALUES ({number})")
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end:
        with server.client() as client:
            status = client.get("/replication").json()
        if status["state"] == "following" and not status["lag_bytes"]:
            break
        time.sleep(0.1)
    server.kill()
    server.__exit__()
    with (directory / "test.db.replicator.lock").open("r+b") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the replicator of a killed service ships the rest
    copy = directory.with_name("copy")
    shutil.copytree(directory, copy)
    return directory, copy


@pytest.fixture
def place(kept: tuple[Path, Path]) -> Path:
    """The directory as it was, under the name that its replica knows."""
    directory, copy = kept
    shutil.rmtree(directory)
    shutil.copytree(copy, directory)
    return directory


def _contents(directory: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def _foreseen(settings: Settings) -> DuckDBException | None:
    try:
        check_start(settings)
    except DuckDBException as error:
        return error
    return None


def _started(settings: Settings) -> DuckDBException | None:
    async def start() -> None:
        async with DuckDBService(settings):
            pass

    try:
        asyncio.run(start())
    except DuckDBException as error:
        return error
    return None


REFUSED = {
    "WAL flipped",
    "file gone",
    "file empty",
    "main header flipped",
    "both root headers flipped",
    "WAL of a newer engine",
    "open to everybody",
    "a directory",
}
"""With and without a replica."""
REFUSED_BY_THE_REPLICA = {
    "WAL gone",
    "WAL cut short",
    "older copy",
    "other database",
    "file and WAL gone",
    "replica and database gone",
}


ALONE = (
    "none",
    "WAL flipped",
    "WAL cut short",
    "file gone",
    "file cut inside its headers",
    "main header flipped",
    "both root headers flipped",
    "WAL that replay rejects",
)
"""Where a start without a replica goes another way."""


@pytest.mark.parametrize(
    ("damage", "with_replica"),
    [*((name, True) for name in DAMAGES), *((name, False) for name in ALONE)],
)
def test_the_doctor_says_what_a_start_says(place: Path, damage: str, with_replica: bool) -> None:
    DAMAGES[damage](place)
    given = {"replica": ReplicaSettings(url=str(place / "replica"))} if with_replica else {}
    settings = _settings(place, **given)
    before = _contents(place)
    foreseen = _foreseen(settings)
    for check in check_downgrade(settings):
        assert "by itself" not in check.fix
    assert _contents(place) == before
    started = _started(settings)
    assert (foreseen is None) == (started is None)
    if damage in REFUSED or (with_replica and damage in REFUSED_BY_THE_REPLICA):
        assert started is not None
    if foreseen is not None and started is not None:
        assert (foreseen.hint, foreseen.exit_code) == (started.hint, started.exit_code)
        assert _SIZE.sub("", foreseen.detail) == _SIZE.sub("", started.detail)


@pytest.mark.parametrize("with_replica", [True, False])
@pytest.mark.parametrize("damage", ["WAL flipped", "WAL that replay rejects"])
def test_leave_to_shorten_the_wal_is_taken_into_account(
    place: Path, damage: str, with_replica: bool
) -> None:
    DAMAGES[damage](place)
    given = {"replica": ReplicaSettings(url=str(place / "replica"))} if with_replica else {}
    settings = _settings(place, quarantine_wal=True, **given)
    before = _contents(place)
    foreseen = _foreseen(settings)
    assert _contents(place) == before
    started = _started(settings)
    assert (foreseen is None) == (started is None)
    if foreseen is not None and started is not None:
        assert (foreseen.hint, foreseen.exit_code) == (started.hint, started.exit_code)


def test_the_command_ends_with_the_code_of_the_start_and_says_its_hint(place: Path) -> None:
    given = {"DUCKDB_REPLICA_URL": place / "replica"}
    whole = run_cli(place, "doctor", **given)
    assert whole.returncode == 0, whole.stdout
    _wal(place).unlink()
    damaged = run_cli(place, "doctor", **given)
    assert "\nerror   start " in damaged.stdout
    started = run_cli(place, "serve", **given)
    assert damaged.returncode == started.returncode == 65
    hint = started.stderr.partition("what to do:")[2].strip()
    assert hint
    assert hint in damaged.stdout
    assert "reopens the database by itself" not in damaged.stdout


def test_a_broken_off_restore_is_told_and_nothing_is_done(place: Path) -> None:
    plan = place / "test.db.placing"
    plan.write_text("new\ncorrupt-1\n")
    before = _contents(place)
    assert "broken off" in check_start(_settings(place))[0]
    assert _contents(place) == before


def test_a_damage_that_a_start_mends_by_itself_is_no_refusal(place: Path) -> None:
    _remove_both(place)
    replica = ReplicaSettings(url=str(place / "replica"))
    settings = _settings(place, replica=replica, auto_recover=True)
    assert "restores it from the replica" in check_start(settings)[0]
    assert _started(settings) is None
