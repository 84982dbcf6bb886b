"""Whatever is done to a partitioned table and to what tells of it: a run leaves what the source holds.

``CHRONODUCK_SYNC_STORM_STEPS`` sets how many random steps there are (150), ``CHRONODUCK_CRASH_SEED``
which.
"""

from __future__ import annotations

import os
import random
from contextlib import suppress
from pathlib import Path

import pytest

from chronoduck.assembly import DuckDBService
from chronoduck.assembly.capture_run import CaptureRun
from chronoduck.errors import DuckDBException
from chronoduck.sync import SourceDeclaration, SyncDeclaration, capturing, slot
from chronoduck.sync.state import SyncState
from tests.postgres import SourceDatabase, postgres_or_skip
from tests.sync.test_model import in_this_process, open_transactions

pytestmark = pytest.mark.slow
STEPS = int(os.environ.get("CHRONODUCK_SYNC_STORM_STEPS", "150"))
SEED = int(os.environ.get("CHRONODUCK_CRASH_SEED", "20261125"))
SETUP = """
ALTER ROLE reader REPLICATION;
CREATE TABLE items (id bigint PRIMARY KEY, v text, big text) PARTITION BY RANGE (id);
CREATE TABLE low PARTITION OF items FOR VALUES FROM (MINVALUE) TO (1000);
CREATE TABLE high PARTITION OF items FOR VALUES FROM (1000) TO (MAXVALUE);
INSERT INTO items SELECT i, 'v' || i, NULL FROM generate_series(1, 60) i;
CREATE PUBLICATION chronoduck_items FOR TABLE items WITH (publish_via_partition_root = true);
"""
SOME = "id IN (SELECT id FROM items ORDER BY md5(id || '{n}') LIMIT {some})"
ATTACH = "ALTER TABLE items ATTACH PARTITION high FOR VALUES FROM (1000) TO (MAXVALUE)"
DETACH = "ALTER TABLE items DETACH PARTITION high"
PUBLISH = (
    "CREATE PUBLICATION chronoduck_items FOR TABLE items WITH (publish_via_partition_root = {way})"
)
ALL_KINDS = "ALTER PUBLICATION chronoduck_items SET (publish = 'insert, update, delete, truncate')"
CHANGES = {
    "INSERT INTO items SELECT 100000 + {n} * 10 + i, 'i{n}' FROM generate_series(1, 5) i": 6,
    f"UPDATE items SET v = v || '{{n}}' WHERE {SOME}": 6,
    f"UPDATE items SET big = repeat(md5('{{n}}'), 400) WHERE {SOME}": 3,
    f"DELETE FROM items WHERE {SOME}": 4,
    f"UPDATE items SET id = id + 500000 WHERE {SOME} AND id < 500000": 3,
    f"BEGIN; SAVEPOINT a; DELETE FROM items WHERE {SOME}; ROLLBACK TO a;"
    f"UPDATE items SET v = 's{{n}}' WHERE {SOME}; SAVEPOINT b;"
    "INSERT INTO items VALUES (700000 + {n}, 'sub'); RELEASE b; COMMIT": 3,
    "BEGIN; DELETE FROM items; ROLLBACK": 2,
    "BEGIN; DELETE FROM items WHERE id = 1; INSERT INTO items VALUES (1, 'again{n}');"
    "UPDATE items SET id = -1 WHERE id = 1; UPDATE items SET id = 1 WHERE id = 2;"
    "UPDATE items SET id = 2 WHERE id = -1; COMMIT": 3,
    f"BEGIN; UPDATE items SET v = 'prepared{{n}}' WHERE {SOME}; PREPARE TRANSACTION 'p'": 1,
    "COMMIT PREPARED 'p'": 5,
    "TRUNCATE items": 0.5,
    "TRUNCATE high": 0.3,
    "VACUUM FULL low": 0.3,
    "ALTER TABLE items ADD COLUMN c{n} text DEFAULT 'd{n}'": 0.5,
    f"ALTER TABLE items RENAME v TO w; UPDATE items SET w = 'renamed{{n}}' WHERE {SOME};"
    "ALTER TABLE items RENAME w TO v": 0.5,
    "ALTER TABLE low REPLICA IDENTITY FULL": 0.7,
    "ALTER TABLE low REPLICA IDENTITY DEFAULT": 0.7,
    "ALTER TABLE items REPLICA IDENTITY FULL": 0.7,
    "ALTER TABLE items REPLICA IDENTITY DEFAULT": 0.7,
    f"{DETACH}; UPDATE high SET v = 'away{{n}}'; {ATTACH}": 0.5,
    f"{DETACH}; ALTER TABLE high SET UNLOGGED; UPDATE high SET v = 'unlogged{{n}}';"
    f"ALTER TABLE high SET LOGGED; {ATTACH}": 0.5,
    f"CREATE TABLE another (LIKE high INCLUDING ALL); {DETACH}; DROP TABLE high;"
    f"ALTER TABLE another RENAME TO high; INSERT INTO high VALUES (2000, 'other{{n}}'); {ATTACH}": 0.3,
    f"DROP PUBLICATION chronoduck_items; UPDATE items SET v = 'untold{{n}}' WHERE {SOME}; {PUBLISH}": 0.6,
    "ALTER PUBLICATION chronoduck_items SET (publish = 'insert');"
    f"DELETE FROM items WHERE {SOME}; {ALL_KINDS}": 0.5,
    "ALTER PUBLICATION chronoduck_items SET (publish_via_partition_root = {way})": 0.6,
    "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE NOT active": 0.3,
    "ALTER TABLE items RENAME TO elsewhere; UPDATE elsewhere SET v = 'moved{n}' WHERE id = 3;"
    "ALTER TABLE elsewhere RENAME TO items": 0.4,
    "sync": 16,
}
"""Statements and how often; those that wait for the prepared transaction give up."""
MENDING = (
    "ALTER TABLE elsewhere RENAME TO items",
    "ALTER TABLE items RENAME w TO v",
    "ALTER TABLE another RENAME TO high",
    ATTACH,
    PUBLISH.format(way="true"),
    ALL_KINDS,
)
"""Ends what gave up half way; most of it is not needed, and fails."""
HURRY = "SET lock_timeout = '300ms';"
QUERY = "SELECT id::VARCHAR, v, md5(coalesce(big, '')) FROM items ORDER BY items.id"
DECLARED = SyncDeclaration(
    name="items", source="platform", table="items", target="items", mode="cdc", key=("id",)
)


def change(source: SourceDatabase, text: str) -> None:
    try:
        source.sql(HURRY + text)
    except AssertionError:
        for mending in MENDING if "ALTER" in text or "PUBLICATION" in text else ():
            with suppress(AssertionError):
                source.sql(HURRY + mending)


async def test_the_target_is_the_source_after_every_run_of_a_storm(
    service: DuckDBService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    choice = random.Random(SEED)
    monkeypatch.setattr(capturing, "_KEYS_IN_MEMORY", 7)
    monkeypatch.setattr(slot, "_SETTLE_SECONDS", 0.05)
    # A new slot would wait for the prepared transaction.
    place = SourceDeclaration(
        dsn_env="TEST_PLATFORM_DSN", statement_timeout=1.0, fetch_bytes=65_536
    )
    transactions = await open_transactions(service)
    state, compared = SyncState("items"), 0
    with postgres_or_skip() as server:
        server.stop()
        server.start(max_prepared_transactions="1")
        source = server.create_database("storm")
        source.sql(SETUP)
        monkeypatch.setenv("TEST_PLATFORM_DSN", source.dsn)
        told = [f"seed {SEED}"]
        for number in range(STEPS):
            (step,) = choice.choices(list(CHANGES), list(CHANGES.values()))
            if step != "sync" and number < STEPS - 1:
                way = choice.choice(("true", "false"))
                told.append(step.format(n=number, some=choice.randint(1, 9), way=way))
                change(source, told[-1])
                continue
            if number == STEPS - 1:
                change(source, "COMMIT PREPARED 'p'")
            run = CaptureRun(
                *(service.settings, DECLARED, place, state, transactions, tmp_path / "run"),
                in_this_process,
            )
            try:
                state = await run.run(lambda *_: None)
            except DuckDBException as error:
                assert "statement timeout" in error.detail, told
                state = run.state
                if source.sql("SELECT count(*) FROM pg_prepared_xacts") == [["0"]]:
                    # Nothing was in its way but a busy machine.
                    longer = {"statement_timeout": 2 * place.statement_timeout}
                    place = place.model_copy(update=longer)
                continue
            told.append(f"sync: {state.notes}")
            rows = [list(row) for row in (await service.execute_query(QUERY)).data]
            assert rows == source.sql(QUERY), told[-40:]
            compared += 1
    assert compared > STEPS / 20
