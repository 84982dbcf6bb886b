"""Syncs from outside: routes, roles, commands, metrics, audit, schedule; their state is nobody else's."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx2
import pytest

from chronoduck.api import create_app
from chronoduck.assembly import DuckDBService
from chronoduck.assembly.authentication import open_authenticator
from chronoduck.errors import SettingsError, StatementRefusedError
from chronoduck.principals import Principal, Role
from chronoduck.service.records import Caller
from chronoduck.settings import Settings
from tests.patience import PATIENCE_SECONDS
from tests.postgres import SourceDatabase
from tests.server import run_cli
from tests.sync.running import SOURCE, MakeService, run_sync

pytestmark = pytest.mark.slow
ITEMS = (
    '[sync.items]\nsource = "platform"\ntable = "items"\ntarget = "items"\n'
    'key = ["id"]\ncursor = "updated_at"\nschedule = "*/5 * * * *"\n'
)
TABLE = (
    "CREATE TABLE items (id bigint PRIMARY KEY, v text, updated_at timestamptz DEFAULT now());"
    "INSERT INTO items VALUES (1, 'a'), (2, 'b');"
)
BROKEN = '[sync.broken]\nsource = "platform"\ntable = "absent"\ntarget = "b"\nmode = "full"\n'


@pytest.fixture
async def client(
    source: SourceDatabase, make_service: MakeService, settings: Settings
) -> AsyncIterator[httpx2.AsyncClient]:
    source.sql(TABLE)
    async with make_service(ITEMS + BROKEN) as service:
        app = create_app(service)
        app.state.access.authenticator = open_authenticator(service.settings)
        token = settings.token_path.read_text().strip()
        async with httpx2.AsyncClient(
            transport=httpx2.ASGITransport(app),
            base_url="http://test/api/v1/duckdb",
            headers={"Authorization": f"Bearer {token}"},
        ) as opened:
            yield opened


async def ended(client: httpx2.AsyncClient, job: dict[str, str]) -> dict[str, str]:
    while job["state"] == "running":
        await asyncio.sleep(0.05)
        job = (await client.get(f"/jobs/{job['id']}")).json()
    return job


async def test_all_syncs_are_begun_followed_counted_and_audited(client: httpx2.AsyncClient) -> None:
    before = (await client.get("/sync")).json()["syncs"]
    assert [each["name"] for each in before] == ["items", "broken"]
    assert before[0]["next_at"]
    assert before[1]["next_at"] is None
    answer = await client.post("/sync", json={})
    assert answer.status_code == 202
    again = (await client.post("/sync", json={"names": ["items"]})).json()
    assert again == {"jobs": [], "running_already": ["items"]}
    jobs = [await ended(client, job) for job in answer.json()["jobs"]]
    assert [job["state"] for job in jobs] == ["succeeded", "failed"]
    after = (await client.get("/sync")).json()["syncs"]
    assert after[0]["last"]["added"] == 2
    assert after[0]["lag_seconds"] < PATIENCE_SECONDS
    assert after[0]["last_success_at"]
    assert after[1]["failures"] == 1
    assert after[1]["error"]["hint"]
    metrics = (await client.get("http://test/metrics")).text
    assert 'duckdb_sync_rows_total{sync="items"} 2.0' in metrics
    assert 'duckdb_sync_consecutive_failures{sync="broken"} 1.0' in metrics
    assert 'duckdb_sync_lag_seconds{sync="items"}' in metrics
    audit = (await client.get("/audit", params={"event": "sync_started"})).text
    assert audit.count("sync_started") >= 2
    missing = await client.post("/sync", json={"names": ["nothing"]})
    assert (missing.status_code, missing.json()["code"]) == (404, "sync_not_found")


async def test_health_tells_of_a_sync_that_fails_again_and_again(
    client: httpx2.AsyncClient,
) -> None:
    for number in range(3):
        health = (await client.get("/health")).json()
        assert health["components"]["sync"]["status"] == "healthy", number
        [job] = (await client.post("/sync", json={"names": ["broken"]})).json()["jobs"]
        await ended(client, job)
    health = (await client.get("/health")).json()
    assert health["components"]["sync"]["status"] == "degraded"
    assert "broken failed 3 times" in health["components"]["sync"]["reason"]


REACHING = [
    "SELECT * FROM _chronoduck.syncs",
    'SELECT * FROM "_CHRONODUCK"."syncs"',
    "UPDATE _chronoduck.syncs SET facts = '{}'",
    "INSERT INTO _chronoduck.syncs VALUES ('items', '{}')",
    "DROP SCHEMA _chronoduck CASCADE",
    "CREATE VIEW mine AS FROM _chronoduck.syncs",
    "ALTER TABLE _chronoduck.syncs DROP COLUMN facts",
    "EXPLAIN FROM _chronoduck.syncs",
    "FROM query_table('_chronoduck.syncs')",
    "COPY _chronoduck.syncs TO 'x.parquet'",
    "VACUUM _chronoduck.syncs",
]


async def test_what_is_known_of_syncs_is_out_of_reach_of_every_role(
    client: httpx2.AsyncClient,
) -> None:
    [job] = (await client.post("/sync", json={"names": ["items"]})).json()["jobs"]
    await ended(client, job)
    for sql in REACHING:
        for path, body in (
            ("/query", {"query": sql}),
            ("/batch", {"queries": [{"query": sql}]}),
            ("/explain", {"query": sql}),
        ):
            answer = await client.post(path, json=body)
            assert answer.status_code in (400, 403), (path, answer.text)
    names = {each["name"] for each in (await client.get("/tables")).json()}
    assert names == {"items"}
    granted = await client.post(
        "/keys",
        json={"name": "n", "role": "analyst", "schemas": ["_chronoduck"]},
    )
    assert granted.status_code == 422
    again = (await client.post("/sync", json={"names": ["items"]})).json()["jobs"][0]
    result = (await ended(client, again))["result"]
    assert result["added"] == 0  # the watermark is what it was


async def test_a_writer_may_not_reach_it_in_a_transaction_either(
    source: SourceDatabase, make_service: MakeService
) -> None:
    source.sql(TABLE)
    writer = Caller("w", principal=Principal("w", Role.WRITER, "key:w"))
    async with make_service(ITEMS) as service:
        await run_sync(service, "items")
        with pytest.raises(StatementRefusedError, match="keeps for itself"):
            async with service.transaction(caller=writer) as opened:
                await opened.execute("DELETE FROM _chronoduck.syncs")


async def test_a_sync_runs_at_its_times(source: SourceDatabase, make_service: MakeService) -> None:
    source.sql(TABLE)
    async with make_service(ITEMS.replace("*/5 * * * *", "* * * * * *")) as service:
        for _ in range(2_400):
            status = (await (await service.parts()).syncs.describe())[0]
            if status["last_success_at"]:
                break
            await asyncio.sleep(0.1)
        assert status["last"]["read"] == 2


def test_commands_run_show_and_plan_syncs_without_a_service(
    source: SourceDatabase, tmp_path: Path
) -> None:
    source.sql(TABLE)
    file = tmp_path / "sync.toml"
    file.write_text(SOURCE + ITEMS)
    options = {"DUCKDB_SYNC_FILE": file, "TEST_PLATFORM_DSN": source.dsn}
    planned = run_cli(tmp_path, "sync", "schedule", "--json", **options)
    assert len(json.loads(planned.stdout)[0]["next"]) == 3
    done = run_cli(tmp_path, "sync", "run", **options)
    assert done.returncode == 0, done.stderr
    assert "items: 2 rows read, 2 added, 0 changed, 0 deleted" in done.stdout
    shown = run_cli(tmp_path, "sync", "status", "--json", **options)
    assert json.loads(shown.stdout)[0]["last"]["added"] == 2
    file.write_text(SOURCE + ITEMS + BROKEN)
    failed = run_cli(tmp_path, "sync", "run", "--json", **options)
    assert failed.returncode == 69
    facts = json.loads(failed.stdout)
    assert facts[0]["read"] == 2
    assert facts[1]["error"]["code"] == "sync_source"
    unknown = run_cli(tmp_path, "sync", "run", "nothing", **options)
    assert unknown.returncode == 66


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[sync.a]\nsource = 'x'\ntable = 't'\ntarget = 't'\nmode = 'full'", r"no \[source.x\]"),
        ("[sync.a]\ntable = 't'", "sync.a.source"),
        (SOURCE + ITEMS + "[sync.b]\nsource = 'platform'\ntarget = 't'", "table or a query"),
        (SOURCE + ITEMS.replace("*/5 * * * *", "often"), "crontab"),
        (SOURCE + ITEMS.replace('"items"', '"a.b.c"'), "schema.table"),
        (SOURCE + ITEMS.replace('cursor = "updated_at"', ""), "needs key and cursor"),
        (SOURCE + ITEMS + "colour = 1", "sync.items.colour"),
        (SOURCE + ITEMS + 'mode = "stream"', "sync.items.mode"),
        (SOURCE + ITEMS + 'mode = "cdc"', "leave cursor and deletes out"),
        (SOURCE + ITEMS + 'publication = "p"', "publication belongs to mode"),
        (SOURCE + ITEMS.replace('key = ["id"]', 'mode = "cdc"'), "needs a table and its key"),
        ("[source.a]\ndsn = 'postgresql://u:secret@h/d'", "source.a.dsn"),
        ("[source.a]", "dsn_env or dsn_file"),
        ("not toml", "cannot be read"),
    ],
)
async def test_a_file_that_is_not_understood_stops_the_start_and_says_where(
    make_settings: Callable[..., Settings], tmp_path: Path, text: str, words: str
) -> None:
    file = tmp_path / "sync.toml"
    file.write_text(text)
    service = DuckDBService(make_settings(sync_file=file))
    with pytest.raises(SettingsError, match=words) as raised:
        await service.initialize()
    assert "u:secret" not in str(raised.value)


async def test_the_order_that_a_copy_gives_up_is_kept_for_everybody_else(
    source: SourceDatabase, make_service: MakeService
) -> None:
    source.sql("CREATE TABLE items (id int PRIMARY KEY); INSERT INTO items VALUES (1), (2)")
    text = '[sync.items]\nsource = "platform"\ntable = "items"\ntarget = "items"\nmode = "full"\n'
    asked = "SELECT current_setting('preserve_insertion_order')"
    async with make_service(text) as service:
        for _ in range(3):
            await run_sync(service, "items")
            answers = await asyncio.gather(*(service.execute_query(asked) for _ in range(20)))
            assert {str(answer.data[0][0]).lower() for answer in answers} == {"true"}
