"""What a service on DuckDB 1.5.5 left is opened, restored and continued, with every value as it was."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import duckdb
import pytest

from chronoduck.assembly import DuckDBService
from chronoduck.backup.restore import restore_backup
from chronoduck.engine.storage_version import file_storage_version
from chronoduck.replication.history import generation_number
from chronoduck.replication.opening import open_archive
from chronoduck.replication.recovery import restore_database
from chronoduck.replication.restore_plan import list_points
from chronoduck.replication.verification import verify_replica
from chronoduck.settings import ReplicaSettings, Settings
from tests.engines import OLDER, run_in
from tests.golden.make_engine_1_5 import (
    ARCHIVE,
    KEY,
    QUESTIONS,
    QUESTIONS_OF_ALTERED,
    answers,
)

ASK = """
import duckdb, json, sys
with duckdb.connect(sys.argv[1]) as connection:
    print(json.dumps({
        name: [list(row) for row in connection.execute(sql).fetchall()]
        for name, sql in json.loads(sys.argv[2]).items()
    }))
"""


@pytest.fixture
def golden(tmp_path: Path) -> Path:
    directory = tmp_path / "golden"
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(directory, filter="data")
    return directory


@pytest.fixture
def expected(golden: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((golden / "expected.json").read_text())
    return found


def place(source: Path, database: Path) -> None:
    database.parent.mkdir(parents=True, exist_ok=True)
    for end in ("", ".wal"):
        target = database.with_name(database.name + end)
        target.write_bytes(source.with_name(source.name + end).read_bytes())
        target.chmod(0o640)


def asked(database: Path) -> dict[str, Any]:
    with duckdb.connect(str(database), read_only=True) as connection:
        return {
            name: [list(row) for row in connection.execute(sql).fetchall()]
            for name, sql in QUESTIONS.items()
        }


async def test_a_file_with_its_wal_is_served_and_read_by_the_older_engine_afterwards(
    golden: Path, expected: dict[str, Any], make_settings: Callable[..., Settings]
) -> None:
    settings = make_settings()
    place(golden / "database.db", settings.database_path)
    assert settings.database_path.with_name("test.db.wal").stat().st_size > 1000
    version = file_storage_version(settings.database_path)
    async with DuckDBService(settings) as service:
        found = await answers(service, QUESTIONS)
        assert {name: json.loads(json.dumps(rows)) for name, rows in found.items()} == {
            name: expected[name] for name in QUESTIONS
        }
        await service.execute_query("INSERT INTO late VALUES (50, 'l50')")
        await service.execute_query("UPDATE s.looked_up SET v = v + 1 WHERE k = 'k1'")
        after = await answers(service, QUESTIONS)
    assert file_storage_version(settings.database_path) == version
    assert run_in(OLDER, ASK, settings.database_path, json.dumps(QUESTIONS)) == json.loads(
        json.dumps(after)
    )


@pytest.mark.skipif(duckdb.__version__ < "2", reason="DuckDB 1.5.5 cannot replay this WAL")
async def test_a_wal_that_the_older_engine_cannot_replay_is_replayed(
    golden: Path, expected: dict[str, Any], make_settings: Callable[..., Settings]
) -> None:
    settings = make_settings()
    place(golden / "altered.db", settings.database_path)
    async with DuckDBService(settings) as service:
        found = await answers(service, QUESTIONS_OF_ALTERED)
    assert found["defaults"] == expected["defaults"]


@pytest.mark.parametrize("name", ["plain", "encrypted"])
def test_a_replica_in_mid_generation_is_restored(
    golden: Path,
    expected: dict[str, Any],
    make_settings: Callable[..., Settings],
    name: str,
    tmp_path: Path,
) -> None:
    key = KEY if name == "encrypted" else None
    replica = ReplicaSettings(url=str(golden / f"replica-{name}"), encryption_key=key)
    archive = open_archive(make_settings(replica=replica))
    with ThreadPoolExecutor(2) as executor:
        assert verify_replica(archive, executor).damages == ()
        points = list_points(archive, archive.listing(), executor)
    assert len(points) > 5
    restore_database(archive, tmp_path / "latest.db", verify="full")
    assert asked(tmp_path / "latest.db") == {name: expected[name] for name in QUESTIONS}
    for number, point in enumerate(points):
        restore_database(archive, tmp_path / f"{number}.db", to_us=point.time_us, verify="full")


async def test_a_replica_is_continued_in_a_generation_of_its_own(
    golden: Path, expected: dict[str, Any], make_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    replica = ReplicaSettings(url=str(golden / "replica-plain"), interval=0.02)
    settings = make_settings(replica=replica)
    archive = open_archive(settings)
    before = [generation_number(each.name) for each in archive.listing().generations]
    settings.database_path.parent.mkdir(parents=True)
    restore_database(archive, settings.database_path, verify="quick", graft=True)
    async with DuckDBService(settings) as service:
        await service.execute_query("INSERT INTO late VALUES (50, 'l50')")
        after = json.loads(json.dumps(await answers(service, QUESTIONS)))
    assert after["late"] == [[51, "l9"]]
    numbers = [generation_number(each.name) for each in archive.listing().generations]
    assert max(numbers) > max(before)
    restore_database(archive, tmp_path / "restored.db", verify="full")
    assert asked(tmp_path / "restored.db") == after
    assert run_in(OLDER, ASK, tmp_path / "restored.db", json.dumps(QUESTIONS)) == after


def test_a_backup_is_restored(
    golden: Path, expected: dict[str, Any], settings: Settings, tmp_path: Path
) -> None:
    (backup,) = (golden / "backups").glob("[0-9]*/*.db.zst")
    restore_backup(backup, tmp_path / "restored.db", settings.backup, verify="full")
    assert asked(tmp_path / "restored.db") == {name: expected[name] for name in QUESTIONS}
