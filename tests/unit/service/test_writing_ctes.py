"""A CTE that writes is a write everywhere: roles, gate, disk floor, checkpoints, exports."""

from __future__ import annotations

from collections.abc import Callable

import duckdb
import pytest

from chronoduck.assembly import DuckDBService
from chronoduck.errors import DiskFullError, DuckDBException, StatementRefusedError
from chronoduck.principals import Role
from chronoduck.settings import Settings
from tests.security.roles import caller_of

pytestmark = pytest.mark.skipif(duckdb.__version__ < "2", reason="CTEs write from DuckDB 2.0 on")
DELETES = "WITH d AS (DELETE FROM t WHERE a < 3 RETURNING a) SELECT a FROM d ORDER BY a"


@pytest.fixture
async def table(service: DuckDBService) -> DuckDBService:
    await service.execute_query("CREATE TABLE t AS SELECT range AS a FROM range(10)")
    return service


@pytest.mark.parametrize("role", [Role.VIEWER, Role.ANALYST])
async def test_readers_do_not_run_it(table: DuckDBService, role: Role) -> None:
    with pytest.raises(StatementRefusedError):
        await table.execute_query(DELETES, caller=caller_of(role))
    assert (await table.execute_query("SELECT count(*) FROM t")).data == [(10,)]


async def test_writers_run_it_and_it_counts_as_a_commit(table: DuckDBService) -> None:
    checkpointer = (await table.parts()).checkpointer
    before = checkpointer.log_state().commits
    result = await table.execute_query(DELETES, caller=caller_of(Role.WRITER))
    assert result.data == [(0,), (1,), (2,)]
    assert (await table.execute_query("SELECT count(*) FROM t")).data == [(7,)]
    assert checkpointer.log_state().commits == before + 1


async def test_it_waits_until_writers_may_enter(table: DuckDBService) -> None:
    gate = (await table.parts()).compaction._gate
    async with gate.closed(5.0):
        with pytest.raises(DuckDBException):
            await table.execute_query(DELETES, timeout=0.3)
        assert (await table.execute_query("SELECT count(*) FROM t")).data == [(10,)]
    assert (await table.execute_query("SELECT count(*) FROM t")).data == [(10,)]


async def test_below_the_disk_floor_it_is_refused(make_settings: Callable[..., Settings]) -> None:
    async with DuckDBService(make_settings(disk_floor="900TB")) as service:
        with pytest.raises(DiskFullError):
            await service.execute_query(DELETES)


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM t WHERE a IN (SELECT a AS updated_at FROM t) AND 'insert copy' <> ''",
        "DROP TABLE t /* created with an INSERT */",
        "TRUNCATE t",
    ],
)
async def test_what_frees_space_runs_below_the_floor(table: DuckDBService, sql: str) -> None:
    (await table.parts()).guard.is_refusing = True
    await table.execute_query(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "WITH x AS (INSERT INTO t SELECT range FROM range(9) RETURNING 1) DELETE FROM t WHERE a = 1",
        "WITH x AS (UPDATE t SET a = a RETURNING 1) DELETE FROM t",
        "/* delete */ WITH x AS (inSERT INTO t VALUES (1) RETURNING a) DELETE FROM t USING x",
    ],
)
async def test_a_delete_that_also_writes_is_none_below_the_floor(
    table: DuckDBService, sql: str
) -> None:
    guard = (await table.parts()).guard
    guard.is_refusing = True
    with pytest.raises(DiskFullError):
        await table.execute_query(sql)
    assert (await table.execute_query("DELETE FROM t WHERE a = 1")).data == [(1,)]
