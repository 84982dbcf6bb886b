"""Loads over HTTP: formats by their media type, modes, checks against the table, bad rows."""

from __future__ import annotations

import asyncio
import gzip
import io
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

import httpx2
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chronoduck.assembly import DuckDBService
from tests.spreadsheets import ERROR, cell_of, ods, xlsx

NDJSON = b'{"a":1,"b":"x"}\n{"a":2,"b":"y"}\n'
TABLE = pa.table({"a": pa.array([1, 2], pa.int64()), "b": ["x", "y"]})


def arrow_stream(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def arrow_file(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def parquet(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


async def post(
    client: httpx2.AsyncClient,
    content: bytes,
    media_type: str = "application/x-ndjson",
    table: str = "t",
    headers: dict[str, str] | None = None,
    **params: Any,
) -> tuple[httpx2.Response, list[dict[str, Any]]]:
    """Return the response and its events; a problem is one event."""
    response = await client.post(
        f"/tables/{table}/rows",
        content=content,
        params=params,
        headers={"Content-Type": media_type, **(headers or {})},
    )
    return response, [orjson.loads(line) for line in response.content.splitlines()]


async def load(client: httpx2.AsyncClient, content: bytes, *args: Any, **params: Any) -> Any:
    """Return the last event of a load that succeeded."""
    response, events = await post(client, content, *args, **params)
    assert response.status_code == 200, response.text
    assert events[-1]["event"] == "done", events
    return events[-1]


async def refused(client: httpx2.AsyncClient, content: bytes, *args: Any, **params: Any) -> Any:
    """Return the problem of a load that failed, whichever way it was told."""
    response, events = await post(client, content, *args, **params)
    if response.status_code != 200:
        return events[0]
    assert events[-1]["event"] == "error", events
    return events[-1]["error"]


async def rows(service: DuckDBService, sql: str = "FROM t ORDER BY ALL") -> list[tuple[Any, ...]]:
    return list((await service.execute_query(sql)).data)


@pytest.mark.parametrize(
    ("media_type", "content", "name"),
    [
        ("application/vnd.apache.arrow.stream", arrow_stream(TABLE), "arrow"),
        ("application/vnd.apache.arrow.file", arrow_file(TABLE), "arrow"),
        ("application/vnd.apache.parquet", parquet(TABLE), "parquet"),
        ("application/x-ndjson", NDJSON, "ndjson"),
        ("application/json; charset=utf-8", b'[{"a":1,"b":"x"},{"b":"y","a":2}]', "json"),
        ("application/json", b'{"a":1,\n"b":"x"}\n{"a":2,"b":"y"}', "json"),
        ("text/csv", b"a,b\n1,x\n2,y\n", "csv"),
    ],
)
@pytest.mark.parametrize("encoding", ["identity", "gzip", "zstd"])
@pytest.mark.parametrize("exists", [False, True])
async def test_the_media_type_says_what_the_body_is(
    admin: httpx2.AsyncClient,
    app_service: DuckDBService,
    media_type: str,
    content: bytes,
    name: str,
    encoding: str,
    exists: bool,
) -> None:
    if exists:
        await app_service.execute_query("CREATE TABLE t (b VARCHAR, a INTEGER NOT NULL)")
    if encoding == "gzip":
        content = gzip.compress(content)
    elif encoding == "zstd":
        content = pa.Codec("zstd").compress(content, asbytes=True)
    done = await load(admin, content, media_type, headers={"Content-Encoding": encoding})
    assert (done["rows_added"], done["format"]) == (2, name)
    assert done["created"] is not exists
    assert await rows(app_service, "SELECT a, b FROM t ORDER BY a") == [(1, "x"), (2, "y")]


async def test_the_format_in_the_url_wins_over_the_media_type(
    admin: httpx2.AsyncClient, app_service: DuckDBService
) -> None:
    await load(admin, b"a,b\n1,x\n", "application/json", format="csv")
    assert await rows(app_service) == [(1, "x")]


async def test_cdx_by_its_media_type(admin: httpx2.AsyncClient, app_service: DuckDBService) -> None:
    line = b"com,a)/ 20240101000000 http://a.com/ text/html 200 SHA 12\n"
    done = await load(admin, line, "application/x-cdx", "pages_analytics")
    assert (done["rows_added"], done["format"]) == (1, "cdx")


@pytest.mark.parametrize("constraint", ["", "PRIMARY KEY"])
async def test_upsert_replaces_the_rows_of_a_key_and_the_last_one_wins(
    admin: httpx2.AsyncClient, app_service: DuckDBService, constraint: str
) -> None:
    await app_service.execute_query(
        f"CREATE TABLE t (a INTEGER {constraint}, b VARCHAR DEFAULT 'd')"
    )
    await app_service.execute_query("INSERT INTO t VALUES (1, 'old'), (2, 'stays')")
    body = b'{"a":1,"b":"new"}\n{"a":3,"b":"first"}\n{"a":3,"b":"last"}\n'
    done = await load(admin, body, mode="upsert", key="A")
    assert (done["rows_added"], done["rows_removed"], done["mode"]) == (2, 1, "upsert")
    assert await rows(app_service) == [(1, "new"), (2, "stays"), (3, "last")]
    await load(admin, b'{"a":1}\n', mode="upsert", key="a")
    assert (await rows(app_service))[0] == (1, "d")


async def test_an_upsert_by_several_columns_replaces_all_their_rows(
    admin: httpx2.AsyncClient, app_service: DuckDBService
) -> None:
    await app_service.execute_query(
        "CREATE TABLE t AS FROM (VALUES (1, 1, 5), (1, 1, 6), (1, 2, 7)) v (a, b, c)"
    )
    done = await load(admin, b"a,b,c\n1,1,8\n", "text/csv", mode="upsert", key="a,b")
    assert (done["rows_added"], done["rows_removed"]) == (1, 2)
    assert await rows(app_service) == [(1, 1, 8), (1, 2, 7)]


@pytest.mark.parametrize("constraint", ["", "PRIMARY KEY"])
async def test_replace_swaps_the_whole_content(
    admin: httpx2.AsyncClient, app_service: DuckDBService, constraint: str
) -> None:
    await app_service.execute_query(f"CREATE TABLE t (a INTEGER {constraint}, b VARCHAR)")
    await app_service.execute_query("INSERT INTO t VALUES (1, 'old'), (2, 'old')")
    done = await load(
        admin, parquet(TABLE.slice(1)), "application/vnd.apache.parquet", mode="replace"
    )
    assert (done["rows_added"], done["rows_removed"]) == (1, 2)
    assert await rows(app_service) == [(2, "y")]


async def test_a_replace_that_fails_leaves_the_old_rows(
    admin: httpx2.AsyncClient, app_service: DuckDBService
) -> None:
    await app_service.execute_query("CREATE TABLE t AS SELECT 1 AS a")
    problem = await refused(admin, b'{"a":2}\n{"a":"x"}\n', mode="replace")
    assert problem["detail"].startswith("line 2: column a")
    assert await rows(app_service) == [(1,)]


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"mode": "upsert"}, "invalid_request"),
        ({"key": "a"}, "invalid_request"),
        ({"mode": "upsert", "key": "a,A"}, "invalid_request"),
        ({"mode": "upsert", "key": "a,,b"}, "invalid_request"),
        ({"mode": "nope"}, "invalid_request"),
        ({"mode": "upsert", "key": "zz"}, "load_failed"),
        ({"create": "false"}, "load_failed"),
    ],
)
async def test_wishes_that_cannot_be_are_refused(
    admin: httpx2.AsyncClient, app_service: DuckDBService, params: dict[str, str], code: str
) -> None:
    problem = await refused(admin, NDJSON, **params)
    assert problem["code"] == code
    assert await rows(app_service, "SHOW TABLES") == []


BAD = [
    (b'{"a":1,"zz":2}\n', "application/x-ndjson", "no column zz"),
    (b'{"a":1}\n{"a":2,"n":3}\n', "application/x-ndjson", "line 1: column n: NULL is not allowed"),
    (b'{"a":1}\n', "application/x-ndjson", "lacks n"),
    (b'{"a":1,"n":1}\n\n{"a":"x","n":1}\n', "application/x-ndjson", 'line 3: column a: "x" is not'),
    (b'{"a":1,"n":1}\n{broken\n', "application/x-ndjson", "line 2: not JSON"),
    (b'{"a":1,"n":1}\n[2]\n', "application/x-ndjson", "line 2: not a JSON object"),
    (b'[{"a":1,"n":1},{"a":"x","n":1}]', "application/json", 'row 2: column a: "x" is not'),
    (b"a,zz\n1,2\n", "text/csv", "no column zz"),
    (b"a\n1\n", "text/csv", "lacks n"),
    (b"a,n\n1,1\nx,1\n", "text/csv", "line 3: column a: x is not INTEGER"),
    (b"a,n\n1,1\n1,\n", "text/csv", "line 3: column n: NULL is not allowed"),
    (b"a,n\n1,1\n1,2,3\nx,1\n", "text/csv", "line 3: "),
    (b"a,A,n\n1,1,1\n", "text/csv", "twice"),
    (parquet(TABLE), "application/vnd.apache.parquet", "no column b"),
    (
        parquet(pa.table({"a": ["1", "x"], "n": [1, 2]})),
        "application/vnd.apache.parquet",
        "row 2: column a: x is not INTEGER",
    ),
    (
        arrow_stream(pa.table({"a": [1, 2], "n": pa.array([1, None], pa.int32())})),
        "application/vnd.apache.arrow.stream",
        "row 2: column n: NULL is not allowed",
    ),
    (
        arrow_file(pa.table({"a": [1, 2**40], "n": [1, 1]})),
        "application/vnd.apache.arrow.file",
        f"row 2: column a: {2**40} is not INTEGER",
    ),
    (
        b"\xff\xff\xff\xff\x10\x00\x00\x00nonsense",
        "application/vnd.apache.arrow.stream",
        "Arrow IPC",
    ),
    (arrow_stream(TABLE)[:-40], "application/vnd.apache.arrow.stream", ""),
    (b"PAR1 nonsense", "application/vnd.apache.parquet", ""),
]


@pytest.mark.parametrize(("content", "media_type", "reason"), BAD)
async def test_what_does_not_fit_the_table_is_refused_with_its_place_and_changes_nothing(
    admin: httpx2.AsyncClient,
    app_service: DuckDBService,
    content: bytes,
    media_type: str,
    reason: str,
) -> None:
    await app_service.execute_query(
        "CREATE TABLE t (a INTEGER, n INTEGER NOT NULL, d INT DEFAULT 1)"
    )
    problem = await refused(admin, content, media_type)
    assert problem["code"] == "load_failed"
    assert reason in problem["detail"], problem
    assert "spool" not in problem["detail"]
    assert await rows(app_service) == []


async def test_arrow_with_offsets_outside_of_its_buffers_is_refused(
    admin: httpx2.AsyncClient, app_service: DuckDBService
) -> None:
    head, offsets, rest = arrow_stream(pa.table({"b": ["x", "y"]})).rpartition(b"\1\0\0\0\2\0\0\0")
    body = head + offsets[:4] + b"\0\0\x20\0" + rest
    problem = await refused(admin, body, "application/vnd.apache.arrow.stream")
    assert "batch 0" in problem["detail"], problem
    assert await rows(app_service, "SHOW TABLES") == []


@pytest.mark.parametrize("codec", ["zstd", "lz4"])
@pytest.mark.parametrize("kind", ["stream", "file"])
async def test_compressed_arrow_goes_in_unless_it_is_a_bomb(
    admin: httpx2.AsyncClient, app_service: DuckDBService, codec: str, kind: str
) -> None:
    def packed(table: pa.Table) -> bytes:
        sink, make = io.BytesIO(), {"stream": pa.ipc.new_stream, "file": pa.ipc.new_file}[kind]
        with make(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression=codec)) as writer:
            writer.write_table(table)
        return sink.getvalue()

    labels = pa.array(["x", "y"] * 500).dictionary_encode()
    good = pa.table({"a": range(1000), "b": labels})
    await load(admin, packed(good), f"application/vnd.apache.arrow.{kind}")
    assert await rows(app_service, "SELECT count(*), count(DISTINCT b) FROM t") == [(1000, 2)]
    bomb = pa.table({"a": pa.array([0], pa.int64()).take(pa.array([0] * 40_000_000, pa.int8()))})
    problem = await refused(admin, packed(bomb), f"application/vnd.apache.arrow.{kind}")
    assert "send smaller batches" in problem["detail"]


async def test_bad_lines_of_ndjson_are_skipped_and_told(
    admin: httpx2.AsyncClient, app_service: DuckDBService
) -> None:
    await app_service.execute_query("CREATE TABLE t (a INTEGER NOT NULL, b VARCHAR)")
    body = b'{"a":1,"b":"x"}\n\n{"a":"q"}\nnonsense\n{"b":"y"}\n{"a":2,"zz":1}\n[1]\n\xff\n'
    body += b'{"a":3,"b":null}\r\n'
    response, events = await post(admin, body, on_error="skip")
    assert response.status_code == 200
    told = [
        (event["line_number"], event["reason"]) for event in events if event["event"] == "reject"
    ]
    assert told == [
        (3, 'column a: "q" is not INTEGER'),
        (4, "not JSON"),
        (5, "column a: NULL is not allowed"),
        (6, "there is no column zz"),
        (7, "not a JSON object"),
        (8, "not UTF-8"),
    ]
    assert (events[-1]["rows_added"], events[-1]["rejected"]) == (2, 6)
    assert await rows(app_service) == [(1, "x"), (3, None)]


async def test_bad_lines_of_csv_are_skipped_and_told(
    admin: httpx2.AsyncClient, app_service: DuckDBService
) -> None:
    await app_service.execute_query("CREATE TABLE t (a INTEGER NOT NULL, b VARCHAR)")
    body = b"a,b\n1,x\n2\nq,y\n,z\n3,y,z\n4,w\n"
    _, events = await post(admin, body, "text/csv", on_error="skip", mode="upsert", key="a")
    told = [(event["line_number"], event["text"]) for event in events if event["event"] == "reject"]
    assert told == [(3, "2"), (4, "q,y"), (5, "z"), (6, "3,y,z")]
    assert (events[-1]["rows_added"], events[-1]["rejected"]) == (2, 4)
    assert await rows(app_service) == [(1, "x"), (4, "w")]


async def test_a_thousand_bad_lines_are_told_and_the_rest_is_counted(
    admin: httpx2.AsyncClient, app_service: DuckDBService
) -> None:
    body = b'{"a":1}\n' + b"bad\n" * 1500
    await app_service.execute_query("CREATE TABLE t (a INTEGER)")
    _, events = await post(admin, body, on_error="skip")
    assert [event["event"] for event in events].count("reject") == 1000
    assert (events[-1]["rows_added"], events[-1]["rejected"]) == (1, 1500)


async def test_a_missing_table_is_made_of_the_good_lines(
    admin: httpx2.AsyncClient, app_service: DuckDBService
) -> None:
    done = await load(admin, b'{"a":1}\nbad\n{"a":2}\n', on_error="skip")
    assert (done["rows_added"], done["rejected"], done["created"]) == (2, 1, True)
    assert done["columns"] == {"a": "BIGINT"}


async def test_columns_that_only_late_rows_have_are_not_lost(
    admin: httpx2.AsyncClient, app_service: DuckDBService
) -> None:
    body = b'{"a":1}\n' * 40_000 + b'{"a":2,"late":"x"}\n'
    await load(admin, body)
    assert await rows(app_service, "SELECT a, late FROM t WHERE late IS NOT NULL") == [(2, "x")]


async def test_skipping_is_refused_for_formats_with_types(admin: httpx2.AsyncClient) -> None:
    body = parquet(TABLE)
    problem = await refused(admin, body, "application/vnd.apache.parquet", on_error="skip")
    assert problem["code"] == "invalid_request"


@pytest.mark.parametrize("mode", ["append", "upsert", "replace"])
async def test_a_dry_run_tells_all_and_changes_nothing(
    admin: httpx2.AsyncClient, app_service: DuckDBService, mode: str
) -> None:
    await app_service.execute_query("CREATE TABLE t AS SELECT 1 AS a, 'old' AS b")
    key = {"key": "a"} if mode == "upsert" else {}
    _, events = await post(
        admin, NDJSON + b"bad\n", mode=mode, dry_run="true", on_error="skip", **key
    )
    done = events[-1]
    assert (done["rows_added"], done["rejected"], done["dry_run"]) == (2, 1, True)
    assert done["rows_removed"] == (0 if mode == "append" else 1)
    assert done["columns"] == {"a": "INTEGER", "b": "VARCHAR"}
    assert [event["line_number"] for event in events if event["event"] == "reject"] == [3]
    assert await rows(app_service) == [(1, "old")]


async def test_a_dry_run_makes_no_table(
    admin: httpx2.AsyncClient, app_service: DuckDBService
) -> None:
    done = await load(admin, NDJSON, dry_run="true")
    assert done["created"] is True
    assert await rows(app_service, "SHOW TABLES") == []


async def test_captures_are_only_added(admin: httpx2.AsyncClient) -> None:
    line = b"com,a)/ 20240101000000 http://a.com/ text/html 200 SHA 12\n"
    problem = await refused(admin, line, "text/plain", "pages_analytics", mode="replace")
    assert problem["code"] == "invalid_request"


async def test_readers_see_the_old_or_the_new_rows_of_a_replace(
    admin: httpx2.AsyncClient, app_service: DuckDBService
) -> None:
    await app_service.execute_query("CREATE TABLE t AS SELECT 0 AS a FROM range(1000)")
    seen: set[tuple[int, int]] = set()

    async def read() -> None:
        while not done.is_set():
            seen.add((await rows(app_service, "SELECT count(*), count(DISTINCT a) FROM t"))[0])

    done = asyncio.Event()
    reader = asyncio.create_task(read())
    try:
        for number in range(1, 11):
            body = b'{"a":%d}\n' % number * 1000
            await load(admin, body, mode="replace")
    finally:
        done.set()
        await reader
    assert seen == {(1000, 1)}


async def test_nothing_of_an_upload_stays_in_the_spool(
    admin: httpx2.AsyncClient, app_service: DuckDBService
) -> None:
    await load(admin, parquet(TABLE), "application/vnd.apache.parquet")
    await load(admin, gzip.compress(b"a,b\n1,x\n"), "text/csv")
    await refused(admin, arrow_stream(TABLE)[:-40], "application/vnd.apache.arrow.stream")
    assert list(app_service.spool_directory.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "media_type", "params"),
    [
        (NDJSON, "application/x-ndjson", {}),
        (NDJSON, "application/x-ndjson", {"mode": "upsert", "key": "a"}),
        (NDJSON * 20_000, "application/x-ndjson", {}),
        (b"a,b\n1,x\n", "text/csv", {}),
        (parquet(TABLE), "application/vnd.apache.parquet", {"mode": "replace"}),
    ],
)
async def test_below_the_disk_floor_every_load_is_refused_by_its_status(
    admin: httpx2.AsyncClient,
    app_service: DuckDBService,
    content: bytes,
    media_type: str,
    params: dict[str, str],
) -> None:
    await app_service.execute_query("CREATE TABLE t (a INTEGER, b VARCHAR)")
    guard = (await app_service.parts()).guard
    guard._floor = 900 * 10**12
    guard.look()
    for headers in ({}, {"Idempotency-Key": "after"}):
        response, (problem,) = await post(admin, content, media_type, headers=headers, **params)
        assert (response.status_code, problem["code"]) == (507, "disk_floor")
        assert problem["retryable"]
    assert await rows(app_service, "SELECT count(*) FROM t") == [(0,)]
    guard._floor = 0
    guard.look()
    # A key whose request was refused is free.
    after = {"Idempotency-Key": "after"}
    assert (await post(admin, content, media_type, headers=after, **params))[0].status_code == 200


@pytest.mark.parametrize("name", ["duckdb_tables", "SQLITE_MASTER", "main.duckdb_views"])
async def test_no_load_hides_a_view_of_duckdb(admin: httpx2.AsyncClient, name: str) -> None:
    problem = await refused(admin, NDJSON, table=name, create="true")
    assert (problem["code"], problem["rule"]) == ("statement_refused", "builtin-name")


MOMENTS = [datetime(2024, 1, 1), datetime(2024, 1, 2, 12, 30)]  # noqa: DTZ001 - a sheet has no zones


@pytest.mark.parametrize("kind", ["xlsx", "ods"])
async def test_a_sheet_has_the_types_of_its_cells(
    admin: httpx2.AsyncClient, app_service: DuckDBService, kind: str
) -> None:
    cells: list[list[Any]] = [
        ["at", "day", "span", "whole", "error"],
        [MOMENTS[0], MOMENTS[0].date(), timedelta(hours=36), 7.0, 1.5],
        [MOMENTS[1], MOMENTS[1].date(), timedelta(hours=2), 8.0, ERROR if kind == "xlsx" else None],
    ]
    book = ods(cells) if kind == "ods" else xlsx({"S": [list(map(cell_of, row)) for row in cells]})
    done = await load(admin, book, "application/octet-stream")
    assert done["columns"] == {
        "at": "TIMESTAMP", "day": "DATE", "span": "INTERVAL", "whole": "BIGINT", "error": "DOUBLE"
    }  # fmt: skip
    assert done["read_as"].get("error_cells") == ("NULL (1)" if kind == "xlsx" else None)
    assert await rows(app_service) == [
        (*(*cells[1][:3], 7, 1.5),),
        (*(*cells[2][:3], 8, None),),
    ]


async def test_every_summary_has_the_columns_of_the_table(admin: httpx2.AsyncClient) -> None:
    types = {"a": "BIGINT", "b": "VARCHAR"}
    bodies = {
        "application/x-ndjson": NDJSON,
        "application/json": b'[{"a":1,"b":"x"}]',
        "text/csv": b"a,b\n1,x\n",
        "application/vnd.apache.arrow.stream": arrow_stream(TABLE),
        "application/vnd.apache.parquet": parquet(TABLE),
        "application/octet-stream": xlsx({"S": [["a", "b"], [1, "x"]]}),
    }
    for number, (media_type, body) in enumerate(bodies.items()):
        for _ in range(2):
            done = await load(admin, body, media_type, f"t{number}")
            assert done["columns"] == types, media_type
    line = b"org,iana)/ 20140126200624 http://iana.org/ text/html 200 AAAA - - 1 2 f.warc.gz\n"
    done = await load(admin, b" CDX N b a m s k r M S V g\n" + line, table="pages_analytics",
                      media_type="application/x-cdx")  # fmt: skip
    assert done["columns"]["captured_at"] == "TIMESTAMP"


@pytest.mark.parametrize("body", [NDJSON, b"[" + NDJSON.strip().replace(b"\n", b",") + b"]"])
async def test_a_table_whose_name_has_a_point_is_found_or_its_spelling_is_said(
    admin: httpx2.AsyncClient, app_service: DuckDBService, body: bytes
) -> None:
    problem = await refused(admin, body, "application/json", table="sales.2024")
    assert "no schema sales, and no table named sales.2024" in problem["detail"]
    assert "`tables/%22sales.2024%22/rows`" in problem["hint"]
    three = await refused(admin, body, "application/json", table="a.b.c")
    assert "`tables/%22a.b.c%22/rows`" in three["hint"]
    await load(admin, body, "application/json", table="%22sales.2024%22")
    await load(admin, body, "application/json", table="sales.2024")
    assert await rows(app_service, 'SELECT count(*) FROM "sales.2024"') == [(4,)]
    await app_service.execute_query("CREATE SCHEMA sales")
    await load(admin, body, "application/json", table="sales.2024")
    assert await rows(app_service, 'SELECT count(*) FROM sales."2024"') == [(2,)]


async def test_a_name_that_is_found_so_is_judged_so(
    admin: httpx2.AsyncClient, app_service: DuckDBService
) -> None:
    """Whoever may write a schema that is not there yet does not get a table of another one."""
    await app_service.execute_query('CREATE TABLE "sales.2024" (a INT, b VARCHAR)')
    wish = {"name": "w", "role": "writer", "write": ["sales"]}
    key = (await admin.post("/keys", json=wish)).json()["key"]
    headers = {"Authorization": f"Bearer {key}"}
    problem = await refused(admin, NDJSON, table="sales.2024", headers=headers)
    assert problem["code"] == "statement_refused", problem


@pytest.mark.parametrize(
    "name", ['"pages_analytics"', 'main."Pages_Analytics"', "MAIN.pages_analytics"]
)
async def test_the_table_of_captures_is_known_however_it_is_written(
    admin: httpx2.AsyncClient, name: str
) -> None:
    row = b'{"url":"http://e.org/a","captured_at":"2024-01-01 00:00:00"}\n'
    table = quote(name, safe="")
    added = [(await post(admin, row, table=table))[1][-1] for _ in range(2)]
    assert [(each["rows_added"], each["duplicates"]) for each in added] == [(1, 0), (0, 1)]
    index = b"org,e)/a 20240101000000 http://e.org/a text/html 200 A - - 1 0 x.warc.gz\n"
    assert (await post(admin, index, "text/plain", table))[1][-1]["duplicates"] == 1
    asked = await admin.post("/query", json={"query": "SELECT urlkey FROM pages_analytics"})
    assert asked.json()["data"] == [["org,e)/a"]]
