"""``chronoduck.query_log`` and the statistics of statements, over HTTP: for admins, whole, masked."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from typing import Any

import httpx2
import pyarrow as pa
import pytest

from chronoduck.assembly import DuckDBService
from chronoduck.errors import NotFoundError, StatementRefusedError
from chronoduck.principals import Principal, Role, Scope, TableGrant
from chronoduck.service.records import Caller
from chronoduck.settings import Settings

LOG = "SELECT * FROM chronoduck.query_log"
READS = (
    LOG,
    "FROM chronoduck.query_log",
    'SELECT count(*) FROM "Chronoduck" . "QUERY_LOG"',
    "FROM chronoduck.main.query_log",
    "DESCRIBE chronoduck.query_log",
    "SUMMARIZE chronoduck.query_log",
    "WITH x AS (FROM chronoduck.query_log) FROM x",
    "SELECT (SELECT max(statement) FROM chronoduck./* */query_log)",
    "SELECT 1 UNION ALL SELECT count(*) FROM chronoduck.query_log",
)


async def ask(client: httpx2.AsyncClient, sql: str, **more: Any) -> httpx2.Response:
    return await client.post("/query", json={"query": sql, **more})


async def rows(client: httpx2.AsyncClient, service: DuckDBService, sql: str) -> list[list[Any]]:
    """The answer, once everything before is in the log."""
    await service._statistics.flush()
    answer = await ask(client, sql)
    assert answer.status_code == 200, answer.text
    data: list[list[Any]] = answer.json()["data"]
    return data


async def test_every_statement_is_a_row(
    admin: httpx2.AsyncClient,
    app_service: DuckDBService,
    log_in: Callable[..., httpx2.AsyncClient],
) -> None:
    ann = log_in("ann")
    await ask(ann, "SELECT 'a secret of ann' AS s FROM range(3)")
    await ask(ann, "SELECT nothing FROM nowhere")
    await ask(ann, "CREATE TABLE t (a INT)")
    await ann.get("/templates/top-domains")
    found = await rows(
        admin,
        app_service,
        "SELECT principal, user_name, role, kind, template, statement, outcome, error_code, "
        "error_type, rule, row_count, result_bytes > 0, execution_seconds >= engine_seconds, "
        "length(request_id) > 0 "
        "FROM chronoduck.query_log WHERE user_name = 'ann' ORDER BY time",
    )
    whom = [ann.headers["X-Key-Id"], "ann", "analyst"]
    assert found[:3] == [
        [
            *(*whom, "select", None, "select ? as s from range(?)"),
            *("ok", None, None, None, 3, True, True, True),
        ],
        [
            *(*whom, "select", None, "select nothing from nowhere"),
            *("user_error", "query_error", "catalog", None, 0, False, True, True),
        ],
        [
            *(*whom, "invalid", None, "create table t(a int)"),
            *("user_error", "statement_refused", None, "statement-kind", 0, False, True, True),
        ],
    ]
    assert found[3][4] == "top-domains"


@pytest.mark.parametrize("sql", READS)
@pytest.mark.parametrize("role", [Role.VIEWER, Role.ANALYST, Role.WRITER])
async def test_only_an_admin_reads_it(
    admin: httpx2.AsyncClient, log_in: Callable[..., httpx2.AsyncClient], role: Role, sql: str
) -> None:
    answer = await ask(log_in("ann", role), sql)
    assert answer.status_code == 403
    if role is not Role.VIEWER:
        assert answer.json()["code"] == "statement_refused"
        assert answer.json()["rule"] == "query-log"
        assert "GET me" in answer.json()["hint"]
    assert (await ask(admin, sql)).status_code == 200


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO chronoduck.query_log SELECT * FROM chronoduck.query_log",
        "DELETE FROM chronoduck.query_log",
        "UPDATE chronoduck.query_log SET statement = ''",
        "DROP TABLE chronoduck.query_log",
        "ALTER TABLE chronoduck.query_log ADD COLUMN x INT",
        "CREATE VIEW v AS SELECT * FROM chronoduck.query_log",
        "CREATE TABLE copy_of_it AS FROM chronoduck.query_log",
    ],
)
async def test_nobody_writes_it_or_hands_it_on(
    admin: httpx2.AsyncClient, app_service: DuckDBService, sql: str
) -> None:
    answer = await ask(admin, sql)
    assert answer.status_code == 403
    assert answer.json()["rule"] == "query-log"
    with pytest.raises(StatementRefusedError, match="only read"):
        await app_service.execute_query(sql)


async def test_a_narrowed_key_does_not_read_it_even_if_it_is_an_admins(
    admin: httpx2.AsyncClient, app_service: DuckDBService
) -> None:
    await ask(admin, "CREATE TABLE mine (a INT)")
    scope = Scope(tables=(TableGrant("mine"),))
    caller = Caller("half", principal=Principal("half", Role.ADMIN, "key:half", scope=scope))
    for sql in READS:
        with pytest.raises(StatementRefusedError) as raised:
            await app_service.execute_query(sql, caller=caller)
        assert raised.value.rule == "query-log"


async def test_a_batch_or_transaction_does_not_read_it(
    admin: httpx2.AsyncClient, app_service: DuckDBService
) -> None:
    answer = await admin.post("/batch", json={"queries": ["SELECT 1", LOG]})
    assert (answer.status_code, answer.json()["statement_index"]) == (400, 1)
    async with app_service.transaction() as transaction:
        await transaction.execute("SELECT 1")
        with pytest.raises(StatementRefusedError, match="batch or transaction"):
            await transaction.execute(LOG)
        await transaction.execute("SELECT 2")


async def test_users_tables_are_not_there_and_its_name_in_a_text_means_nothing(
    admin: httpx2.AsyncClient,
) -> None:
    await ask(admin, "CREATE TABLE mine (a INT)")
    answer = await ask(admin, "SELECT * FROM chronoduck.query_log JOIN mine ON true")
    assert answer.status_code == 400
    assert "mine" in answer.json()["detail"]
    answer = await ask(admin, "SELECT 'chronoduck.query_log' -- chronoduck.query_log")
    assert answer.json()["data"] == [["chronoduck.query_log"]]


async def test_it_is_in_no_list_of_tables(
    admin: httpx2.AsyncClient, log_in: Callable[..., httpx2.AsyncClient]
) -> None:
    for client in (admin, log_in("ann")):
        for sql in (
            "SELECT * FROM information_schema.tables",
            "SELECT database_name, table_name FROM duckdb_tables()",
            "SHOW ALL TABLES",
            "SELECT database_name, column_name FROM duckdb_columns() WHERE NOT internal",
        ):
            answer = await ask(client, sql)
            assert answer.status_code == 200, answer.text
            assert "query_log" not in answer.text
            assert "fingerprint" not in answer.text
    assert "query_log" not in (await admin.get("/tables")).text


async def test_every_format_and_a_plan(
    admin: httpx2.AsyncClient, app_service: DuckDBService
) -> None:
    for number in range(5):
        await ask(admin, f"SELECT {number}")
    await app_service._statistics.flush()
    sql = "SELECT statement FROM chronoduck.query_log WHERE statement = 'select ?'"
    answer = await ask(admin, sql, max_rows=3)
    assert (answer.json()["row_count"], answer.json()["truncated"]) == (3, True)
    answer = await admin.post("/query?format=arrow", json={"query": sql})
    assert pa.ipc.open_stream(io.BytesIO(answer.content)).read_all().num_rows == 5
    answer = await admin.post("/query?format=csv", json={"query": sql})
    assert answer.text.count("select ?") == 5
    answer = await admin.post("/explain", json={"query": LOG, "analyze": True})
    assert "query_log" in answer.text
    counted = "SELECT count(*) FROM chronoduck.query_log WHERE kind = $k"
    answer = await ask(admin, counted, params={"k": "select"})
    assert answer.json()["data"][0][0] >= 5
    answer = await ask(admin, "SELECT no_such_column FROM chronoduck.query_log")
    assert (answer.status_code, answer.json()["code"]) == (400, "query_error")
    batches = [batch async for batch in app_service.stream(sql)]
    assert sum(batch.num_rows for batch in batches) == 5


async def test_a_job_reads_it_too(admin: httpx2.AsyncClient, app_service: DuckDBService) -> None:
    await ask(admin, "SELECT 1")
    await app_service._statistics.flush()
    job = (await admin.post("/jobs", json={"query": "FROM chronoduck.query_log"})).json()
    while (state := (await admin.get(f"/jobs/{job['id']}")).json())["state"] == "running":
        await asyncio.sleep(0.01)
    assert state["state"] == "succeeded", state
    assert "select ?" in (await admin.get(f"/jobs/{job['id']}/result")).text


async def test_without_a_log_there_is_none(make_settings: Callable[..., Settings]) -> None:
    settings = make_settings(query_log={"enabled": False})
    async with DuckDBService(settings) as service:
        await service.execute_query("SELECT 1")
        with pytest.raises(NotFoundError, match="no query log"):
            await service.execute_query(LOG)
        assert [each["count"] for each in await service.get_statement_statistics()] == [1, 1]
        assert (await service.get_statistics())["query_log"]["enabled"] is False
    assert not settings.query_log_path.parent.exists()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("normalized", ["select ?, token"]),
        ("masked", ["SELECT '***', token FROM"]),
        ("none", []),
    ],
)
async def test_how_much_of_the_texts_is_kept(
    make_settings: Callable[..., Settings], text: str, shown: list[str]
) -> None:
    async with DuckDBService(make_settings(query_log={"text": text})) as service:
        await service.execute_query("SELECT 'hunter2', token FROM (SELECT 1 AS token)")
        await service._statistics.flush()
        result = await service.execute_query("SELECT statement FROM chronoduck.query_log")
        texts = [row[0] for row in result.data if row[0] is not None]
        assert len(texts) == len(shown)
        for kept, beginning in zip(texts, shown, strict=True):
            assert kept.startswith(beginning)
            assert "hunter2" not in kept


async def test_the_most_expensive_statements(
    admin: httpx2.AsyncClient, log_in: Callable[..., httpx2.AsyncClient]
) -> None:
    for number in range(3):
        await ask(admin, f"SELECT sum(range) FROM range(2000000 + {number})")
    await ask(admin, "SELECT range FROM range(500)")
    await ask(admin, "SELECT nonsense")
    first = (await admin.get("/statistics/statements?limit=1")).json()
    assert first[0]["statement"] == "select sum(range) from range(? + ?)"
    assert (first[0]["count"], first[0]["rows"], first[0]["errors"]) == (3, 3, 0)
    assert first[0]["total_time"] >= first[0]["max_time"] >= first[0]["mean_time"] > 0
    by_rows = (await admin.get("/statistics/statements?order=rows&limit=1")).json()
    assert (by_rows[0]["statement"], by_rows[0]["rows"]) == ("select range from range(?)", 500)
    by_errors = (await admin.get("/statistics/statements?order=errors&limit=1")).json()
    assert (by_errors[0]["statement"], by_errors[0]["errors"]) == ("select nonsense", 1)
    assert (await admin.get("/statistics/statements?order=beauty")).status_code == 422
    assert (await log_in("ann").get("/statistics/statements")).status_code == 403


async def test_percentiles_and_windows_in_the_statistics(
    admin: httpx2.AsyncClient, log_in: Callable[..., httpx2.AsyncClient]
) -> None:
    await ask(admin, "SELECT 1")
    await ask(admin, "SELEC")
    await admin.get("/templates/top-domains")
    report = (await admin.get("/statistics")).json()
    select = report["latency"]["by_kind"]["select"]
    assert 0 < select["p50"] <= select["p90"] <= select["p99"] <= select["max"]
    for window in ("1h", "24h", "7d"):
        counts = report["query_analysis"]["windows"][window]
        assert counts["total_queries"] == report["query_analysis"]["total_queries"]
        assert counts["user_errors"] >= 1
        assert counts["success_rate"] == 100.0
    ann = log_in("ann")
    assert "by_template" in report["latency"]
    assert "by_template" not in (await ann.get("/statistics")).json()["latency"]


async def test_bytes_and_the_logs_own_counters_are_metrics(
    admin: httpx2.AsyncClient, app_service: DuckDBService
) -> None:
    before = await admin.put("/query")
    assert before.status_code == 405
    answer = await ask(admin, "SELECT repeat('x', 10000)")
    await app_service._statistics.flush()
    page, _ = await app_service.render_metrics("", show_versions=False)
    figures = dict(line.rsplit(" ", 1) for line in page.decode().splitlines() if line[0] != "#")
    assert float(figures["duckdb_result_bytes_total"]) >= len(answer.content)
    assert float(figures["duckdb_query_log_written_total"]) == 1
    assert float(figures["duckdb_query_log_dropped_total"]) == 0


async def test_it_goes_on_after_a_shutdown_and_a_new_start(settings: Settings) -> None:
    service = DuckDBService(settings)
    for _ in range(3):
        await service.initialize()
        await service.execute_query("SELECT 'mine'")
        await service.shutdown()
    async with service:
        counted = await service.execute_query(
            "SELECT count(*) FROM chronoduck.query_log WHERE statement = 'select ?'"
        )
        assert counted.data == [(3,)]
        statistics = await service.get_statistics()
        assert statistics["query_analysis"]["windows"]["24h"]["total_queries"] == 4


async def test_a_schema_of_that_name_is_no_way_into_it_nor_in_its_way(
    admin: httpx2.AsyncClient, log_in: Callable[..., httpx2.AsyncClient]
) -> None:
    bob = log_in("bob", Role.WRITER)
    assert (await ask(bob, "CREATE SCHEMA chronoduck")).status_code == 200
    assert (await ask(bob, "CREATE TABLE chronoduck.notes AS SELECT 1 AS a")).status_code == 200
    assert (await ask(bob, "FROM chronoduck.notes")).json()["data"] == [[1]]
    assert (await ask(bob, "USE chronoduck")).status_code == 403
    assert (await ask(bob, "SELECT * FROM query_log")).status_code == 400
    assert (await ask(bob, LOG)).status_code == 403
    assert "fingerprint" in (await ask(admin, LOG)).json()["columns"]
