"""What a publication does not tell of is refused or noticed, and however much changed is taken once."""

from __future__ import annotations

from pathlib import Path

import pytest

from chronoduck.assembly import DuckDBService
from chronoduck.assembly.capture_run import CaptureRun
from chronoduck.sync import SourceDeclaration, SyncDeclaration, capturing
from chronoduck.sync.state import SyncState
from tests.postgres import SourceDatabase
from tests.sync.running import MakeService, run_sync
from tests.sync.test_capture import ITEMS, TABLE, assert_same, publish, slots
from tests.sync.test_model import in_this_process, open_transactions

pytestmark = pytest.mark.slow
PARTITIONS = """
CREATE TABLE items (id bigint PRIMARY KEY, v text) PARTITION BY RANGE (id);
CREATE TABLE low PARTITION OF items FOR VALUES FROM (0) TO (100);
"""


@pytest.fixture(autouse=True)
def allowed(source: SourceDatabase) -> None:
    """Let the reader make a slot."""
    source.sql("ALTER ROLE reader REPLICATION")


async def test_an_heir_that_came_later_and_is_not_published_is_told(
    source: SourceDatabase, make_service: MakeService
) -> None:
    source.sql(TABLE + "INSERT INTO items VALUES (1, 'a')")
    publish(source, "items")
    async with make_service(ITEMS) as service:
        await run_sync(service, "items")
        source.sql("CREATE TABLE kid () INHERITS (items)")
        error = await run_sync(service, "items", "failed")
        assert "does not tell of" in error["detail"]
        assert "kid" in error["detail"]
        source.sql("ALTER PUBLICATION chronoduck_items ADD TABLE kid")
        source.sql("ALTER TABLE kid ADD PRIMARY KEY (id)")
        await run_sync(service, "items")
        source.sql("INSERT INTO kid VALUES (2, 'b')")
        assert not (await run_sync(service, "items"))["notes"]
        await assert_same(service, source)


@pytest.mark.parametrize(
    "partition",
    [
        "CREATE UNLOGGED TABLE high PARTITION OF items FOR VALUES FROM (100) TO (200)",
        (
            "CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w;"
            "CREATE FOREIGN TABLE high (id bigint NOT NULL, v text) SERVER s;"
            "ALTER TABLE items DROP CONSTRAINT items_pkey; ALTER TABLE items REPLICA IDENTITY FULL;"
            "ALTER TABLE items ATTACH PARTITION high FOR VALUES FROM (100) TO (200)"
        ),
    ],
)
async def test_a_partition_whose_changes_are_in_no_log_is_refused(
    source: SourceDatabase, make_service: MakeService, partition: str
) -> None:
    source.sql(PARTITIONS + "INSERT INTO items VALUES (1, 'a')")
    publish(source, "items")
    async with make_service(ITEMS) as service:
        await run_sync(service, "items")
        source.sql(partition)
        error = await run_sync(service, "items", "failed")
        assert error["code"] == "sync_drift"
        assert "high" in error["detail"]
        assert 'mode = "incremental"' in error["hint"]


async def test_a_schema_that_was_out_of_the_publication_for_a_while_is_noticed(
    source: SourceDatabase, make_service: MakeService
) -> None:
    source.sql(TABLE + "INSERT INTO items VALUES (1, 'a'), (2, 'b')")
    source.sql("CREATE PUBLICATION whole FOR TABLES IN SCHEMA public")
    async with make_service(ITEMS + 'publication = "whole"\n') as service:
        await run_sync(service, "items")
        for gap in (
            (
                "ALTER PUBLICATION whole DROP TABLES IN SCHEMA public; {};"
                "ALTER PUBLICATION whole ADD TABLES IN SCHEMA public"
            ),
            "ALTER TABLE items SET SCHEMA aside; {}; ALTER TABLE aside.items SET SCHEMA public",
        ):
            source.sql("CREATE SCHEMA IF NOT EXISTS aside")
            place = "aside.items" if "aside" in gap else "items"
            for part in gap.format(f"UPDATE {place} SET v = v || '!'").split(";"):
                source.sql(part)
            ended = await run_sync(service, "items")
            await assert_same(service, source)
            assert "began anew" in ended["notes"][0]
            assert not (await run_sync(service, "items"))["notes"]


async def test_a_partition_that_was_away_for_a_while_is_noticed(
    source: SourceDatabase, make_service: MakeService
) -> None:
    source.sql(PARTITIONS + "INSERT INTO items VALUES (1, 'a'), (2, 'b')")
    publish(source, "items")
    async with make_service(ITEMS) as service:
        await run_sync(service, "items")
        source.sql(
            "ALTER TABLE items DETACH PARTITION low; UPDATE low SET v = v || '!';"
            "ALTER TABLE items ATTACH PARTITION low FOR VALUES FROM (0) TO (100)"
        )
        ended = await run_sync(service, "items")
        await assert_same(service, source)
        assert "the whole table was read" in ended["notes"][0]
        assert not (await run_sync(service, "items"))["notes"]


async def test_a_table_that_has_no_partitions_yet_is_published_or_refused(
    source: SourceDatabase, make_service: MakeService
) -> None:
    source.sql(PARTITIONS.split(";")[0])
    source.sql("CREATE TABLE other (id int PRIMARY KEY); CREATE PUBLICATION whole FOR TABLE other")
    async with make_service(ITEMS + 'publication = "whole"\n') as service:
        error = await run_sync(service, "items", "failed")
        assert "does not tell of items" in error["detail"]
        source.sql("ALTER PUBLICATION whole SET (publish_via_partition_root = true)")
        source.sql("ALTER PUBLICATION whole ADD TABLE items")
        await run_sync(service, "items")
        source.sql("CREATE TABLE low PARTITION OF items DEFAULT; INSERT INTO items VALUES (1, 'a')")
        await run_sync(service, "items")
        source.sql("UPDATE items SET v = 'b'")
        assert not (await run_sync(service, "items"))["notes"]
        await assert_same(service, source)


async def test_a_sync_with_a_long_name_has_a_publication_that_is_found_again(
    source: SourceDatabase, make_service: MakeService
) -> None:
    name = "x" * 60
    source.sql(TABLE + "ALTER TABLE items OWNER TO reader; INSERT INTO items VALUES (1, 'a')")
    source.sql(f"GRANT CREATE ON DATABASE {source.name} TO reader")
    async with make_service(ITEMS.replace("sync.items", f"sync.{name}")) as service:
        await run_sync(service, name)
        source.sql(f"SELECT pg_drop_replication_slot('{slots(source)[0]}')")
        await run_sync(service, name)
        await assert_same(service, source)


async def test_keys_that_were_changed_again_after_they_were_looked_up_are_taken_once(
    source: SourceDatabase,
    service: DuckDBService,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(capturing, "_KEYS_IN_MEMORY", 500)
    source.sql(TABLE + "INSERT INTO items SELECT i, 'v' FROM generate_series(1, 6000) i")
    publish(source, "items")
    transactions = await open_transactions(service)
    sync = SyncDeclaration(
        name="items", source="platform", table="items", target="items", mode="cdc", key=("id",)
    )
    place = SourceDeclaration(dsn_env="TEST_PLATFORM_DSN", fetch_bytes=65_536)
    state = SyncState("items")
    for number in range(3):
        run = CaptureRun(
            *(service.settings, sync, place, state, transactions, tmp_path / "run"),
            in_this_process,
        )
        state = await run.run(lambda *_: None)
        await assert_same(service, source)
        for half in (1, 2, 1):
            source.sql(f"UPDATE items SET v = v || '{number}' WHERE id % 2 = {half - 1}")
        source.sql(
            "UPDATE items SET id = id + 100000 WHERE id % 5 = 0; DELETE FROM items WHERE id = 7"
        )
        source.sql("UPDATE items SET id = id - 100000 WHERE id > 100200")


async def test_rows_that_policies_hide_are_told_of(
    source: SourceDatabase, make_service: MakeService
) -> None:
    source.sql(TABLE + "INSERT INTO items VALUES (1, 'a'), (2, 'b')")
    publish(source, "items")
    whole = "[sync.whole]\n" + ITEMS.replace("[sync.items]", "").replace("cdc", "full")
    async with make_service(
        ITEMS + whole.replace('target = "items"', 'target = "whole"')
    ) as service:
        for name in ("items", "whole"):
            assert not (await run_sync(service, name))["notes"]
        source.sql("ALTER TABLE items ENABLE ROW LEVEL SECURITY")
        for name in ("items", "whole"):
            assert "row security of items" in " ".join((await run_sync(service, name))["notes"])


async def test_an_index_on_a_generated_column_is_no_reason_to_read_everything(
    source: SourceDatabase, make_service: MakeService
) -> None:
    source.sql(
        "CREATE TABLE items (id bigint PRIMARY KEY, n int, v text GENERATED ALWAYS AS (n::text) STORED);"
        "INSERT INTO items VALUES (1, 1), (2, 2)"
    )
    publish(source, "items")
    async with make_service(ITEMS) as service:
        await run_sync(service, "items")
        source.sql("INSERT INTO items VALUES (3, 3); ANALYZE items; CREATE INDEX ON items (v)")
        assert not (await run_sync(service, "items"))["notes"]
        await assert_same(service, source)
