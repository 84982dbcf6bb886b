"""What goes wrong is told in Meilisearch's own words and with what to do, and loses nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from chronoduck.assembly import DuckDBService
from chronoduck.errors import SettingsError
from tests.export.running import MakeService, run_export
from tests.export.test_indexing import CHANGES, HEAD, REBUILD, expected, fill, held
from tests.meilisearch import KEY, REAL_URL, Meilisearch
from tests.server import free_port

pytestmark = pytest.mark.slow
SMALL = "batch_size = 10_000\n"
FIRM = SMALL + 'patience = "1s"\nrequest_timeout = "2s"\n'


def is_told(error: dict[str, Any], *words: str) -> None:
    text = f"{error['detail']} {error['hint']}"
    for word in words:
        assert word in text, text
    assert KEY not in text


async def test_a_wrong_or_missing_key_is_told_and_never_shown(
    make_service: MakeService,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    wrong = "wrong-secret-key-0123456789"
    async with make_service(REBUILD) as service:
        await fill(service)
        monkeypatch.setenv("TEST_SEARCH_KEY", wrong)
        error = await run_export(service, expect="failed")
        assert error["code"] == "export_server"
        is_told(error, "[invalid_api_key]", "chronoduck help meilisearch")
        monkeypatch.delenv("TEST_SEARCH_KEY")
        is_told(await run_export(service, expect="failed"), "TEST_SEARCH_KEY")
    file = tmp_path / "key"
    async with make_service(REBUILD, f'key_file = "{file}"\n') as service:
        is_told(await run_export(service, expect="failed"), str(file), "No such file")
        file.write_text(f"{KEY}\n")
        await run_export(service)
    printed = caplog.text + "".join(capfd.readouterr())
    assert wrong not in printed
    assert KEY not in printed


async def test_a_server_that_is_away_is_waited_for_and_then_told(
    make_service: MakeService, index: str
) -> None:
    async with make_service(REBUILD, FIRM) as service:
        await fill(service)
        exports = (await service.parts()).declared_exports
        nobody = f"http://127.0.0.1:{free_port()}"
        there = exports._servers["search"]
        exports._servers["search"] = there.model_copy(update={"url": nobody})
        error = await run_export(service, expect="failed")
        assert error["code"] == "export_server"
        is_told(error, nobody, "does not answer for 1 s", "the next run goes on")
        for _ in range(2):
            await run_export(service, expect="failed")
        health = await service.health_check()
        assert health["components"]["export"]["status"] == "degraded"
        assert nobody not in str(health["components"]["export"])
        exports._servers["search"] = there
        await run_export(service)
        health = await service.health_check()
        assert health["components"]["export"]["status"] == "healthy"


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "status", "status": 429, "retry_after": 1},
        {"kind": "status", "status": 503},
        {"kind": "drop_before"},
        {"kind": "drop_after"},
    ],
    ids=lambda fault: str(fault.get("status", fault["kind"])),
)
@pytest.mark.parametrize(
    "match",
    [
        "POST /indexes$",
        "POST .*/documents",
        "POST /swap-indexes",
        "GET /tasks",
        "stats",
        "DELETE ",
    ],
)
async def test_every_call_survives_faults(
    search: Meilisearch, index: str, make_service: MakeService, fault: dict[str, Any], match: str
) -> None:
    async with make_service(CHANGES + 'deletes = "key-diff"\n', SMALL) as service:
        await fill(service, 500)
        await run_export(service)
        await service.execute_query("DELETE FROM items WHERE id % 2 = 0")
        search.fault(match=match, times=2, **fault)
        await run_export(service, rebuild=True)
        assert held(search, index) == await expected(service)
        assert search.count(f"{index}_new") == -1


async def test_a_payload_that_is_too_large_is_sent_in_smaller_pieces(
    tmp_path: Path, make_service: MakeService, index: str
) -> None:
    with Meilisearch(tmp_path / "small", payload_bytes=3_000) as search:
        if REAL_URL:
            pytest.skip("its limit is not ours to set")
        async with make_service(REBUILD) as service:
            exports = (await service.parts()).declared_exports
            there = exports._servers["search"]
            exports._servers["search"] = there.model_copy(update={"url": search.url})
            await fill(service, 300)
            facts = await run_export(service)
            assert facts["documents"] == 300
            assert held(search, index) == await expected(service)
            await service.execute_query("UPDATE items SET v = repeat('x', 5000) WHERE id = 7")
            error = await run_export(service, expect="failed")
            assert error["code"] == "export_data"
            is_told(error, "MEILI_HTTP_PAYLOAD_SIZE_LIMIT")
            assert held(search, index)["7"] == "v7"  # the index that is searched is whole


async def test_a_task_that_fails_is_told_in_meilisearchs_words_and_the_next_run_mends_it(
    search: Meilisearch, index: str, make_service: MakeService
) -> None:
    async with make_service(CHANGES, SMALL) as service:
        await fill(service, 500)
        await run_export(service)
        before = held(search, index)
        await service.execute_query("UPDATE items SET v = 'new', updated_at = '2025-01-01'")
        for wish in ({"rebuild": True}, {"rebuild": False}):
            search.fault("task", "documentAdditionOrUpdate", code="no_space_left_on_device",
                         message="There is no more space left on the device.")  # fmt: skip
            error = await run_export(service, expect="failed", **wish)
            assert error["code"] == "export_task"
            is_told(
                error, "documentAdditionOrUpdate", "no more space left", "[no_space_left_on_device]"
            )
            is_told(
                error, "https://docs.meilisearch.com/errors#no_space_left_on_device", "Free space"
            )
            if wish["rebuild"]:
                assert held(search, index) == before
        await run_export(service)
        assert held(search, index) == await expected(service)


async def test_a_task_that_takes_too_long_is_told(
    search: Meilisearch, make_service: MakeService
) -> None:
    async with make_service(REBUILD, 'task_timeout = "200ms"\n') as service:
        await fill(service)
        search.slow(1.0)
        try:
            error = await run_export(service, expect="failed")
        finally:
            search.slow(0.0)
        assert error["code"] == "export_task"
        is_told(error, "is not done after 0.2 s", "task_timeout")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("query = \"SELECT 'a b' AS id\"", ("'a b'", 'id = "hash"')),
        ('query = "SELECT NULL::VARCHAR AS id"', ("have no id",)),
        ('query = "SELECT 1 AS id FROM range(5)"', ("5 rows became 1 documents", "not unique")),
        ('query = "SELECT 1 AS other"', ("has no column id",)),
        ('query = "SELECT 1.5::DOUBLE AS id"', ("is no key",)),
        ('query = "SELECT 1 AS id; SELECT 2 AS id"', ("statement",)),
        ('query = "DELETE FROM items RETURNING id"', ("may not run DELETE",)),
        ('query = "SELECT * FROM _chronoduck.exports"', ("_chronoduck",)),
        ("query = \"SELECT 1 AS id FROM read_text('/etc/passwd')\"", ("read_text",)),
    ],
)
async def test_a_query_that_cannot_be_documents_is_refused_and_the_index_stays(
    search: Meilisearch,
    index: str,
    make_service: MakeService,
    text: str,
    words: tuple[str, ...],
) -> None:
    async with make_service(HEAD + text + "\n") as service:
        await service.execute_query("CREATE TABLE items AS SELECT 1 AS id")
        is_told(await run_export(service, expect="failed"), *words)
        assert search.count(index) == search.count(f"{index}_new") == -1
        assert (await service.execute_query("SELECT count(*) FROM items")).data == [(1,)]


async def test_unknown_settings_are_named(make_service: MakeService, index: str) -> None:
    async with make_service(REBUILD + "[index.items.settings]\nsearchable = []\n") as service:
        await fill(service)
        is_told(await run_export(service, expect="failed"), "no setting searchable")


async def test_a_run_that_is_cancelled_leaves_the_index_and_no_files(
    search: Meilisearch, index: str, make_service: MakeService
) -> None:
    async with make_service(REBUILD, SMALL) as service:
        await fill(service, 2000)
        await run_export(service)
        search.slow(0.1)
        try:
            parts = await service.parts()
            exports, jobs = parts.declared_exports, parts.jobs
            job = exports.begin("items", rebuild=True)
            while job.step != "indexing":
                await asyncio.sleep(0.01)
            await jobs.cancel(job.id)
        finally:
            search.slow(0.0)
        assert job.state.value == "cancelled"
        assert search.count(index) == 2000
        assert list(service.spool_directory.glob("export-*")) == []
        await run_export(service)
        assert search.count(f"{index}_new") == -1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = 1", "Extra inputs"),
        ('[meilisearch.a]\nurl = "http://u:secret@h"', "no secret belongs"),
        ('[meilisearch.a]\nurl = "ftp://h"', "an address is"),
        ('[meilisearch.a]\nurl = "http://h"\nkey_env = "A"\nkey_file = "b"', "either key_env or"),
        (
            '[index.i]\nmeilisearch = "a"\nkey = "id"\nquery = "SELECT 1"',
            "there is no [meilisearch.a]",
        ),
        ("index = 5", "are tables"),
    ],
)
def test_a_file_that_is_not_understood_stops_the_start_and_says_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, words: str
) -> None:
    from chronoduck.export import read_export_file

    file = tmp_path / "export.toml"
    file.write_text(text)
    with pytest.raises(SettingsError) as raised:
        read_export_file(file)
    assert words in raised.value.detail
    assert "secret@" not in raised.value.detail


async def test_a_service_without_exports_says_so(service: DuckDBService) -> None:
    exports = (await service.parts()).declared_exports
    assert await exports.describe() == []
    with pytest.raises(Exception, match="there is no export nothing"):
        exports.begin("nothing")


@pytest.mark.parametrize("body", [[], None, "x", 1, {}, {"taskUid": "x"}, {"results": 1}, [[]]])
@pytest.mark.parametrize("match", ["GET /indexes/[^/]*$", "POST /indexes$", "GET /tasks", "stats"])
async def test_json_that_is_no_answer_of_meilisearchs_is_told(
    search: Meilisearch, index: str, make_service: MakeService, match: str, body: Any
) -> None:
    async with make_service(REBUILD, FIRM) as service:
        await fill(service)
        search.fault("answer", match=match, status=200, body=body)
        error = await run_export(service, expect="failed")
        assert error["code"] == "export_server"
        # A task of no such name is asked for, and refused.
        asks_for_a_task = match.startswith("POST") and body == {"taskUid": "x"}
        told = "invalid_task_uid" if asks_for_a_task else "answers what Meilisearch does not say"
        is_told(error, told)
        await run_export(service)
        assert held(search, index) == await expected(service)


async def test_deletions_that_are_too_large_are_sent_in_smaller_pieces(
    search: Meilisearch, index: str, make_service: MakeService
) -> None:
    async with make_service(CHANGES + 'deletes = "key-diff"\n', FIRM) as service:
        await fill(service)
        await run_export(service)
        await service.execute_query("DELETE FROM items WHERE id <= 50")
        refused = {"match": "delete-batch", "status": 413, "code": "payload_too_large"}
        search.fault("status", times=3, **refused)
        assert (await run_export(service))["deleted"] == 50
        assert held(search, index) == await expected(service)
        await service.execute_query("DELETE FROM items WHERE id = 60")
        search.fault("status", **refused)
        error = await run_export(service, expect="failed")
        is_told(error, "MEILI_HTTP_PAYLOAD_SIZE_LIMIT")


async def test_a_full_database_of_tasks_is_told(
    search: Meilisearch, index: str, make_service: MakeService
) -> None:
    body = {
        "message": "Meilisearch cannot receive write operations because the limit of the task "
        "database has been reached. Please delete tasks to continue performing write operations.",
        "code": "no_space_left_on_device",
        "type": "system",
        "link": "https://docs.meilisearch.com/errors#no_space_left_on_device",
    }
    async with make_service(REBUILD, FIRM) as service:
        await fill(service)
        search.fault("answer", match="POST /indexes$", status=422, body=body)
        is_told(await run_export(service, expect="failed"), "delete its ended tasks")
