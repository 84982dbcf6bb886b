"""Incremental syncs: nothing skipped, nothing doubled, whatever the times, and deletes if asked for."""

from __future__ import annotations

import threading
import time

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
key = ["id"]
cursor = "updated_at"
"""
TABLE = "CREATE TABLE items (id bigint PRIMARY KEY, v text, updated_at timestamptz DEFAULT now());"


async def content(
    service: DuckDBService, query: str = "SELECT id, v FROM items"
) -> list[list[str]]:
    result = await service.execute_query(f"SELECT * FROM ({query}) ORDER BY ALL")
    return [["" if cell is None else str(cell) for cell in row] for row in result.data]


async def assert_same(service: DuckDBService, source: SourceDatabase, name: str = "items") -> None:
    expected = source.sql(f"SELECT id, v FROM {name}")
    assert await content(service, f"SELECT id, v FROM {name}") == sorted(
        expected, key=lambda row: (int(row[0]), row[1])
    )


async def test_only_what_changed_is_read_and_written(
    source: SourceDatabase, make_service: MakeService
) -> None:
    source.sql(
        TABLE
        + "INSERT INTO items SELECT i, 'v' || i, timestamptz '2024-01-01' + i * interval '1 h'"
        " FROM generate_series(1, 5000) i"
    )
    async with make_service(ITEMS) as service:
        first = await run_sync(service, "items")
        assert (first["read"], first["added"], first["changed"]) == (5000, 5000, 0)
        assert first["watermark"] == "2024-07-27 08:00:00.000000+00:00"
        source.sql("UPDATE items SET v = 'new', updated_at = now() WHERE id % 100 = 0")
        source.sql("INSERT INTO items SELECT i, 'more' FROM generate_series(5001, 5010) i")
        second = await run_sync(service, "items")
        # The row of the watermark lies within the overlap and is left alone.
        assert (second["read"], second["added"], second["changed"]) == (60, 10, 50)
        await assert_same(service, source)
        third = await run_sync(service, "items")
        assert (third["added"], third["changed"]) == (0, 0)


async def test_rows_of_equal_times_are_all_taken_in_pieces_of_any_size(
    source: SourceDatabase, make_service: MakeService
) -> None:
    source.sql(TABLE + "INSERT INTO items VALUES (0, 'first', '2024-01-01')")
    small = (
        '[source.platform]\ndsn_env = "TEST_PLATFORM_DSN"\nbatch_rows = 1000\nfetch_bytes = 65536\n'
    )
    async with make_service(ITEMS, small) as service:
        await run_sync(service, "items")
        source.sql(
            "INSERT INTO items SELECT i, repeat('x', 100), '2024-02-02' FROM generate_series(1, 9000) i"
        )
        ended = await run_sync(service, "items")
        assert ended["added"] == 9000
        source.sql("INSERT INTO items VALUES (9001, 'the same time again', '2024-02-02')")
        assert (await run_sync(service, "items"))["added"] == 1
        await assert_same(service, source)


UNTIL_TOLD = (
    "DO $$ BEGIN WHILE NOT EXISTS (SELECT FROM told) LOOP PERFORM pg_sleep(0.05); END LOOP; END $$"
)
HAS_WRITTEN = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
    "AND query LIKE 'DO $$%' AND backend_xid IS NOT NULL"
)


async def test_a_row_that_was_committed_late_with_an_earlier_time_is_taken(
    source: SourceDatabase, make_service: MakeService
) -> None:
    """Its transaction began before the sync and took longer than the overlap."""
    source.sql(TABLE + "INSERT INTO items VALUES (1, 'a', now()); CREATE TABLE told (n INT)")

    def slow_writer() -> None:
        source.sql(f"BEGIN; INSERT INTO items VALUES (2, 'late'); {UNTIL_TOLD}; COMMIT")

    async with make_service(ITEMS + 'overlap = "0s"\n') as service:
        writer = threading.Thread(target=slow_writer)
        writer.start()
        while source.sql(HAS_WRITTEN) != [["1"]]:
            time.sleep(0.05)
        source.sql("INSERT INTO items VALUES (3, 'after')")
        await run_sync(service, "items")
        assert await content(service) == [["1", "a"], ["3", "after"]]
        source.sql("INSERT INTO told VALUES (1)")
        writer.join()
        await run_sync(service, "items")
        await assert_same(service, source)


async def test_rows_without_a_time_or_of_the_future_hide_nothing(
    source: SourceDatabase, make_service: MakeService
) -> None:
    source.sql(TABLE + "INSERT INTO items VALUES (1, 'never', NULL), (2, 'for ever', 'infinity')")
    source.sql("INSERT INTO items VALUES (3, 'future', '2999-01-01')")
    async with make_service(ITEMS) as service:
        await run_sync(service, "items")
        source.sql("INSERT INTO items VALUES (4, 'now', now()), (5, 'never', NULL)")
        source.sql("UPDATE items SET v = 'changed' WHERE id = 1")
        await run_sync(service, "items")
        await assert_same(service, source)


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("timestamp", ["'2024-01-01'", "'2024-01-02 00:00:00.000001'", "'2024-01-03'"]),
        ("date", ["'2024-01-01'", "'2024-01-01'", "'2024-01-02'"]),
        ("bigint", ["-5", "7", "40"]),
        ("timestamptz", ["'0044-03-15 BC'", "'2024-01-01'", "'2024-01-01'"]),
    ],
)
async def test_cursors_may_be_times_dates_and_numbers(
    source: SourceDatabase, make_service: MakeService, kind: str, values: list[str]
) -> None:
    source.sql(f"CREATE TABLE items (id int, v text, updated_at {kind})")
    async with make_service(ITEMS) as service:
        for number, value in enumerate(values):
            source.sql(f"INSERT INTO items VALUES ({number}, 'v', {value})")
            assert (await run_sync(service, "items"))["added"] == 1
        await assert_same(service, source)


async def test_deletes_are_found_by_the_keys_and_ignored_unless_asked_for(
    source: SourceDatabase, make_service: MakeService
) -> None:
    source.sql(TABLE + "INSERT INTO items SELECT i, 'v' FROM generate_series(1, 100) i")
    async with make_service(ITEMS) as service:
        await run_sync(service, "items")
        source.sql("DELETE FROM items WHERE id <= 40")
        assert (await run_sync(service, "items"))["deleted"] == 0
        assert len(await content(service)) == 100
    async with make_service(ITEMS + 'deletes = "key-diff"\n') as service:
        assert (await run_sync(service, "items"))["deleted"] == 40
        await assert_same(service, source)
        source.sql("DELETE FROM items")
        assert (await run_sync(service, "items"))["deleted"] == 60
        assert await content(service) == []


async def test_constants_mark_the_rows_of_a_sync_and_leave_others_alone(
    source: SourceDatabase, make_service: MakeService
) -> None:
    source.sql(TABLE + "INSERT INTO items VALUES (1, 'a'), (2, 'b')")
    marked = ITEMS + 'deletes = "key-diff"\nconstants = { origin = "platform" }\n'
    async with make_service(marked) as service:
        await service.execute_query("CREATE TABLE items (origin VARCHAR, id BIGINT, v VARCHAR)")
        await service.execute_query(
            "INSERT INTO items VALUES ('crawl', 1, 'theirs'), ('x', 9, 'y')"
        )
        await run_sync(service, "items")
        source.sql("DELETE FROM items WHERE id = 2")
        await run_sync(service, "items")
        assert await content(service, "SELECT id, v, origin FROM items") == [
            ["1", "a", "platform"],
            ["1", "theirs", "crawl"],
            ["9", "y", "x"],
        ]


@pytest.mark.parametrize("more", ['mode = "full"\n', 'deletes = "key-diff"\n'])
async def test_rows_of_others_are_not_deleted_by_the_first_run(
    source: SourceDatabase, make_service: MakeService, more: str
) -> None:
    source.sql(TABLE + "INSERT INTO items VALUES (1, 'a')")
    async with make_service(ITEMS + more) as service:
        await service.execute_query("CREATE TABLE items AS SELECT 5::BIGINT AS id, 'theirs' AS v")
        error = await run_sync(service, "items", expect="failed")
        assert error["code"] == "sync_drift"
        assert "would be deleted" in error["detail"]
        assert await content(service) == [["5", "theirs"]]
        await service.execute_query("DELETE FROM items")
        await run_sync(service, "items")
        await assert_same(service, source)


async def test_columns_that_the_sync_does_not_know_keep_their_values(
    source: SourceDatabase, make_service: MakeService
) -> None:
    source.sql(TABLE + "INSERT INTO items VALUES (1, 'a'), (2, 'b')")
    async with make_service(ITEMS) as service:
        await run_sync(service, "items")
        await service.execute_query("ALTER TABLE items ADD COLUMN stars INTEGER")
        await service.execute_query("UPDATE items SET stars = id")
        source.sql("UPDATE items SET v = 'changed', updated_at = now()")
        await run_sync(service, "items")
        assert await content(service, "SELECT id, v, stars FROM items") == [
            ["1", "changed", "1"],
            ["2", "changed", "2"],
        ]


@pytest.mark.parametrize(
    ("rows", "words"),
    [("(1, 'a'), (1, 'b')", "not unique"), ("(1, 'a'), (NULL, 'b')", "have no id")],
)
async def test_a_key_that_is_none_is_said(
    source: SourceDatabase, make_service: MakeService, rows: str, words: str
) -> None:
    source.sql("CREATE TABLE items (id int, v text, updated_at timestamptz DEFAULT now())")
    source.sql("INSERT INTO items VALUES (7, 'x')")
    async with make_service(ITEMS) as service:
        await run_sync(service, "items")
        source.sql(f"INSERT INTO items VALUES {rows}")
        error = await run_sync(service, "items", expect="failed")
        assert error["code"] == "sync_data"
        assert words in error["detail"]
        assert await content(service) == [["7", "x"]]


async def test_a_full_sync_replaces_everything_at_once_and_readers_see_the_old_rows_until_then(
    source: SourceDatabase, make_service: MakeService
) -> None:
    source.sql(TABLE + "INSERT INTO items SELECT i, 'old' FROM generate_series(1, 1000) i")
    full = '[sync.items]\nsource = "platform"\ntable = "items"\ntarget = "items"\nmode = "full"\n'
    async with make_service(full) as service:
        await run_sync(service, "items")
        async with service.transaction() as reader:
            before = await reader.execute("SELECT count(*), min(v) FROM items")
            source.sql("DELETE FROM items WHERE id > 10; UPDATE items SET v = 'new'")
            ended = await run_sync(service, "items")
            during = await reader.execute("SELECT count(*), min(v) FROM items")
        assert (ended["added"], ended["deleted"]) == (10, 1000)
        assert before.data == during.data
        await assert_same(service, source)


async def test_another_declaration_or_a_lost_table_begins_anew(
    source: SourceDatabase, make_service: MakeService
) -> None:
    source.sql(TABLE + "INSERT INTO items VALUES (1, 'a', '2024-01-01'), (2, 'b', '2024-06-01')")
    async with make_service(ITEMS) as service:
        await run_sync(service, "items")
        await service.execute_query("DROP TABLE items")
        assert (await run_sync(service, "items"))["added"] == 2
    async with make_service(ITEMS + 'rename = { v = "w" }\n') as service:
        ended = await run_sync(service, "items")
        assert (ended["read"], ended["changed"]) == (2, 2)
        assert await content(service, "SELECT id, w FROM items") == [["1", "a"], ["2", "b"]]


async def test_a_query_is_a_source_like_a_table(
    source: SourceDatabase, make_service: MakeService
) -> None:
    source.sql(TABLE + "INSERT INTO items VALUES (1, 'a'), (2, 'b')")
    text = ITEMS.replace(
        'table = "items"',
        'query = """SELECT id, upper(v) AS v, updated_at FROM items -- all of them"""',
    )
    async with make_service(text) as service:
        await run_sync(service, "items")
        assert await content(service) == [["1", "A"], ["2", "B"]]
