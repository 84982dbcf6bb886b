"""What goes wrong is told with host and database and without the password, and harms nothing."""

from __future__ import annotations

import asyncio
import signal
import threading
from pathlib import Path
from urllib.parse import quote

import pytest

from chronoduck.service.jobs import JobConflictError
from chronoduck.sync import SyncNotFoundError
from tests.postgres import PASSWORD, SourceDatabase
from tests.server import free_port
from tests.sync.running import SOURCE, MakeService, run_sync

pytestmark = pytest.mark.slow

FULL = '[sync.items]\nsource = "platform"\ntable = "items"\ntarget = "items"\nmode = "full"\n'
GROWING = (
    '[sync.items]\nsource = "platform"\ntable = "items"\ntarget = "items"\n'
    'key = ["id"]\ncursor = "updated_at"\n'
)
TABLE = "CREATE TABLE items (id bigint PRIMARY KEY, v text, updated_at timestamptz DEFAULT now());"
SLOW = '[source.platform]\ndsn_env = "TEST_PLATFORM_DSN"\nfetch_bytes = 65536\nbatch_rows = 1000\n'


def is_told(error: dict[str, str], *words: str) -> None:
    text = f"{error['detail']} {error['hint']}"
    for word in words:
        assert word in text, text
    for secret in (PASSWORD, quote(PASSWORD, safe="")):
        assert secret not in text


async def test_every_wrong_connection_string_says_what_to_do_and_no_password(
    source: SourceDatabase,
    make_service: MakeService,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    secret = quote(PASSWORD, safe="")
    port = source.server.port
    nobody = free_port()
    wrong = {
        "": ("TEST_PLATFORM_DSN",),
        f"mysql://reader:{secret}@127.0.0.1/x": ("not a connection string",),
        f"postgresql://reader:{secret}@127.0.0.1:port/x": ("not a connection string",),
        f"postgresql://reader:{secret}@127.0.0.1:{nobody}/x": (f"127.0.0.1:{nobody}/x", "refused"),
        f"postgresql://reader:no{secret}@127.0.0.1:{port}/{source.name}": (
            "authentication failed",
            "Check user and password",
        ),
        f"postgresql://reader:{secret}@127.0.0.1:{port}/absent": ('"absent" does not exist',),
        f"postgresql://reader:{secret}@127.0.0.1:{port}/{source.name}?strange={secret}": (
            "invalid URI query parameter",
        ),
        f"host=127.0.0.1 port={nobody} user=reader password='x{secret}' dbname=x": ("refused",),
    }
    async with make_service(FULL) as service:
        for dsn, words in wrong.items():
            monkeypatch.setenv("TEST_PLATFORM_DSN", dsn)
            error = await run_sync(service, "items", expect="failed")
            assert error["code"] == "sync_source"
            is_told(error, *words)
        health = await service.health_check()
        assert health["components"]["sync"]["status"] == "degraded"
        assert "127.0.0.1" not in str(health["components"]["sync"])
        status = (await (await service.parts()).syncs.describe())[0]
        assert status["failures"] == len(wrong)
    printed = caplog.text + "".join(capfd.readouterr())
    assert PASSWORD not in printed
    assert secret not in printed


async def test_a_missing_table_column_or_permission_is_named(
    source: SourceDatabase, make_service: MakeService
) -> None:
    async with make_service(FULL) as service:
        is_told(await run_sync(service, "items", "failed"), '"items" does not exist', "Check table")
        source.sql(TABLE + "REVOKE ALL ON items FROM reader")
        is_told(await run_sync(service, "items", "failed"), "permission denied", "GRANT SELECT")
        source.sql("GRANT SELECT ON items TO reader")
        await run_sync(service, "items")
    async with make_service(FULL + 'rename = { gone = "x" }') as service:
        error = await run_sync(service, "items", "failed")
        is_told(error, "no column gone")
        assert error["code"] == "sync_drift"


async def test_the_connection_can_write_nothing_and_is_named(
    source: SourceDatabase, make_service: MakeService
) -> None:
    source.sql(TABLE + "INSERT INTO items VALUES (1, 'a'); CREATE TABLE seen (name text)")
    source.sql("GRANT INSERT ON seen TO reader; CREATE FUNCTION note() RETURNS int LANGUAGE plpgsql "
               "AS $$ BEGIN INSERT INTO seen VALUES ('x'); RETURN 1; END $$")  # fmt: skip
    text = FULL.replace('table = "items"', 'query = "SELECT note() AS n"')
    async with make_service(text) as service:
        is_told(await run_sync(service, "items", "failed"), "read-only transaction")
    name = "SELECT current_setting('application_name') AS v"
    async with make_service(FULL.replace('table = "items"', f'query = "{name}"')) as service:
        await run_sync(service, "items")
        assert (await service.execute_query("SELECT v FROM items")).data == [("chronoduck",)]


async def test_a_statement_that_takes_too_long_is_ended_by_postgresql(
    source: SourceDatabase, make_service: MakeService
) -> None:
    text = FULL.replace('table = "items"', 'query = "SELECT pg_sleep(60)::text AS v"')
    async with make_service(text, SOURCE + 'statement_timeout = "1s"\n') as service:
        is_told(
            await run_sync(service, "items", "failed"), "statement timeout", "statement_timeout"
        )


async def test_a_server_that_goes_away_in_the_middle_costs_nothing_but_time(
    source: SourceDatabase, make_service: MakeService
) -> None:
    source.sql(TABLE + "INSERT INTO items VALUES (0, 'first', '2024-01-01')")
    # All rows would take five minutes: on the slowest machine the server goes away before that.
    async with make_service(GROWING, SLOW + "rows_per_second = 1000\n") as service:
        await run_sync(service, "items")
        source.sql("INSERT INTO items SELECT i, repeat('x', 200), timestamptz '2024-01-02' + "
                   "i * interval '1 s' FROM generate_series(1, 300000) i")  # fmt: skip
        job = (await service.parts()).syncs.begin("items")
        while job.done < 3000 and not job.has_ended:
            await asyncio.sleep(0.05)
        await asyncio.to_thread(source.server.stop, signal.SIGQUIT)
        try:
            await (await service.parts()).jobs.wait(job)
        finally:
            await asyncio.to_thread(source.server.start)
        assert job.error is not None, job.as_dict()
        assert job.error["code"] == "sync_source"
        is_told(job.error, f"127.0.0.1:{source.server.port}/{source.name}")
        status = (await (await service.parts()).syncs.describe())[0]
        merged = (await service.execute_query("SELECT count(*) FROM items")).data[0][0]
        assert 1 < merged < 300001
        assert status["watermark"] > "2024-01-02"
    async with make_service(GROWING) as service:
        ended = await run_sync(service, "items")
        assert ended["read"] < 300001
        rows = await service.execute_query("SELECT count(*), count(DISTINCT id) FROM items")
        assert rows.data == [(300001, 300001)]


async def test_cancelling_ends_the_reader_and_its_query(
    source: SourceDatabase, make_service: MakeService
) -> None:
    source.sql(
        TABLE + "INSERT INTO items SELECT i, repeat('x', 100) FROM generate_series(1, 20000) i"
    )
    async with make_service(FULL, SLOW + "rows_per_second = 2000\n") as service:
        job = (await service.parts()).syncs.begin("items")
        while job.done < 1000:
            await asyncio.sleep(0.05)
        with pytest.raises(JobConflictError):
            (await service.parts()).syncs.begin("items")
        await (await service.parts()).jobs.cancel(job.id)
        assert job.state == "cancelled"
        for _ in range(2_400):
            if source.sql("SELECT count(*) FROM pg_stat_activity WHERE usename = 'reader'") == [
                ["0"]
            ]:
                break
            await asyncio.sleep(0.1)
        else:
            pytest.fail("the reader's query goes on")
        assert list(service.spool_directory.iterdir()) == []
        assert (await service.execute_query("SHOW TABLES")).data == []
        assert (await (await service.parts()).syncs.describe())[0]["job"] is None


async def test_new_columns_come_and_incompatible_ones_stop_their_table_alone(
    source: SourceDatabase, make_service: MakeService
) -> None:
    source.sql(TABLE + "INSERT INTO items VALUES (1, 'a')")
    source.sql("CREATE TABLE others (id int); INSERT INTO others VALUES (1)")
    others = FULL.replace("items", "others")
    async with make_service(GROWING + others) as service:
        await run_sync(service, "items")
        source.sql("ALTER TABLE items ADD COLUMN score numeric(6,2) DEFAULT 2.5")
        source.sql("UPDATE items SET updated_at = now()")
        await run_sync(service, "items")
        rows = await service.execute_query("SELECT id, score::VARCHAR FROM items")
        assert rows.data == [(1, "2.50")]
        source.sql("ALTER TABLE items ALTER v TYPE bytea USING v::bytea")
        source.sql("ALTER TABLE items DROP score")
        error = await run_sync(service, "items", "failed")
        assert error["code"] == "sync_drift"
        is_told(error, "v is bytea and v is VARCHAR", "score is no longer in the source")
        await run_sync(service, "others")
        statuses = await (await service.parts()).syncs.describe()
        assert [each["failures"] for each in statuses] == [1, 0]
        source.sql("ALTER TABLE items DROP v, ADD v text DEFAULT 'again'")
    async with make_service(GROWING + 'exclude = ["score"]\n') as service:
        await run_sync(service, "items")
        assert (await service.execute_query("SELECT v FROM items")).data == [("again",)]


async def test_values_that_do_not_fit_a_narrower_column_stop_the_run_whole(
    source: SourceDatabase, make_service: MakeService
) -> None:
    source.sql(
        "CREATE TABLE items (id int, v bigint); INSERT INTO items VALUES (1, 2), (2, 99999999999)"
    )
    async with make_service(FULL) as service:
        await service.execute_query("CREATE TABLE items (id INTEGER, v SMALLINT)")
        error = await run_sync(service, "items", "failed")
        assert error["code"] == "sync_data"
        is_told(error, "99999999999", "ALTER TABLE")
        source.sql("UPDATE items SET v = 5")
        await run_sync(service, "items")


async def test_an_alter_of_the_sync_waits_for_writers_and_loses_no_row_of_theirs(
    source: SourceDatabase, make_service: MakeService
) -> None:
    source.sql(TABLE + "INSERT INTO items VALUES (1, 'a')")
    async with make_service(GROWING) as service:
        await run_sync(service, "items")
        source.sql("ALTER TABLE items ADD COLUMN n int")
        stop, written = threading.Event(), 0

        async def write() -> None:
            nonlocal written
            while not stop.is_set():
                await service.execute_query("INSERT INTO items (id) VALUES ($1)", [-1 - written])
                written += 1

        writer = asyncio.create_task(write())
        await run_sync(service, "items")
        stop.set()
        await writer
        rows = await service.execute_query("SELECT count(*) FROM items WHERE id < 0")
        assert rows.data == [(written,)]


async def test_a_failure_is_known_after_a_restart_and_ended_by_a_success(
    source: SourceDatabase, make_service: MakeService
) -> None:
    async with make_service(FULL) as service:
        await run_sync(service, "items", "failed")
    async with make_service(FULL) as service:
        status = (await (await service.parts()).syncs.describe())[0]
        assert status["failures"] == 1
        assert "does not exist" in status["error"]["detail"]
        source.sql(TABLE)
        await run_sync(service, "items")
        status = (await (await service.parts()).syncs.describe())[0]
        assert (status["failures"], status["error"]) == (0, None)
        with pytest.raises(SyncNotFoundError, match="nothing"):
            (await service.parts()).syncs.begin("nothing")


async def test_the_connection_string_may_be_in_a_file_and_is_in_no_process_list(
    source: SourceDatabase,
    make_service: MakeService,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source.sql(
        TABLE + "INSERT INTO items SELECT i, repeat('x', 100) FROM generate_series(1, 9000) i"
    )
    secret = tmp_path / "dsn"
    secret.write_text(source.dsn + "\n")
    monkeypatch.delenv("TEST_PLATFORM_DSN")
    where = SLOW.replace('dsn_env = "TEST_PLATFORM_DSN"', f'dsn_file = "{secret}"')
    async with make_service(FULL, where + "rows_per_second = 5000\n") as service:
        job = (await service.parts()).syncs.begin("items")
        while not job.done:
            await asyncio.sleep(0.05)
        listed = "".join(
            path.read_bytes().decode(errors="replace") for path in Path("/proc").glob("*/cmdline")
        )
        assert "chronoduck.tasks" in listed
        assert quote(PASSWORD, safe="") not in listed
        await (await service.parts()).jobs.wait(job)
        assert job.state == "succeeded", job.as_dict()
