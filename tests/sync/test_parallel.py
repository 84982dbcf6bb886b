"""A large table, read by several connections: one snapshot, every row once."""

from __future__ import annotations

import threading

import pytest

from tests.postgres import SourceDatabase
from tests.sync.running import SOURCE, MakeService, run_sync

pytestmark = pytest.mark.slow
ROWS = 500_000  # of 100 MB: beyond what one connection reads alone
TABLE = f"""
CREATE TABLE items (id bigint PRIMARY KEY, v bigint, pad text, updated_at timestamptz);
INSERT INTO items
SELECT i, 0, repeat('x', 150), now() - interval '1 day' FROM generate_series(1, {ROWS}) i;
"""
MODES = {
    "full": 'mode = "full"',
    "incremental": 'mode = "incremental"\nkey = ["id"]\ncursor = "updated_at"\ndeletes = "key-diff"',
    "cdc": 'mode = "cdc"\nkey = ["id"]',
}


@pytest.mark.parametrize("mode", MODES)
async def test_a_table_that_changes_is_one_snapshot(
    source: SourceDatabase, make_service: MakeService, mode: str
) -> None:
    source.sql("ALTER ROLE reader REPLICATION")
    source.sql(TABLE)
    source.sql('CREATE PUBLICATION "chronoduck_items" FOR TABLE items (id)')
    stop = threading.Event()

    def change() -> None:
        """Move ones between rows: in every snapshot the sum is 0, and so is the number of new rows."""
        step = 0
        while not stop.is_set():
            step += 1
            low, high = step % ROWS + 1, ROWS - step % ROWS
            source.sql(
                f"BEGIN; UPDATE items SET v = v + 1, updated_at = now() WHERE id = {low};"
                f"UPDATE items SET v = v - 1, updated_at = now() WHERE id = {high};"
                f"INSERT INTO items VALUES ({ROWS + step}, 1, '', now()), ({-step}, -1, '', now());"
                "COMMIT"
            )

    declared = (
        f'[sync.items]\nsource = "platform"\ntable = "items"\ntarget = "items"\n{MODES[mode]}\n'
    )
    async with make_service(declared, SOURCE + "connections = 3\n") as service:
        changing = threading.Thread(target=change)
        changing.start()
        try:
            for _ in range(2):
                await run_sync(service, "items")
                counted = await service.execute_query(
                    "SELECT sum(v), count(*) - count(DISTINCT id), count(*) >= $rows, "
                    "count(*) FILTER (id > $rows) - count(*) FILTER (id < 0) FROM items",
                    {"rows": ROWS},
                )
                assert counted.data == [(0, 0, True, 0)]
        finally:
            stop.set()
            changing.join()
        await run_sync(service, "items")
        facts = "count(*), sum(id), sum(v * id), sum(length(pad))"
        there = source.sql(f"SELECT {facts} FROM items")[0]
        here = (await service.execute_query(f"SELECT {facts} FROM items")).data[0]
        assert [str(each) for each in here] == there
