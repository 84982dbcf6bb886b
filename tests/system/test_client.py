"""The Python client against ``chronoduck serve``: every method, waiting and for asyncio."""

from __future__ import annotations

import datetime as dt
import os
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx2
import pyarrow as pa
import pyarrow.parquet
import pytest

from chronoduck import errors
from chronoduck.client import AsyncClient, Client, Retries
from tests.patience import PATIENCE_SECONDS
from tests.server import Server

pytestmark = pytest.mark.slow
EXAMPLES = Path(__file__).parents[2] / "examples" / "data"
ENDLESS = "SELECT sum(a.range * b.range) FROM range(10000000) a, range(10000000) b"
LARGE = "SELECT range AS n, repeat('x', 200) AS text FROM range(3000000)"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    directory = tmp_path_factory.mktemp("server")
    with Server(directory, DUCKDB_EXPORT_URL=directory / "exports") as server:
        yield server


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with Client(server.url, token=server.token) as client:
        yield client


@pytest.fixture
async def waiter(server: Server) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(server.url, token=server.token) as client:
        yield client


@pytest.fixture
def table(client: Client, request: pytest.FixtureRequest) -> Iterator[str]:
    name = f"t{abs(hash(request.node.name))}"
    client.execute(f"CREATE TABLE {name} (n INTEGER, day DATE)")
    yield name
    client.execute(f"DROP TABLE {name}")


def until(condition: Callable[[], Any], seconds: float = PATIENCE_SECONDS) -> Any:
    end = time.monotonic() + seconds
    while not (met := condition()):
        assert time.monotonic() < end
        time.sleep(0.02)
    return met


# --- who asks, and whom -----------------------------------------------------------------------


def test_url_and_token_come_from_arguments_a_file_or_the_environment(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = server.directory / "admin.token"
    with Client(server.url, token_file=file) as client:
        assert client.me()["role"] == "admin"
    monkeypatch.setenv("CHRONODUCK_URL", server.url + "/")
    monkeypatch.setenv("CHRONODUCK_TOKEN", server.token)
    with Client() as client:
        assert client.me()["role"] == "admin"
    monkeypatch.delenv("CHRONODUCK_TOKEN")
    with Client() as client:
        assert client.health()["status"] == "healthy"  # public
        with pytest.raises(errors.AuthenticationError):
            client.query("SELECT 1")
    monkeypatch.delenv("CHRONODUCK_URL")
    with pytest.raises(errors.InvalidRequestError):
        Client()
    with pytest.raises(errors.InvalidRequestError):
        Client(server.url, token="x", token_file=file)


def test_where_nothing_listens_the_service_is_unavailable(server: Server) -> None:
    with Client("http://127.0.0.1:1", retries=Retries(attempts=2, first_seconds=0.01)) as client:
        with pytest.raises(errors.ServiceUnavailableError) as caught:
            client.query("SELECT 1")
        assert "127.0.0.1:1" in caught.value.detail


# --- statements -------------------------------------------------------------------------------


def test_a_query_gives_rows_of_python_values(client: Client) -> None:
    result = client.query(
        "SELECT $n + 1 AS n, CAST($day AS DATE) AS day, 1.50 AS price",
        {"n": 41, "day": dt.date(2024, 1, 1)},
    )
    assert result.columns == ["n", "day", "price"]
    assert result.types == ["INTEGER", "DATE", "DECIMAL(3,2)"]
    assert result.rows == [(42, dt.date(2024, 1, 1), Decimal("1.50"))]
    assert [*result] == result.rows
    assert (len(result), result.row_count, result.truncated) == (1, 1, False)
    assert result.scalar() == 42
    assert result.dicts() == [{"n": 42, "day": dt.date(2024, 1, 1), "price": Decimal("1.50")}]
    assert result.to_arrow().to_pydict()["n"] == [42]


def test_a_result_is_whole_unless_a_limit_is_asked_for(client: Client) -> None:
    assert len(client.query("FROM range(25000)")) == 25_000  # more than the JSON default
    cut = client.query("FROM range(25000)", max_rows=10)
    assert (len(cut), cut.truncated) == (10, True)
    assert client.arrow("FROM range(25000)", max_rows=10).num_rows == 10


def test_execute_tells_how_many_rows_changed(client: Client, table: str) -> None:
    assert client.execute(f"INSERT INTO {table} SELECT range, NULL FROM range(5)") == 5
    assert client.execute(f"DELETE FROM {table} WHERE n < $n", {"n": 2}) == 2
    assert client.execute(f"CREATE OR REPLACE VIEW v AS FROM {table}") == 0
    assert client.execute("DROP VIEW v") == 0


def test_a_batch_is_all_or_nothing(client: Client, table: str) -> None:
    results = client.batch(
        [(f"INSERT INTO {table} VALUES (?, ?)", [1, dt.date(2024, 1, 1)]), f"FROM {table}"]
    )
    assert results[1].rows == [(1, dt.date(2024, 1, 1))]
    with pytest.raises(errors.BatchError) as caught:
        client.batch([f"DELETE FROM {table}", "SELECT nothing"])
    error = caught.value
    assert (error.index, error.sql, error.rolled_back) == (1, "SELECT nothing", True)
    assert isinstance(error.cause, errors.DuckDBQueryError)
    assert client.query(f"SELECT count(*) FROM {table}").scalar() == 1


def test_a_transaction_is_sent_at_the_end_of_its_block(client: Client, table: str) -> None:
    with client.transaction() as transaction:
        transaction.execute(f"INSERT INTO {table} VALUES (1, NULL)")
        transaction.execute(f"SELECT count(*) FROM {table}")
        assert client.query(f"SELECT count(*) FROM {table}").scalar() == 0
    assert transaction.results[1].scalar() == 1
    with pytest.raises(KeyError), client.transaction() as transaction:
        transaction.execute(f"DELETE FROM {table}")
        raise KeyError
    assert client.query(f"SELECT count(*) FROM {table}").scalar() == 1


def test_templates_run_by_name(client: Client) -> None:
    client.load(EXAMPLES / "twitter-labels.cdx")
    names = [each["name"] for each in client.templates()]
    assert "top-domains" in names
    result = client.template("top-domains", by="urls", limit=1, tld=None)
    assert result.rows[0][0] == "twitter.com"
    assert client.template_arrow("top-domains", limit=1).num_rows == 1
    with pytest.raises(errors.TemplateNotFoundError):
        client.template("no-such")
    with pytest.raises(errors.InvalidRequestError):
        client.template("top-domains", limit=0)


def test_errors_are_those_of_the_service(client: Client, table: str) -> None:
    with pytest.raises(errors.DuckDBQueryError) as wrong:
        client.query(f"SELECT dya FROM {table}")
    assert wrong.value.category == "binder", wrong.value
    assert (wrong.value.line, wrong.value.column) == (1, 8)
    assert wrong.value.request_id
    with pytest.raises(errors.StatementTimeoutError):
        client.query(ENDLESS, timeout=0.2)
    with pytest.raises(errors.StatementRefusedError) as refused:
        client.query("ATTACH 'x.db'")
    assert refused.value.rule
    with pytest.raises(errors.NotFoundError):
        client.table("no_such_table")
    with pytest.raises(TypeError):
        client.query("SELECT $a", {"a": object()})


def test_a_client_has_a_deadline_for_its_statements(server: Server) -> None:
    with Client(server.url, token=server.token, timeout=0.2) as client:
        with pytest.raises(errors.StatementTimeoutError):
            client.query(ENDLESS)
        with pytest.raises(errors.StatementTimeoutError), client.stream(ENDLESS):
            pass
        assert client.query("SELECT 1", timeout=5).scalar() == 1


# --- streams ----------------------------------------------------------------------------------


def test_streams_are_the_whole_result(client: Client) -> None:
    with client.stream(LARGE) as rows:
        assert rows.columns == ["n", "text"]
        assert rows.types == ["BIGINT", "VARCHAR"]
        count = sum(1 for _ in rows)
        assert rows.summary["row_count"] == count == 3_000_000
    with client.stream_arrow(LARGE) as batches:
        assert batches.schema.names == ["n", "text"]
        assert sum(batch.num_rows for batch in batches) == 3_000_000
    with client.stream("SELECT 1 WHERE false") as rows:
        assert list(rows) == []
    with client.stream_arrow("SELECT 1 AS a WHERE false") as batches:
        assert list(batches) == []
    with pytest.raises(errors.DuckDBQueryError), client.stream("SELECT nothing"):
        pass


@pytest.mark.parametrize("form", ["stream", "stream_arrow"])
def test_leaving_a_stream_interrupts_its_statement(client: Client, form: str) -> None:
    with getattr(client, form)(LARGE) as stream:
        next(iter(stream))
        assert client.running()
    until(lambda: not client.running())
    assert client.query("SELECT 1").scalar() == 1


@pytest.mark.parametrize("form", ["stream", "stream_arrow"])
def test_a_stream_that_breaks_raises(client: Client, form: str) -> None:
    with getattr(client, form)(LARGE) as stream:
        items = iter(stream)
        next(items)
        client.cancel(client.running()[0]["id"])
        with pytest.raises(errors.DuckDBConnectionError) as caught:
            for _ in items:
                pass
    assert caught.value.code == "connection_broken"


def test_an_error_of_the_blocks_own_is_not_taken_for_one_of_the_stream(client: Client) -> None:
    with pytest.raises(httpx2.ConnectError), client.stream("SELECT 1"):
        raise httpx2.ConnectError("another service's")


def test_the_caller_of_a_cancelled_statement_is_told(server: Server, client: Client) -> None:
    caught: list[BaseException] = []

    def run() -> None:
        try:
            client.query(ENDLESS)
        except errors.DuckDBException as error:
            caught.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    client.cancel(until(client.running)[0]["id"])
    thread.join()
    assert isinstance(caught[0], errors.StatementCancelledError)


# --- tables -----------------------------------------------------------------------------------


def test_rows_of_every_kind_go_into_a_table(client: Client, table: str, tmp_path: Path) -> None:
    day = dt.date(2024, 1, 1)
    assert client.insert(table, [(1, day), (2, None)], columns=["n", "day"]).rows_added == 2
    assert client.insert(table, [{"n": 3, "day": day}]).rows_added == 1
    arrow = pa.table({"n": pa.array([4], pa.int32()), "day": [day]})
    assert client.insert(table, arrow).rows_added == 1
    pyarrow.parquet.write_table(arrow, tmp_path / "rows.parquet")
    assert client.insert(table, tmp_path / "rows.parquet").rows_added == 1
    assert client.insert(table, b"n,day\n6,2024-01-01\n", format="csv").rows_added == 1
    rows = client.query(f"SELECT n, day FROM {table} ORDER BY n").rows
    assert rows == [(1, day), (2, None), (3, day), (4, day), (4, day), (6, day)]
    for wrong in ([(1, 2, 3)], [], 5):
        with pytest.raises(errors.InvalidRequestError):
            client.insert(table, wrong, columns=["n", "day"])
    with pytest.raises(errors.InvalidRequestError):
        client.insert(table, [(1, 2)])
    with pytest.raises(errors.LoadError):
        client.insert(table, b"nothing", format="parquet")


def test_a_file_is_read_as_it_is_said_to_be_written(client: Client, table: str) -> None:
    client.query(f"DROP TABLE {table}")
    text = "Bericht\nzip;amount;note\n01067;1.234,50;x\n10115;-;y\n".encode("utf-16")
    read = {
        "delimiter": ";",
        "decimal": ",",
        "thousands": ".",
        "skip": 1,
        "null": ["-", "n/a"],
        "types": {"amount": "DECIMAL(10,2)"},
        "all_text": False,
    }
    summary = client.insert(table, text, format="csv", read=read)
    assert (summary.rows_added, summary.columns["amount"]) == (2, "DECIMAL(10,2)")
    rows = client.query(f"SELECT zip, amount::VARCHAR, note FROM {table} ORDER BY zip").rows
    assert rows == [("01067", "1234.50", "x"), ("10115", None, "y")]
    with pytest.raises(errors.InvalidRequestError, match="delimiter"):
        client.insert(table, b"a,b\n", format="csv", read={"delimiter": "abc"})


def test_rows_replace_others_as_wanted(client: Client, table: str) -> None:
    client.insert(table, [{"n": 1}, {"n": 2}])
    day = dt.date(2024, 1, 1)
    tried = client.insert(table, [{"n": 2, "day": day}], mode="upsert", key=["n"], dry_run=True)
    assert (tried.dry_run, tried.rows_removed) == (True, 1)
    done = client.insert(table, [{"n": 2, "day": day}], mode="upsert", key=["n"])
    assert (done.rows_added, done.rows_removed, done.mode) == (1, 1, "upsert")
    assert client.query(f"FROM {table} ORDER BY n").rows == [(1, None), (2, day)]
    client.insert(table, pa.table({"n": [7]}), mode="replace")
    assert client.query(f"FROM {table}").rows == [(7, None)]
    bad = client.insert(table, b"n\n8\nx\n", format="csv", on_error="skip")
    assert (bad.rows_added, bad.rejected) == (1, 1)
    assert bad.rejects[0]["line_number"] == 3
    with pytest.raises(errors.DuckDBException):
        client.insert("missing", [{"n": 1}], create=False)


def test_an_insert_with_a_key_is_done_once(client: Client, table: str) -> None:
    for _ in range(3):
        assert client.insert(table, [{"n": 1}], idempotency_key="first").rows_added == 1
    assert client.query(f"SELECT count(*) FROM {table}").scalar() == 1
    with pytest.raises(errors.InvalidRequestError) as caught:
        client.insert(table, [{"n": 2}], idempotency_key="first")
    assert caught.value.code == "idempotency_key_reused"


def test_data_frames_go_in_and_come_out(client: Client, table: str) -> None:
    pandas = pytest.importorskip("pandas")
    polars = pytest.importorskip("polars")
    frame = pandas.DataFrame({"n": [1, 2]}, index=["a", "b"])
    assert client.insert(table, frame).rows_added == 2
    assert client.insert(table, frame, dry_run=True).columns == {"n": "INTEGER", "day": "DATE"}
    assert client.insert(table, polars.DataFrame({"n": [3]})).rows_added == 1
    result = client.query(f"SELECT n FROM {table} ORDER BY n")
    assert result.to_pandas()["n"].tolist() == [1, 2, 3]
    assert result.to_polars()["n"].to_list() == [1, 2, 3]


def test_a_file_of_captures_is_loaded_once(client: Client) -> None:
    client.load(EXAMPLES / "twitter-labels.cdx")
    again = client.load(EXAMPLES / "twitter-labels.cdx")
    assert (again.rows_added, again.duplicates) == (0, 1450)
    assert again.table == "pages_analytics"
    bad = client.insert("pages_analytics", b" CDX N b a m s k r M S V g\nbad line\n")
    assert bad.rejected == len(bad.rejects) == 1
    with pytest.raises(FileNotFoundError):
        client.load("no-such-file.cdx")


def test_tables_are_listed_and_shown(client: Client, table: str) -> None:
    assert table in [each["name"] for each in client.tables()]
    assert [column["name"] for column in client.table(table)["columns"]] == ["n", "day"]


# --- jobs -------------------------------------------------------------------------------------


def test_a_job_is_followed_to_its_result(client: Client) -> None:
    job = client.start_job("SELECT range AS n, 1.50 AS price FROM range($n)", {"n": 25_000})
    seen: list[str] = []
    assert job.wait(lambda progress: seen.append(progress["step"])) is job
    assert seen[-1] == "done"
    assert job.summary is not None
    assert job.summary["row_count"] == 25_000
    assert len(job.result()) == 25_000
    assert job.result(offset=10, limit=2).rows == [(10, Decimal("1.50")), (11, Decimal("1.50"))]
    assert [len(page) for page in job.pages(10_000)] == [10_000, 10_000, 5_000]
    assert job.arrow().num_rows == 25_000
    with job.stream() as rows:
        assert sum(n for n, _ in rows) == sum(range(25_000))
    with job.stream_arrow() as batches:
        assert sum(batch.num_rows for batch in batches) == 25_000
    assert client.job(job.id).state == "succeeded"
    assert job.id in [each.id for each in client.jobs()]
    job.cancel()
    with pytest.raises(errors.NotFoundError):
        client.job(job.id)


def test_a_job_that_fails_raises_its_error(client: Client) -> None:
    with pytest.raises(errors.DuckDBQueryError):
        client.start_job("SELEC nothing")
    job = client.start_job("SELECT error('boom')")
    with pytest.raises(errors.DuckDBQueryError, match="boom"):
        job.wait()
    with pytest.raises(errors.DuckDBException) as caught:
        job.result()
    assert (caught.value.code, caught.value.http_status) == ("job_has_no_result", 409)


def test_a_job_that_takes_too_long_is_cancelled(client: Client) -> None:
    job = client.start_job(ENDLESS)
    with pytest.raises(TimeoutError):
        job.wait(timeout=0.3)
    assert job.refresh().state == "running"
    job.cancel()
    with pytest.raises(errors.DuckDBException):
        job.wait()
    assert job.state == "cancelled"


def test_an_export_is_fetched_into_a_directory(client: Client, tmp_path: Path) -> None:
    job = client.export(
        "SELECT range AS n, range % 3 AS part FROM range(1000)", partition_by=["part"]
    ).wait()
    paths = job.download(tmp_path / "out")
    assert len(paths) == len(job.files) == 3
    assert sum(pyarrow.parquet.read_table(path).num_rows for path in paths) == 1000
    assert not list((tmp_path / "out").rglob("*.part"))
    link = job.link(job.files[0]["name"], expires_in_seconds=60)
    assert httpx2.get(link).content == paths[0].read_bytes()
    job.cancel()


def test_the_service_tells_of_itself(client: Client) -> None:
    assert client.health()["status"] == "healthy"
    assert "query_analysis" in client.statistics()
    assert client.me()["id"] == "admin"


# --- asyncio ----------------------------------------------------------------------------------


async def test_statements_for_asyncio(waiter: AsyncClient, server: Server) -> None:
    await waiter.load(EXAMPLES / "twitter-labels.cdx")
    assert (await waiter.query("SELECT ?", [1])).rows == [(1,)]
    assert (await waiter.arrow("FROM range(10)")).num_rows == 10
    assert await waiter.execute("CREATE TABLE a (n INTEGER)") == 0
    assert (await waiter.insert("a", [{"n": 1}])).rows_added == 1
    file = server.directory / "rows.csv"
    file.write_text("n\n2\n")
    assert (await waiter.load(file, table="a")).rows_added == 1
    assert len(await waiter.batch(["FROM a", "SELECT 1"])) == 2
    async with waiter.transaction() as transaction:
        transaction.execute("INSERT INTO a VALUES (3)")
        transaction.execute("SELECT sum(n) FROM a")
    assert transaction.results[1].scalar() == 6
    assert (await waiter.template("page-stats", limit=1)).columns
    assert (await waiter.template_arrow("page-stats", limit=1)).column_names
    assert "a" in [each["name"] for each in await waiter.tables()]
    assert (await waiter.table("a"))["name"] == "a"
    assert await waiter.templates()
    assert (await waiter.health())["status"] == "healthy"
    assert await waiter.statistics()
    assert (await waiter.me())["id"] == "admin"
    assert await waiter.running() == []
    with pytest.raises(errors.NotFoundError):
        await waiter.cancel("none")
    with pytest.raises(errors.DuckDBQueryError):
        await waiter.query("SELECT nothing")
    await waiter.execute("DROP TABLE a")


async def test_streams_for_asyncio(waiter: AsyncClient) -> None:
    async with waiter.stream("FROM range(100000)") as rows:
        assert rows.columns == ["range"]
        assert sum([n async for (n,) in rows]) == sum(range(100_000))
    async with waiter.stream_arrow("FROM range(100000)") as batches:
        assert sum([batch.num_rows async for batch in batches]) == 100_000
    async with waiter.stream(LARGE) as rows:
        async for _ in rows:
            break
    for form in (waiter.stream, waiter.stream_arrow):
        async with form(LARGE) as stream:
            items = aiter(stream)
            await anext(items)
            await waiter.cancel(next(iter(await waiter.running()))["id"])
            with pytest.raises(errors.DuckDBConnectionError):
                async for _ in items:
                    pass


async def test_jobs_for_asyncio(waiter: AsyncClient, tmp_path: Path) -> None:
    job = await waiter.start_job("FROM range(25000)")
    await job.wait()
    assert len(await job.result(limit=5)) == 5
    assert [len(page) async for page in job.pages(20_000)] == [20_000, 5_000]
    assert (await job.arrow()).num_rows == 25_000
    async with job.stream() as rows:
        assert len([row async for row in rows]) == 25_000
    async with job.stream_arrow() as batches:
        assert sum([batch.num_rows async for batch in batches]) == 25_000
    assert (await waiter.job(job.id)).state == "succeeded"
    assert job.id in [each.id for each in await waiter.jobs()]
    await job.cancel()
    export = await (await waiter.export("FROM range(10)", format="csv")).wait()
    (path,) = await export.download(tmp_path)
    assert len(path.read_text().splitlines()) == 11
    assert (await export.link(export.files[0]["name"])).startswith(waiter.url)


# --- memory -----------------------------------------------------------------------------------

MEASURED = """
import resource, sys
from chronoduck.client import Client

sql = "SELECT range AS n, repeat('x', 1000) AS text FROM range($rows)"
with Client() as client, getattr(client, sys.argv[1])(sql, {"rows": int(sys.argv[2])}) as stream:
    for _ in stream:
        pass
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1000)
"""


@pytest.mark.parametrize("form", ["stream", "stream_arrow"])
def test_a_stream_takes_no_more_memory_when_it_is_longer(server: Server, form: str) -> None:
    def megabytes(rows: int) -> int:
        done = subprocess.run(
            [sys.executable, "-c", MEASURED, form, str(rows)],
            env={
                "CHRONODUCK_URL": server.url,
                "CHRONODUCK_TOKEN": server.token,
                "PYTHONPATH": os.pathsep.join(sys.path),
            },
            capture_output=True,
            text=True,
            check=True,
        )
        return int(done.stdout)

    small, large = megabytes(50_000), megabytes(300_000)  # 50 MB and 300 MB
    assert large - small < 60
