"""A table that a foreign key refers to keeps its name, on both engines and on every way in."""

from __future__ import annotations

import duckdb
import pytest

from chronoduck.assembly import DuckDBService
from chronoduck.errors import BatchError, DuckDBQueryError, StatementRefusedError

IS_OLDER = duckdb.__version__.startswith("1.")
SETUP = (
    "CREATE TABLE p (a INTEGER PRIMARY KEY)",
    "CREATE TABLE f (a INTEGER, p INTEGER REFERENCES p (a))",
    "CREATE TABLE free (a INTEGER, rename INTEGER)",
    "ALTER TABLE f ALTER a SET DEFAULT NULL",  # DuckDB 1.5 forgets to refuse after this
)
RENAMES = (
    "ALTER TABLE p RENAME TO p2",
    'alter table main."P" rename to p2',
    "ALTER TABLE IF EXISTS p /* ' */ RENAME -- \n TO p2",
)


@pytest.fixture
async def opened(service: DuckDBService) -> DuckDBService:
    for sql in SETUP:
        await service.execute_query(sql)
    return service


@pytest.mark.parametrize("sql", RENAMES)
async def test_the_rename_is_refused_and_a_checkpoint_ends(opened: DuckDBService, sql: str) -> None:
    with pytest.raises(DuckDBQueryError) as caught:
        await opened.execute_query(sql)
    assert isinstance(caught.value, StatementRefusedError) == IS_OLDER
    if IS_OLDER:
        assert caught.value.rule == "rename"
        assert "main.f" in caught.value.detail
    with pytest.raises(DuckDBQueryError):
        async with opened.transaction() as transaction:
            await transaction.execute(sql)
    with pytest.raises(BatchError):
        await opened.execute_batch([sql])
    await opened.execute_query("CHECKPOINT", timeout=20)
    assert (await opened.execute_query("SELECT count(*) FROM p")).data == [(0,)]


async def test_other_renames_go_through(opened: DuckDBService) -> None:
    await opened.execute_query("ALTER TABLE free RENAME COLUMN rename TO named")
    await opened.execute_query("ALTER TABLE free RENAME TO freed")
    await opened.execute_query("SELECT 'ALTER TABLE p RENAME TO q' AS rename FROM freed")
    await opened.execute_query("CHECKPOINT", timeout=20)
