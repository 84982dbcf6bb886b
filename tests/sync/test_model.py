"""Whatever is done to the source, in whatever pieces it is read: the target is the source."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chronoduck.assembly import DuckDBService
from chronoduck.assembly.capture_run import CaptureRun
from chronoduck.assembly.sync_run import SyncRun, SyncTransactions
from chronoduck.settings import Settings
from chronoduck.sync import SourceDeclaration, SyncDeclaration
from chronoduck.sync.state import SYNC_STATES, SyncState
from chronoduck.tasks.work import TASKS
from tests.postgres import SourceDatabase

pytestmark = pytest.mark.slow
START = datetime(2024, 1, 1, tzinfo=UTC)
OVERLAP = 60
DECLARED = SyncDeclaration(
    name="items",
    source="platform",
    table="items",
    target="items",
    key=("id",),
    cursor="updated_at",
    overlap=OVERLAP,
    deletes="key-diff",
)
ids = st.integers(0, 12)
late = st.integers(0, OVERLAP - 1)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("put"), ids, late),
        st.tuples(st.just("delete"), ids, st.just(0)),
        st.tuples(st.just("wait"), st.integers(0, 200), st.just(0)),
        st.tuples(st.just("sync"), st.sampled_from([1000, 2000]), st.just(0)),
    ),
    max_size=25,
)


async def in_this_process(
    settings: Settings, task: str, relay: Callable[..., Any], **arguments: Any
) -> dict[str, Any]:
    """Read in a thread: a process for each run would take the time of thirty."""
    return await asyncio.to_thread(TASKS[task], settings, lambda *_: None, **arguments)


async def open_transactions(service: DuckDBService) -> SyncTransactions:
    """Return what runs a sync's transactions, with the state's table."""
    parts = await service.parts()
    transactions = SyncTransactions(parts.runner, parts.queries)
    await transactions.run(SYNC_STATES.prepare)
    return transactions


def statements(changes: list[tuple[str, int, int]]) -> list[str]:
    """Return each stretch between two syncs as SQL; the clock of the source runs on 'wait'."""
    now, parts = START, [""]
    for number, (what, first, second) in enumerate(changes):
        if what == "put":
            at = now - timedelta(seconds=second)
            parts[-1] += (
                f"INSERT INTO items VALUES ({first}, {number}, '{at}') ON CONFLICT (id) DO UPDATE "
                f"SET v = excluded.v, updated_at = excluded.updated_at;"
            )
        elif what == "delete":
            parts[-1] += f"DELETE FROM items WHERE id = {first};"
        elif what == "wait":
            now += timedelta(seconds=first)
        else:
            parts.append("")
    return parts


captured = st.lists(
    st.one_of(
        st.tuples(st.just("put"), ids, ids),
        st.tuples(st.just("delete"), ids, ids),
        st.tuples(st.just("rekey"), ids, ids),
        st.tuples(st.just("truncate"), st.just(0), st.just(0)),
        st.tuples(st.just("sync"), st.just(0), st.just(0)),
    ),
    max_size=25,
)
CHANGES = {
    "put": "INSERT INTO items VALUES ({0}, {2}) ON CONFLICT (id) DO UPDATE SET v = excluded.v",
    "delete": "DELETE FROM items WHERE id = {0}",
    "rekey": "UPDATE items SET id = {1} WHERE id = {0} AND NOT EXISTS (SELECT FROM items WHERE id = {1})",
    "truncate": "TRUNCATE items",
}


async def test_the_target_is_the_source_after_every_run(
    source: SourceDatabase, service: DuckDBService, tmp_path: Path
) -> None:
    source.sql("CREATE TABLE items (id int PRIMARY KEY, v int, updated_at timestamptz)")
    transactions = await open_transactions(service)
    declared = SourceDeclaration(dsn_env="TEST_PLATFORM_DSN")
    loop = asyncio.get_running_loop()

    async def check(changes: list[tuple[str, int, int]]) -> None:
        source.sql("TRUNCATE items")
        await service.execute_query("DROP TABLE IF EXISTS items")
        state = SyncState("items")
        for part in statements(changes):
            source.sql(part or "SELECT 1")
            run = SyncRun(
                service.settings,
                DECLARED,
                declared,
                state,
                transactions,
                tmp_path / "run",
                in_this_process,
            )
            state = await run.run(lambda *_: None)
            query = "SELECT id::VARCHAR, v::VARCHAR FROM items ORDER BY id"
            rows = [list(row) for row in (await service.execute_query(query)).data]
            assert rows == source.sql("SELECT id, v FROM items ORDER BY id")

    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
    @given(steps)
    def run_example(changes: list[tuple[str, int, int]]) -> None:
        asyncio.run_coroutine_threadsafe(check(changes), loop).result(120)

    await asyncio.to_thread(run_example)


async def test_the_target_follows_the_log_of_the_source(
    source: SourceDatabase, service: DuckDBService, tmp_path: Path
) -> None:
    source.sql("CREATE TABLE items (id int PRIMARY KEY, v int); ALTER ROLE reader REPLICATION")
    source.sql("CREATE PUBLICATION chronoduck_items FOR TABLE items")
    transactions = await open_transactions(service)
    sync = SyncDeclaration(
        name="items", source="platform", table="items", target="items", mode="cdc", key=("id",)
    )
    place = SourceDeclaration(dsn_env="TEST_PLATFORM_DSN")
    loop = asyncio.get_running_loop()
    state = SyncState("items")

    async def check(changes: list[tuple[str, int, int]]) -> None:
        nonlocal state
        for number, (what, first, second) in enumerate([*changes, ("sync", 0, 0)]):
            if what != "sync":
                source.sql(CHANGES[what].format(first, second, number))
                continue
            run = CaptureRun(
                *(service.settings, sync, place, state, transactions, tmp_path / "run"),
                in_this_process,
            )
            state = await run.run(lambda *_: None)
            query = "SELECT id::VARCHAR, v::VARCHAR FROM items ORDER BY items.id"
            rows = [list(row) for row in (await service.execute_query(query)).data]
            assert rows == source.sql("SELECT id, v FROM items ORDER BY id")

    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
    @given(captured)
    def run_example(changes: list[tuple[str, int, int]]) -> None:
        asyncio.run_coroutine_threadsafe(check(changes), loop).result(120)

    await asyncio.to_thread(run_example)
