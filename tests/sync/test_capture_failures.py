"""A log that cannot be followed is never passed over: it is said, and everything is read anew."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.postgres import SourceDatabase, postgres_or_skip
from tests.server import run_cli
from tests.sync.running import SOURCE, MakeService, run_sync
from tests.sync.test_capture import ITEMS, TABLE, assert_same, content, publish, slots, status_of

pytestmark = pytest.mark.slow
ROWS = "INSERT INTO items SELECT i, 'v' || i FROM generate_series(1, 100) i;"


@pytest.fixture(autouse=True)
def published(source: SourceDatabase) -> None:
    source.sql("ALTER ROLE reader REPLICATION;" + TABLE + ROWS)
    publish(source, "items")


def lose(source: SourceDatabase) -> str:
    slot = slots(source)[0]
    source.sql("CREATE TABLE filler (v text)")
    for _ in range(6):
        source.sql("INSERT INTO filler SELECT repeat('x', 2000) FROM generate_series(1, 5000);"
                   "SELECT pg_switch_wal()")  # fmt: skip
    source.sql("ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'; SELECT pg_reload_conf()")
    source.sql("CHECKPOINT")
    status = f"SELECT wal_status FROM pg_replication_slots WHERE slot_name = '{slot}'"
    assert source.sql(status) == [["lost"]]
    source.sql("ALTER SYSTEM RESET max_slot_wal_keep_size; SELECT pg_reload_conf()")
    return slot


def change_publication(source: SourceDatabase) -> str:
    source.sql("ALTER PUBLICATION chronoduck_items SET (publish = 'insert')")
    source.sql("DELETE FROM items WHERE id < 10")
    source.sql(
        "ALTER PUBLICATION chronoduck_items SET (publish = 'insert, update, delete, truncate')"
    )
    return "publication, table or server"


def recreate_table(source: SourceDatabase) -> str:
    source.sql("DROP TABLE items;" + TABLE + "INSERT INTO items VALUES (1, 'other')")
    source.sql("ALTER PUBLICATION chronoduck_items ADD TABLE items")
    return "publication, table or server"


def drop_slot(source: SourceDatabase) -> str:
    source.sql(f"SELECT pg_drop_replication_slot('{slots(source)[0]}')")
    return "is gone"


def advance_slot(source: SourceDatabase) -> str:
    source.sql("UPDATE items SET v = 'missed' WHERE id = 1")
    source.sql(f"SELECT pg_replication_slot_advance('{slots(source)[0]}', pg_current_wal_lsn())")
    return "another service uses the slot"


@pytest.mark.parametrize(
    "harm", [lose, change_publication, recreate_table, drop_slot, advance_slot]
)
async def test_a_gap_is_noticed_said_and_filled(
    source: SourceDatabase, make_service: MakeService, harm: Any
) -> None:
    async with make_service(ITEMS) as service:
        await run_sync(service, "items")
        before = slots(source)
        source.sql("DELETE FROM items WHERE id = 50; UPDATE items SET v = 'new' WHERE id = 51")
        words = harm(source)
        ended = await run_sync(service, "items")
        said = " ".join(ended["notes"])
        assert "it began anew with the whole table" in said
        assert words in said
        await assert_same(service, source)
        after = slots(source)
        assert len(after) == 1
        assert after != before
        source.sql("INSERT INTO items VALUES (777, 'later')")
        assert not (await run_sync(service, "items"))["notes"]
        await assert_same(service, source)


async def test_a_source_that_keeps_more_than_allowed_is_freed(
    source: SourceDatabase, make_service: MakeService
) -> None:
    small = SOURCE + 'max_lag = "2MB"\n'
    async with make_service(ITEMS, small) as service:
        await run_sync(service, "items")
        source.sql("CREATE TABLE filler AS SELECT repeat('x', 2000) FROM generate_series(1, 2000)")
        ended = await run_sync(service, "items")
        assert "more than max_lag (2" in ended["notes"][0]
        assert (await status_of(service))["lag_bytes"] < 2_000_000


async def test_a_restored_backup_is_noticed(
    source: SourceDatabase, make_service: MakeService, tmp_path: Path
) -> None:
    async with make_service(ITEMS) as service:
        await run_sync(service, "items")
        file = service.settings.database_path
    shutil.copy(file, tmp_path / "backup.db")
    source.sql("DELETE FROM items WHERE id < 10")
    async with make_service(ITEMS) as service:
        await run_sync(service, "items")
        await assert_same(service, source)
    shutil.copy(tmp_path / "backup.db", file)
    async with make_service(ITEMS) as service:
        assert len(await content(service)) == 100
        ended = await run_sync(service, "items")
        assert "restored from a backup" in ended["notes"][0]
        await assert_same(service, source)


async def test_two_services_from_one_backup_do_not_take_each_others_changes(
    source: SourceDatabase, make_service: MakeService, tmp_path: Path
) -> None:
    async with make_service(ITEMS) as service:
        await run_sync(service, "items")
        file = service.settings.database_path
    shutil.copy(file, tmp_path / "copy.db")

    async def run_with(other: Path) -> list[str]:
        shutil.copy(other, file)
        async with make_service(ITEMS) as service:
            notes = (await run_sync(service, "items"))["notes"]
            await assert_same(service, source)
        shutil.copy(file, other)
        return list(notes)

    shutil.copy(file, tmp_path / "first.db")
    for number in range(4):
        source.sql(f"UPDATE items SET v = 'round {number}' WHERE id % 7 = {number}")
        notes = [await run_with(tmp_path / name) for name in ("first.db", "copy.db")]
    assert [[note for note in each if "began anew" in note] for each in notes] == [[], []]
    assert all("which is not this database's" in " ".join(each) for each in notes)
    assert len(slots(source)) == 2


async def test_what_is_missing_in_the_source_is_said_with_the_statement_that_helps(
    source: SourceDatabase, make_service: MakeService
) -> None:
    source.sql("DROP PUBLICATION chronoduck_items; ALTER ROLE reader NOREPLICATION")
    async with make_service(ITEMS) as service:
        error = await run_sync(service, "items", "failed")
        assert 'CREATE PUBLICATION "chronoduck_items" FOR TABLE "items" ("id")' in error["hint"]
        source.sql(error["hint"].partition(": ")[2])
        error = await run_sync(service, "items", "failed")
        assert "REPLICATION" in error["hint"]
        assert slots(source) == []
        source.sql("ALTER ROLE reader REPLICATION")
        await run_sync(service, "items")
        source.sql("ALTER TABLE items ALTER v TYPE bytea USING v::bytea")
        error = await run_sync(service, "items", "failed")
        assert error["code"] == "sync_drift"
        assert (await status_of(service))["lag_bytes"] is not None
        assert len(slots(source)) == 1
    narrow = ITEMS + 'publication = "inserts"\n'
    source.sql("CREATE PUBLICATION inserts FOR TABLE items WITH (publish = 'insert')")
    async with make_service(narrow) as service:
        error = await run_sync(service, "items", "failed")
        assert "publish = 'insert, update, delete, truncate'" in error["hint"]
    source.sql("CREATE PUBLICATION few FOR TABLE items WHERE (id < 10)")
    async with make_service(ITEMS + 'publication = "few"\n') as service:
        error = await run_sync(service, "items", "failed")
        assert "without a row filter" in error["hint"]


async def test_the_owner_of_the_table_need_prepare_nothing_and_drop_leaves_nothing(
    source: SourceDatabase, make_service: MakeService, tmp_path: Path
) -> None:
    source.sql("DROP PUBLICATION chronoduck_items; ALTER TABLE items OWNER TO reader")
    source.sql(f"GRANT CREATE ON DATABASE {source.name} TO reader")
    async with make_service(ITEMS) as service:
        await run_sync(service, "items")
    assert source.sql("SELECT pubname FROM pg_publication") == [["chronoduck_items"]]
    async with make_service("") as service:
        orphans = await (await service.parts()).syncs.orphans()
        assert [each["sync"] for each in orphans] == ["items"]
        assert orphans[0]["slot"] == slots(source)[0]
        health = await service.health_check()
        assert "has left a slot" in health["components"]["sync"]["reason"]
    (tmp_path / "sync.toml").write_text(SOURCE)
    options = {"DUCKDB_SYNC_FILE": tmp_path / "sync.toml", "TEST_PLATFORM_DSN": source.dsn}
    options["DUCKDB_DATABASE_PATH"] = service.settings.database_path
    shown = run_cli(tmp_path, "sync", "status", **options)
    assert "no sync follows it" in shown.stdout, shown.stderr
    done = run_cli(tmp_path, "sync", "drop", "items", "--json", **options)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["has_dropped_publication"] is True
    assert slots(source) == []
    assert source.sql("SELECT pubname FROM pg_publication") == []
    again = run_cli(tmp_path, "sync", "drop", "items", **options)
    assert again.returncode == 66


async def test_a_server_that_does_not_write_such_a_log_is_told_of(
    make_service: MakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    with postgres_or_skip() as server:
        source = server.create_database("plain")
        source.sql("ALTER ROLE reader REPLICATION;" + TABLE + ROWS)
        publish(source, "items")
        monkeypatch.setenv("TEST_PLATFORM_DSN", source.dsn)
        async with make_service(ITEMS) as service:
            server.stop()
            server.start(wal_level="replica")
            error = await run_sync(service, "items", "failed")
            assert "ALTER SYSTEM SET wal_level = 'logical'" in error["hint"]
            server.stop()
            server.start()
            await run_sync(service, "items")
            await assert_same(service, source)
            server.stop(signal.SIGQUIT)
            server.start()
            source.sql("DELETE FROM items WHERE id = 3")
            ended = await run_sync(service, "items")
            assert not ended["notes"]
            await assert_same(service, source)
