"""``mode = "cdc"``: after every run the target is one snapshot of the source, whatever was done to it."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from chronoduck.assembly import DuckDBService
from tests.postgres import SourceDatabase
from tests.sync.running import MakeService, run_sync

pytestmark = pytest.mark.slow
ITEMS = """
[sync.items]
source = "platform"
table = "items"
target = "items"
mode = "cdc"
key = ["id"]
"""
TABLE = "CREATE TABLE items (id bigint PRIMARY KEY, v text);"


@pytest.fixture(autouse=True)
def allowed(source: SourceDatabase) -> None:
    """Let the reader make a slot, and have the publication made."""
    source.sql("ALTER ROLE reader REPLICATION")


def publish(source: SourceDatabase, table: str, columns: str = "", name: str = "items") -> None:
    source.sql(
        f'CREATE PUBLICATION "chronoduck_{name}" FOR TABLE {table} {columns} '
        "WITH (publish_via_partition_root = true)"
    )


async def content(service: DuckDBService, columns: str = "id, v") -> list[list[str]]:
    rows = (await service.execute_query(f"SELECT {columns} FROM items ORDER BY ALL")).data
    return [["" if cell is None else str(cell) for cell in row] for row in rows]


async def assert_same(service: DuckDBService, source: SourceDatabase) -> None:
    expected = source.sql("SELECT id, v FROM items")
    assert await content(service) == sorted(expected, key=lambda row: (int(row[0]), row[1]))


async def status_of(service: DuckDBService) -> dict[str, Any]:
    return (await (await service.parts()).syncs.describe())[0]


def slots(source: SourceDatabase) -> list[str]:
    return [
        row[0]
        for row in source.sql(
            "SELECT slot_name FROM pg_replication_slots WHERE database = current_database()"
        )
    ]


async def test_inserts_updates_deletes_and_changed_keys_follow_and_nothing_else_is_read(
    source: SourceDatabase, make_service: MakeService
) -> None:
    source.sql(TABLE + "INSERT INTO items SELECT i, 'v' || i FROM generate_series(1, 1000) i")
    publish(source, "items", "(id)")
    async with make_service(ITEMS) as service:
        first = await run_sync(service, "items")
        assert (first["read"], first["added"]) == (1000, 1000)
        source.sql("SELECT pg_switch_wal()")  # the log ends behind the header of a new file
        again = await run_sync(service, "items")
        assert (again["read"], again["added"], again["changed"], again["deleted"]) == (0, 0, 0, 0)
        source.sql("INSERT INTO items VALUES (2000, 'new')")
        source.sql("UPDATE items SET v = 'changed' WHERE id <= 10")
        source.sql("UPDATE items SET id = 3000 WHERE id = 11")
        source.sql("DELETE FROM items WHERE id BETWEEN 20 AND 29")
        source.sql("BEGIN; INSERT INTO items VALUES (5000, 'x'); ROLLBACK")
        ended = await run_sync(service, "items")
        assert (ended["read"], ended["added"], ended["changed"], ended["deleted"]) == (
            12,
            2,
            10,
            11,
        )
        await assert_same(service, source)
        assert slots(source) == [(await status_of(service))["slot"]]


async def test_a_transaction_is_never_half_there_and_a_late_commit_is_not_missed(
    source: SourceDatabase, make_service: MakeService
) -> None:
    """Two transactions change the same row and others while runs go on; sums always agree."""
    source.sql("CREATE TABLE items (id bigint PRIMARY KEY, v int)")
    source.sql("INSERT INTO items SELECT i, 0 FROM generate_series(1, 50) i")
    publish(source, "items")
    stop = threading.Event()

    def move(seed: int) -> None:
        number = seed
        while not stop.is_set():
            number = (number * 7 + 3) % 50
            source.sql(
                f"BEGIN; UPDATE items SET v = v + 1 WHERE id = {number + 1}; SELECT pg_sleep(0.02);"
                f"UPDATE items SET v = v - 1 WHERE id = {50 - number}; COMMIT"
                if number + 1 < 50 - number
                else f"SET synchronous_commit = off; BEGIN; UPDATE items SET v = v - 1 WHERE id = "
                f"{50 - number}; UPDATE items SET v = v + 1 WHERE id = {number + 1}; COMMIT"
            )

    async with make_service(ITEMS) as service:
        await run_sync(service, "items")
        movers = [threading.Thread(target=move, args=(seed,)) for seed in (1, 2, 3)]
        for mover in movers:
            mover.start()
        try:
            for _ in range(8):
                ended = await run_sync(service, "items")
                sums = (await service.execute_query("SELECT sum(v)::INT, count(*) FROM items")).data
                assert tuple(sums[0]) == (0, 50)
                assert not ended["notes"]
        finally:
            stop.set()
            for mover in movers:
                mover.join()
        await run_sync(service, "items")
        await assert_same(service, source)


async def test_what_no_log_tells_is_noticed_and_the_whole_table_is_read(
    source: SourceDatabase, make_service: MakeService
) -> None:
    source.sql(TABLE + "INSERT INTO items VALUES (1, 'a'), (2, 'b')")
    publish(source, "items")
    async with make_service(ITEMS) as service:
        await run_sync(service, "items")
        for change in (
            "ALTER TABLE items ADD COLUMN n int DEFAULT 7",
            "ALTER TABLE items ALTER v TYPE text USING upper(v)",
            "TRUNCATE items; INSERT INTO items VALUES (3, 'c', 8)",
            "VACUUM FULL items",
        ):
            source.sql(change)
            ended = await run_sync(service, "items")
            assert "the whole table was read" in ended["notes"][0], change
            assert await content(service, "id, v, n") == source.sql("SELECT id, v, n FROM items")
            assert not (await run_sync(service, "items"))["notes"]
            assert len(slots(source)) == 1


async def test_a_truncation_under_way_is_seen_whole_or_not_at_all(
    source: SourceDatabase, make_service: MakeService
) -> None:
    source.sql(TABLE + "INSERT INTO items VALUES (1, 'a'), (2, 'b')")
    publish(source, "items")
    begun = threading.Event()

    def truncate() -> None:
        begun.set()
        source.sql(
            "BEGIN; TRUNCATE items; INSERT INTO items VALUES (9, 'z'); SELECT pg_sleep(3); COMMIT"
        )

    async with make_service(ITEMS) as service:
        await run_sync(service, "items")
        other = threading.Thread(target=truncate)
        other.start()
        begun.wait()
        time.sleep(0.7)
        await run_sync(service, "items")
        other.join()
        assert await content(service) == [["9", "z"]]
        source.sql("INSERT INTO items VALUES (10, 'y')")
        await run_sync(service, "items")
        await assert_same(service, source)


async def test_tables_of_large_values_composite_keys_and_partitions_follow(
    source: SourceDatabase, make_service: MakeService
) -> None:
    source.sql(
        "CREATE TABLE items (id int, day date, name text, v text, PRIMARY KEY (id, name, day))"
        " PARTITION BY RANGE (day);"
        "CREATE TABLE old PARTITION OF items FOR VALUES FROM (MINVALUE) TO ('2024-01-01');"
        "CREATE TABLE young PARTITION OF items FOR VALUES FROM ('2024-01-01') TO (MAXVALUE);"
        "ALTER TABLE young ALTER v SET STORAGE EXTERNAL;"
        "INSERT INTO items SELECT i, date '2023-12-01' + i, E'\\\\it''s \"' || i, repeat('x', 9000)"
        " FROM generate_series(1, 60) i"
    )
    publish(source, "items")
    text = ITEMS.replace('["id"]', '["id", "name", "day"]')
    async with make_service(text) as service:
        await run_sync(service, "items")
        source.sql("UPDATE items SET day = day + 100 WHERE id <= 20")
        source.sql("UPDATE items SET name = name || '!' WHERE id BETWEEN 30 AND 40")
        source.sql("DELETE FROM items WHERE id > 55")
        ended = await run_sync(service, "items")
        assert not ended["notes"]
        columns = "id, day::VARCHAR, name, md5(v)"
        assert await content(service, columns) == source.sql(
            'SELECT id, day, name, md5(v) FROM items ORDER BY id, day, name COLLATE "C"'
        )
        source.sql("CREATE TABLE more (LIKE items INCLUDING ALL); INSERT INTO more VALUES "
                   "(99, '1999-01-01', 'a', 'b'); ALTER TABLE items DETACH PARTITION old;"
                   "ALTER TABLE items ATTACH PARTITION more FOR VALUES FROM (MINVALUE) TO ('2024-01-01')"
                   )  # fmt: skip
        ended = await run_sync(service, "items")
        assert "began anew" in ended["notes"][0]
        assert await content(service, columns) == source.sql(
            'SELECT id, day, name, md5(v) FROM items ORDER BY id, day, name COLLATE "C"'
        )


async def test_a_table_without_a_key_of_its_own_follows_by_its_whole_rows(
    source: SourceDatabase, make_service: MakeService
) -> None:
    source.sql(
        "CREATE TABLE items (id bigint, v text); INSERT INTO items VALUES (1, 'a'), (2, 'b')"
    )
    async with make_service(ITEMS) as service:
        error = await run_sync(service, "items", "failed")
        assert error["code"] == "sync_drift"
        assert "REPLICA IDENTITY FULL" in error["hint"]
        source.sql("ALTER TABLE items REPLICA IDENTITY FULL")
        publish(source, "items")
        await run_sync(service, "items")
        source.sql("UPDATE items SET id = 5 WHERE id = 1; DELETE FROM items WHERE id = 2")
        source.sql("INSERT INTO items VALUES (7, NULL)")
        ended = await run_sync(service, "items")
        assert not ended["notes"]
        await assert_same(service, source)


async def test_many_changes_are_read_as_a_whole_table_and_columns_of_others_are_kept(
    source: SourceDatabase, make_service: MakeService
) -> None:
    source.sql(TABLE + "INSERT INTO items SELECT i, 'v' FROM generate_series(1, 60000) i; ANALYZE")
    publish(source, "items")
    async with make_service(ITEMS) as service:
        await run_sync(service, "items")
        await service.execute_query("ALTER TABLE items ADD COLUMN stars INTEGER")
        await service.execute_query("UPDATE items SET stars = id")
        source.sql("UPDATE items SET v = 'w' WHERE id <= 55000; DELETE FROM items WHERE id > 59990")
        ended = await run_sync(service, "items")
        assert "much of it has changed" in ended["notes"][0]
        assert (ended["changed"], ended["deleted"], ended["added"]) == (55000, 10, 0)
        await assert_same(service, source)
        kept = await service.execute_query("SELECT count(*) FROM items WHERE stars = id")
        assert kept.data == [(59990,)]
