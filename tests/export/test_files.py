"""Exports into files, as a file declares them: whole or not at all, and only their own old ones go."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from chronoduck.assembly import DuckDBService
from chronoduck.errors import SettingsError
from chronoduck.settings import ExportSettings, Settings
from tests.export.running import run_export
from tests.patience import PATIENCE_SECONDS
from tests.server import Server, run_cli

ITEMS = """
[files.items]
query = "SELECT i AS n, i % 3 AS part FROM range(1000) r(i)"
keep = 2
"""


@pytest.fixture
def make(make_settings: Callable[..., Settings], tmp_path: Path) -> Callable[..., object]:
    """Return what opens a service whose exports go below ``out``."""

    @asynccontextmanager
    async def open_(text: str) -> AsyncIterator[DuckDBService]:
        file = tmp_path / "export.toml"
        file.write_text(text)
        export = ExportSettings(url=str(tmp_path / "out"), file=file)
        async with DuckDBService(make_settings(export=export)) as service:
            yield service

    return open_


def folders(tmp_path: Path) -> list[str]:
    return sorted(each.name for each in (tmp_path / "out").glob("*"))


async def until_there_are(tmp_path: Path, expected: set[str]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while set(folders(tmp_path)) != expected:
            await asyncio.sleep(0.01)


async def test_the_newest_are_kept_over_a_restart_and_nothing_of_others_goes(
    make: Callable[..., object], tmp_path: Path
) -> None:
    made: list[str] = []
    (tmp_path / "out" / "items_of_others").mkdir(parents=True)
    for runs in (3, 2):
        async with make(ITEMS) as service:  # type: ignore[attr-defined]
            for _ in range(runs):
                told = await run_export(service)
                made.append(told["url"].rpartition("/")[2])
                assert (told["rows"], len(told["files"])) == (1000, 1)
                await until_there_are(tmp_path, {*made[-2:], "items_of_others"})
            [state] = await (await service.parts()).declared_exports.describe()
            assert (state["kind"], state["documents"], state["failures"]) == ("files", 1000, 0)
    assert pq.read_table(tmp_path / "out" / made[-1] / "items.parquet").num_rows == 1000


async def test_partitions_and_other_formats(make: Callable[..., object], tmp_path: Path) -> None:
    text = ITEMS + 'partition_by = "part"\nformat = "csv"\n'
    async with make(text) as service:  # type: ignore[attr-defined]
        told = await run_export(service)
    names = {each["name"].partition("/")[0] for each in told["files"]}
    assert names == {"part=0", "part=1", "part=2"}


async def test_a_failure_leaves_nothing_and_keeps_what_was_there(
    make: Callable[..., object], tmp_path: Path
) -> None:
    async with make(ITEMS) as service:  # type: ignore[attr-defined]
        good = (await run_export(service))["url"].rpartition("/")[2]
    for query, code in (
        ("SELECT * FROM nowhere", "export_write"),
        ("SELECT error('x') FROM range(3)", "export_write"),
        ("FROM read_text('/etc/passwd')", "statement_refused"),
        ("DELETE FROM pages_analytics", "statement_refused"),
    ):
        text = f'[files.items]\nquery = "{query}"\nkeep = 1\n'
        async with make(text) as service:  # type: ignore[attr-defined]
            error = await run_export(service, expect="failed")
            assert error["code"] == code, error
            [state] = await (await service.parts()).declared_exports.describe()
            assert state["error"]["code"] == code
            assert folders(tmp_path) == [good]


async def test_an_export_that_is_cancelled_leaves_nothing(
    make: Callable[..., object], tmp_path: Path
) -> None:
    text = '[files.items]\nquery = "SELECT a.range FROM range(100000) a, range(100000) b"\n'
    async with make(text) as service:  # type: ignore[attr-defined]
        parts = await service.parts()
        job = parts.declared_exports.begin("items")
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not any(each.kind == "export" for each in parts.jobs.list()):
                await asyncio.sleep(0.01)
        await parts.jobs.cancel(job.id)
        assert all(each.has_ended for each in parts.jobs.list())
        assert job.state.value == "cancelled"
    assert folders(tmp_path) == []


@pytest.mark.parametrize(
    "text",
    [
        '[files.x]\nquery = "SELECT 1"\nformat = "arrow"\npartition_by = "a"',
        '[files.x]\nquery = "SELECT 1"\nkeep = 0',
        '[files.x]\nquery = "SELECT 1"\nschedule = "now"',
        '[files."a/b"]\nquery = "SELECT 1"',
        '[files.x]\nquery = "SELECT 1"\nsurprise = 1',
    ],
)
async def test_what_is_not_understood_stops_the_start(
    make: Callable[..., object], text: str
) -> None:
    with pytest.raises(SettingsError):
        async with make(text):  # type: ignore[attr-defined]
            pass


@pytest.mark.slow
def test_commands_and_routes_run_them(tmp_path: Path) -> None:
    file = tmp_path / "export.toml"
    file.write_text(ITEMS)
    settings = {"DUCKDB_EXPORT_FILE": file, "DUCKDB_EXPORT_URL": tmp_path / "out"}
    done = run_cli(tmp_path, "export", "run", **settings)
    assert done.returncode == 0, done.stderr
    assert "1,000 rows in 1 files" in done.stdout
    with Server(tmp_path, **settings) as server, server.client() as client:
        done = run_cli(tmp_path, "export", "run", "items", **settings)
        assert done.returncode == 0, done.stderr
        assert "well" in run_cli(tmp_path, "export", "status", **settings).stdout
        [told] = client.get("/exports").json()["exports"]
        assert (told["kind"], told["last"]["sent"]) == ("files", 1000)
        job = next(each for each in client.get("/jobs").json() if each["kind"] == "export")
        name = job["result"]["files"][0]["name"]
        answer = client.get(f"/exports/{job['id']}/files/{name}")
        assert answer.content.startswith(b"PAR1")
    assert len(folders(tmp_path)) == 2


@pytest.mark.parametrize("extra", ["", 'partition_by = "part"\n'])
async def test_a_folder_that_is_whole_is_marked_and_the_mark_is_loaded_by_nobody(
    make: Callable[..., object], tmp_path: Path, extra: str
) -> None:
    async with make(ITEMS + extra) as service:  # type: ignore[attr-defined]
        told = await run_export(service)
    assert all(each["name"] != "_SUCCESS" for each in told["files"])
    mark = Path(told["url"]) / "_SUCCESS"
    written = [path.stat().st_mtime_ns for path in mark.parent.rglob("*.parquet")]
    assert mark.stat().st_size == 0
    assert mark.stat().st_mtime_ns >= max(written)
    done = run_cli(tmp_path, "load", told["url"], "--table", "items")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("rows added to items") == len(told["files"])


async def test_what_cannot_be_removed_stays_recorded_and_goes_later(
    make: Callable[..., object], tmp_path: Path
) -> None:
    text = ITEMS.replace("keep = 2", "keep = 1")
    async with make(text) as service:  # type: ignore[attr-defined]
        first = Path((await run_export(service))["url"])
        aside = first.rename(tmp_path / "aside")
        first.symlink_to(aside)  # which is not followed
        told = await run_export(service)
        assert first.name in told["notes"][0]
        assert (aside / "items.parquet").is_file()
        first.unlink()
        last = (await run_export(service))["url"]
        assert folders(tmp_path) == [Path(last).name]


async def test_old_ones_go_though_their_jobs_are_forgotten(
    make: Callable[..., object], tmp_path: Path
) -> None:
    text = ITEMS.replace("keep = 2", "keep = 1")
    async with make(text) as service:  # type: ignore[attr-defined]
        await run_export(service)
    for path in tmp_path.rglob("*.json"):
        path.unlink()
    async with make(text) as service:  # type: ignore[attr-defined]
        last = (await run_export(service))["url"]
        assert folders(tmp_path) == [Path(last).name]


async def test_a_run_that_failed_leaves_no_job_of_its_files(
    make: Callable[..., object], tmp_path: Path
) -> None:
    text = "[files.items]\nquery = \"SELECT error('x') FROM range(3)\"\n"
    async with make(text) as service:  # type: ignore[attr-defined]
        await run_export(service, expect="failed")
        assert [each.kind for each in (await service.parts()).jobs.list()] == ["export items"]


@pytest.mark.slow
def test_what_a_killed_run_had_begun_goes_with_the_next(tmp_path: Path) -> None:
    file = tmp_path / "export.toml"
    file.write_text(
        '[files.items]\nquery = "SELECT i AS n, i % 400 AS part FROM range(4000) r(i)"\n'
        'partition_by = "part"\n'
    )
    settings = {"DUCKDB_EXPORT_FILE": file, "DUCKDB_EXPORT_URL": tmp_path / "out"}
    with Server(tmp_path, **settings) as server, server.client() as client:
        client.post("/exports/run", json={"names": ["items"]}).raise_for_status()
        end = time.monotonic() + PATIENCE_SECONDS
        while not list((tmp_path / "out").glob("*/part=*")):
            assert time.monotonic() < end
        server.kill()
    [begun] = (tmp_path / "out").iterdir()
    assert not (begun / "_SUCCESS").exists()
    done = run_cli(tmp_path, "export", "run", **settings)
    assert done.returncode == 0, done.stderr
    [whole] = (tmp_path / "out").iterdir()
    assert (whole / "_SUCCESS").exists()
    assert whole != begun
