"""Scopes while the service lives: tables change, instances are reopened, many scopes come and go."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable

import pytest

from chronoduck.assembly import DuckDBService
from chronoduck.engine.healing import HealReason
from chronoduck.engine.scopes import registry
from chronoduck.errors import (
    DuckDBException,
    DuckDBQueryError,
    InvalidRequestError,
    PermissionDeniedError,
    StatementRefusedError,
)
from chronoduck.principals import Principal, Role, Scope, TableGrant
from chronoduck.service.records import Caller
from chronoduck.settings import Settings


def narrowed(
    *tables: TableGrant, schemas: tuple[str, ...] = (), role: Role = Role.ANALYST
) -> Caller:
    return Caller("n", principal=Principal("n", role, "key:n", scope=Scope(tables, schemas)))


FILTERED = narrowed(TableGrant("t", row_filter="k = 'a'"))


@pytest.fixture
async def filled(service: DuckDBService) -> DuckDBService:
    await service.execute_batch(
        [
            "CREATE TABLE t (k VARCHAR, v INTEGER)",
            "INSERT INTO t VALUES ('a', 1), ('a', 2), ('b', 100)",
            "CREATE TABLE other AS SELECT 'hidden' AS x",
        ]
    )
    return service


async def rows(
    service: DuckDBService, sql: str, caller: Caller = FILTERED
) -> list[tuple[object, ...]]:
    return (await service.execute_query(sql, caller=caller)).data


async def databases(service: DuckDBService) -> list[str]:
    found = await service.execute_query("SELECT database_name FROM duckdb_databases()")
    return [name for (name,) in found.data if name.startswith("chronoduck_scope_")]


async def test_columns_follow_the_table(filled: DuckDBService) -> None:
    assert await rows(filled, "SELECT * FROM t ORDER BY v") == [("a", 1), ("a", 2)]
    for change, expected in [
        ("ALTER TABLE t ADD COLUMN w INTEGER DEFAULT 7", ("a", 1, 7)),
        ("ALTER TABLE t RENAME COLUMN w TO x", ("a", 1, 7)),
        ("ALTER TABLE t ALTER x TYPE VARCHAR", ("a", 1, "7")),
        ("ALTER TABLE t DROP COLUMN v", ("a", "7")),
    ]:
        await filled.execute_query(change)
        assert (await rows(filled, "SELECT * FROM t"))[0] == expected
    assert [row[0] for row in await rows(filled, "DESCRIBE t")] == ["k", "x"]


async def test_a_table_dropped_and_made_anew_shows_what_the_grant_says_or_nothing(
    filled: DuckDBService,
) -> None:
    assert len(await rows(filled, "FROM t")) == 2
    await filled.execute_query("DROP TABLE t")
    with pytest.raises(DuckDBQueryError, match="t does not exist"):
        await rows(filled, "FROM t")
    await filled.execute_query("CREATE TABLE t AS SELECT 'secret' AS other_column")
    with pytest.raises(DuckDBQueryError, match="t does not exist"):
        await rows(filled, "FROM t")
    await filled.execute_query("CREATE OR REPLACE TABLE t AS SELECT 5 AS k")
    assert await rows(filled, "FROM t") == []
    await filled.execute_query("CREATE OR REPLACE TABLE t AS SELECT 'a' AS k, 'new' AS z")
    assert await rows(filled, "FROM t") == [("a", "new")]


async def test_tables_may_change_by_batches_transactions_and_behind_the_services_back(
    filled: DuckDBService,
) -> None:
    caller = narrowed(schemas=("main",))
    assert await rows(filled, "SHOW TABLES", caller) == [("other",), ("t",)]
    await filled.execute_batch(["CREATE TABLE c1 (i INTEGER)", "CREATE TABLE c2 (i INTEGER)"])
    async with filled.transaction() as opened:
        await opened.execute("CREATE TABLE c3 (i INTEGER)")
        with pytest.raises(DuckDBQueryError, match="c3 does not exist"):
            await rows(filled, "FROM c3", caller)
    names = [name for (name,) in await rows(filled, "SHOW TABLES", caller)]
    assert names == ["c1", "c2", "c3", "other", "t"]
    raw = filled._parts.instance.cursor()  # type: ignore[union-attr]
    raw.execute(
        "CREATE TABLE c4 AS SELECT 4 AS i; DROP TABLE c1; CREATE OR REPLACE TABLE c2 (z INT)"
    )
    raw.close()
    assert await rows(filled, "FROM c4", caller) == [(4,)]
    with pytest.raises(DuckDBQueryError, match="c1 does not exist"):
        await rows(filled, "FROM c1", caller)
    assert await rows(filled, "SELECT z FROM c2", caller) == []


async def test_a_connection_sees_the_whole_database_again_after_a_narrowed_statement(
    make_settings: Callable[..., Settings],
) -> None:
    async with DuckDBService(make_settings(worker_threads=1, max_connections=1)) as service:
        await service.execute_batch(["CREATE TABLE t AS SELECT 'a' AS k", "CREATE TABLE o (i INT)"])
        for _ in range(5):
            assert await rows(service, "SELECT k FROM t") == [("a",)]
            assert (await service.execute_query("SELECT count(*) FROM o")).data == [(0,)]
            assert (await service.execute_query("SELECT current_database()")).data == [("test",)]
            with pytest.raises(DuckDBQueryError):
                await rows(service, "SELECT * FROM o")
        await service.execute_query("CREATE TABLE kept (i INTEGER)")
        assert (await service.execute_query("SHOW TABLES")).row_count == 3


async def test_narrowed_and_other_statements_side_by_side_never_mix(filled: DuckDBService) -> None:
    async def narrow(count: int) -> None:
        for _ in range(count):
            assert await rows(filled, "SELECT sum(v) FROM t") == [(3,)]

    async def whole(count: int) -> None:
        for _ in range(count):
            assert (await filled.execute_query("SELECT sum(v) FROM t")).data == [(103,)]

    async def change(count: int) -> None:
        for number in range(count):
            await filled.execute_query(f"CREATE OR REPLACE TABLE n{number % 3} AS SELECT 1 AS i")

    await asyncio.gather(
        *(narrow(50) for _ in range(3)), *(whole(50) for _ in range(3)), change(40)
    )
    assert await filled.connection_pool.drain(5)


async def test_a_narrowed_principal_that_could_write_is_refused(filled: DuckDBService) -> None:
    for role in (Role.WRITER, Role.ADMIN):
        caller = narrowed(TableGrant("t"), role=role)
        with pytest.raises(PermissionDeniedError):
            await rows(filled, "SELECT 1", caller)
        with pytest.raises(PermissionDeniedError):
            async with filled.transaction(caller=caller):
                pass
    with pytest.raises(StatementRefusedError, match="may not run INSERT"):
        await rows(filled, "INSERT INTO t VALUES ('a', 3)")


async def test_an_empty_scope_sees_nothing(filled: DuckDBService) -> None:
    nobody = narrowed()
    assert await rows(filled, "SHOW TABLES", nobody) == []
    assert await rows(filled, "SELECT 1", nobody) == [(1,)]
    with pytest.raises(DuckDBQueryError):
        await rows(filled, "FROM t", nobody)


async def test_checking_a_scope_tells_everything_that_is_wrong(filled: DuckDBService) -> None:
    await (await filled.parts()).check_scope(FILTERED.principal.scope or Scope())
    wrong = Scope((TableGrant("nothing"), TableGrant("t", row_filter="z = 1")), ("nowhere",))
    with pytest.raises(InvalidRequestError) as caught:
        await (await filled.parts()).check_scope(wrong)
    for part in ("main.nothing", "no column z", "nowhere"):
        assert part in str(caught.value)
    assert await databases(filled) == []


async def test_scopes_are_made_anew_when_the_instance_was(filled: DuckDBService) -> None:
    assert await rows(filled, "SELECT sum(v) FROM t") == [(3,)]
    parts = filled._parts
    assert parts is not None
    parts.access.healer.reopen(parts.instance.generation, HealReason.FILE_GROWN)
    assert await rows(filled, "SELECT sum(v) FROM t") == [(3,)]
    assert parts.instance.generation == 2


async def test_compaction_and_checkpoints_go_on_with_scopes_attached(filled: DuckDBService) -> None:
    assert await rows(filled, "SELECT sum(v) FROM t") == [(3,)]
    await filled.execute_query("CHECKPOINT")
    job = await (await filled.parts()).compaction.begin()
    jobs = (await filled.parts()).jobs
    while jobs.get(job.id).as_dict()["state"] == "running":
        assert await rows(filled, "SELECT sum(v) FROM t") == [(3,)]
        await asyncio.sleep(0.01)
    assert jobs.get(job.id).as_dict()["state"] == "succeeded"
    assert await rows(filled, "SELECT sum(v) FROM t") == [(3,)]


async def test_idle_scopes_beyond_the_bound_are_detached(
    filled: DuckDBService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "_MAX_ATTACHED", 4)
    for number in range(20):
        caller = narrowed(TableGrant("t", row_filter=f"v > {number}"))
        found = await rows(filled, "SELECT count(*) FROM t", caller)
        assert found == [((number < 1) + (number < 2) + (number < 100),)]
    assert len(await databases(filled)) <= 6


async def test_a_replaced_catalogue_stays_while_a_stream_reads_it(filled: DuckDBService) -> None:
    await filled.execute_query("INSERT INTO t SELECT 'a', 0 FROM range(200000)")
    stream = filled.stream("SELECT k, v FROM t", caller=FILTERED)
    first = await anext(stream)
    await filled.execute_query("ALTER TABLE t ADD COLUMN z INTEGER")
    assert len((await rows(filled, "FROM t LIMIT 1"))[0]) == 3
    total = first.num_rows + sum([batch.num_rows async for batch in stream])
    assert total == 200_002


async def test_nobody_reaches_into_a_scope(filled: DuckDBService) -> None:
    await rows(filled, "FROM t")
    (catalog,) = await databases(filled)
    for sql in (
        f"CREATE OR REPLACE VIEW {catalog}.main.t AS SELECT * FROM test.main.t",
        f'CREATE TABLE "{catalog.upper()}".main.x (i INTEGER)',
        f"DROP VIEW {catalog}.main.t",
        f"USE {catalog}",
    ):
        with pytest.raises(StatementRefusedError):
            await filled.execute_query(sql)


async def test_a_file_is_not_loaded_into_a_scope(filled: DuckDBService) -> None:
    await rows(filled, "FROM t")
    (catalog,) = await databases(filled)
    loader = (await filled.parts()).loader
    with pytest.raises(DuckDBException, match=f"{catalog} does not exist"):
        async for _ in loader.load(
            io.BytesIO(b'{"x": 1}'), name="x.json", table=f"{catalog}.planted"
        ):
            pass
    assert await rows(filled, "SHOW TABLES") == [("t",)]


async def test_a_view_that_takes_a_tables_name_unnoticed_is_not_seen_through(
    filled: DuckDBService,
) -> None:
    """Between the commit of others and the news of it, the scope still holds the table's view."""
    whole = narrowed(TableGrant("t"))
    assert await rows(filled, "SELECT count(*) FROM t") == [(2,)]
    assert await rows(filled, "SELECT count(*) FROM t", whole) == [(3,)]
    assert filled._parts is not None
    with filled._parts.instance.cursor() as raw:
        raw.execute("DROP TABLE t")
        raw.execute("CREATE VIEW t AS SELECT 'a' AS k, length(x)::INTEGER AS v FROM other")
    for caller in (FILTERED, whole):
        with pytest.raises(DuckDBQueryError, match="t does not exist"):
            await rows(filled, "FROM t", caller)


async def test_a_table_with_a_column_called_rowid_is_seen(filled: DuckDBService) -> None:
    await filled.execute_query("CREATE TABLE own AS SELECT 'a' AS k, 5 AS \"RowId\"")
    for caller in (narrowed(TableGrant("own")), narrowed(TableGrant("own", row_filter="k = 'a'"))):
        assert await rows(filled, "FROM own", caller) == [("a", 5)]


async def test_macros_types_and_temporary_objects_of_others_are_out_of_reach(
    filled: DuckDBService,
) -> None:
    await filled.execute_batch(
        ["CREATE MACRO peek() AS (SELECT max(x) FROM other)", "CREATE TYPE kind AS ENUM ('hidden')"]
    )
    raw = filled._parts.instance.cursor()  # type: ignore[union-attr]
    parts = filled._parts
    assert parts is not None
    attached = parts.access.scopes.enter(raw, FILTERED.principal.scope or Scope())
    for sql in ("SELECT peek()", "SELECT enum_range(NULL::kind)", "FROM other", "FROM main.other"):
        with pytest.raises(Exception, match="does not exist"):  # the catalogue alone, unjudged
            raw.execute(sql)
    raw.close()
    parts.access.scopes.left(attached)


@pytest.mark.parametrize("is_empty", [True, False])
@pytest.mark.parametrize("name", ["main", "sales", "SALES", "t", "main.sales"])
async def test_a_database_file_of_any_name_leaks_nothing(
    make_settings: Callable[..., Settings], name: str, is_empty: bool
) -> None:
    path = make_settings().database_path.with_name(f"{name}.db")
    async with DuckDBService(make_settings(database_path=path)) as service:
        await service.execute_batch(
            [
                "CREATE SCHEMA sales",
                "CREATE TABLE t AS SELECT unnest(['a', 'CANARY']) AS k",
                "CREATE TABLE hidden AS SELECT 'CANARY' AS x",
            ]
        )
        ((catalog,),) = (await service.execute_query("SELECT current_database()")).data
        await service.execute_query(
            "CREATE TABLE orders AS SELECT 'CANARY' AS x"
            if is_empty
            else f"CREATE TABLE \"{catalog}\".sales.orders AS SELECT 'ok' AS x"
        )
        caller = narrowed(TableGrant("t", row_filter="k = 'a'"), schemas=("sales",))
        assert await rows(service, "SELECT k FROM t", caller) == [("a",)]
        for place in (
            "main",
            name,
            catalog,
            f"{catalog}.main",
            "sales",
            f"{name}.main",
            f'"{name}"',
            "main.main",
        ):
            for table in ("t", "hidden", "orders"):
                try:
                    found = await rows(service, f"SELECT * FROM {place}.{table}", caller)
                except DuckDBException as error:
                    assert "CANARY" not in str(error)
                else:
                    assert found in ([("a",)], [("ok",)]), (place, table)
