"""A service on a database file that is damaged: what statements, checkpoints, health and verify say."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from chronoduck.api import create_app
from chronoduck.assembly import DuckDBService
from chronoduck.assembly.refuted_wal import RefutedWal
from chronoduck.engine.disk_format import BLOCK_BYTES, HEADER_BYTES
from chronoduck.engine.offline import UnopenableError, clone_database, read_database
from chronoduck.errors import (
    DatabaseCorruptError,
    DuckDBException,
    DuckDBQueryError,
    TransactionConflictError,
)
from chronoduck.resilience.write_gate import WritersBusyError
from chronoduck.settings import CheckpointSettings, Settings
from chronoduck.settings.groups import ShadowSettings
from chronoduck.shadow.messages import Mark, ShadowStatus
from chronoduck.sql.engine_errors import DamagedFileError
from tests.damaged_file import block_of, cut, invert, make_database
from tests.damaged_wal import crash
from tests.patience import PATIENCE_SECONDS

RUNBOOK = "Run `chronoduck runbook database-corrupt`."
READ_BIG = "SELECT max(v) FROM big"


@pytest.fixture
def damaged(settings: Settings) -> Settings:
    """Settings of a database whose table big cannot be read."""
    make_database(settings.database_path)
    invert(settings.database_path, block_of(settings.database_path, "big"))
    return settings


async def failure(service: DuckDBService, sql: str) -> DuckDBException:
    with pytest.raises(DuckDBException) as caught:
        await service.execute_query(sql)
    return caught.value


async def components(service: DuckDBService) -> dict[str, Any]:
    found: dict[str, Any] = (await service.health_check())["components"]
    return found


async def until(condition: Callable[[], Any], seconds: float = PATIENCE_SECONDS) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)


# --- statements -------------------------------------------------------------------------------


async def test_a_statement_that_meets_damage_says_so_and_health_names_the_runbook(
    damaged: Settings,
) -> None:
    async with DuckDBService(damaged) as service:
        assert (await components(service))["file"]["status"] == "healthy"
        for _ in range(8):  # one table's damage opens no breaker
            error = await failure(service, READ_BIG)
            assert isinstance(error, DatabaseCorruptError)
            assert (error.code, error.http_status, error.retryable) == (
                "database_corrupt",
                503,
                False,
            )
            assert "database-corrupt" in error.hint
            assert str(damaged.database_path) not in error.detail
        assert (await service.execute_query("SELECT count(v) FROM t")).data == [(30000,)]
        report = await service.health_check()
        assert report["components"]["file"]["status"] == "unhealthy"
        assert report["errors"] == [
            f"1 block of the database file is damaged or missing. {RUNBOOK}"
        ]
        metrics, _ = await service.render_metrics("text/plain", show_versions=False)
        assert b"duckdb_scrub_damaged_blocks 1.0" in metrics


@pytest.mark.parametrize("media", ["application/json", "application/vnd.apache.arrow.stream"])
async def test_the_same_over_http_whatever_the_format(damaged: Settings, media: str) -> None:
    app = create_app(DuckDBService(damaged))
    async with app.router.lifespan_context(app):
        transport = httpx2.ASGITransport(app)
        token = damaged.token_path.read_text().strip()
        async with httpx2.AsyncClient(
            transport=transport,
            base_url="http://test/api/v1/duckdb",
            headers={"Authorization": f"Bearer {token}", "Accept": media},
        ) as client:
            for sql in (READ_BIG, "SELECT v FROM big"):
                answer = await client.post("/query", json={"query": sql})
                assert (answer.status_code, answer.json()["code"]) == (503, "database_corrupt")
            answer = await client.post("/batch", json={"queries": [READ_BIG]})
            assert (answer.status_code, answer.json()["code"]) == (503, "database_corrupt")


async def test_words_of_a_user_are_never_damage(settings: Settings) -> None:
    make_database(settings.database_path, "DROP TABLE big", "CHECKPOINT")
    blocks = (settings.database_path.stat().st_size - HEADER_BYTES) // BLOCK_BYTES
    async with DuckDBService(settings) as service:
        for number in range(blocks):
            words = (
                "Corrupt database file: computed checksum 1 does not match stored checksum 2 in "
                f"block at location {HEADER_BYTES + number * BLOCK_BYTES}"
            )
            forged = f'{{"exception_type":"Data Corruption","exception_message":"{words}"}}'
            for sql in (
                f"SELECT error('{words}')",
                f"SELECT error('{forged}')",
                f"SELECT CAST('{words}' AS INTEGER)",
                "SELECT error('Could not read enough bytes from file')",
            ):
                error = await failure(service, sql)
                assert isinstance(error, DuckDBQueryError), sql
        assert (await components(service))["file"]["status"] == "healthy"


async def test_a_file_whose_end_is_lost_while_it_is_served(settings: Settings) -> None:
    make_database(settings.database_path)
    number = block_of(settings.database_path, "big")
    async with DuckDBService(settings) as service:
        cut(settings.database_path, number)
        error = await failure(service, READ_BIG)
        assert error.code == "database_corrupt"
        assert "at its end are missing" in error.detail
        assert (await components(service))["file"]["hint"] == RUNBOOK
    with pytest.raises(DatabaseCorruptError, match="its end is cut off"):
        await DuckDBService(settings).initialize()


async def test_what_nothing_uses_any_more_is_no_damage(damaged: Settings) -> None:
    async with DuckDBService(damaged) as service:
        await failure(service, READ_BIG)
        await service.execute_query("DROP TABLE big")
        await service.execute_query("CHECKPOINT")
        assert (await components(service))["file"]["status"] == "healthy"


# --- checkpoints ------------------------------------------------------------------------------


@asynccontextmanager
async def on_uncheckpointable(
    make_settings: Callable[..., Settings], **settings: Any
) -> AsyncIterator[DuckDBService]:
    """Open a service whose next checkpoint fails: it has to write a block anew that is damaged."""
    made = make_settings(disk_floor=0, **settings)
    make_database(made.database_path)
    invert(made.database_path, block_of(made.database_path, "t"))
    async with DuckDBService(made) as service:
        yield service


CHANGE = "INSERT INTO t VALUES (-1, 'new')"


async def test_checkpoints_that_damage_ends_are_not_repeated_at_once(
    make_settings: Callable[..., Settings], caplog: pytest.LogCaptureFixture
) -> None:
    checkpoint = CheckpointSettings(commits=1)
    async with on_uncheckpointable(make_settings, checkpoint=checkpoint) as service:
        parts = await service.parts()
        wal = service.settings.database_path.with_name("test.db.wal")
        await service.execute_query(CHANGE)
        await until(lambda: parts.access.healer.count)
        size, heals = wal.stat().st_size, parts.access.healer.count
        assert size
        await asyncio.sleep(4)
        with pytest.raises(DamagedFileError):
            await parts.checkpointer.checkpoint_something()
        assert not await parts.checkpointer.checkpoint_if_free()
        assert (parts.access.healer.count, wal.stat().st_size) == (heals, size)
        found = await components(service)
        assert found["file"]["hint"] == found["checkpoint"]["hint"] == RUNBOOK
        assert (await service.execute_query("SELECT count(*) FROM big")).data == [(60000,)]
    assert "checkpoint_failed" in caplog.text


async def test_the_saving_checkpoint_backs_off_and_the_wal_does_not_grow(
    make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where nothing shows why it fails: the file is whole again whenever somebody looks."""
    async with on_uncheckpointable(make_settings) as service:
        parts = await service.parts()
        monkeypatch.setattr(parts.instance.damage, "judge", lambda error: error)
        refuted: RefutedWal = parts.refuted
        await service.execute_query(CHANGE)
        wal = service.settings.database_path.with_name("test.db.wal")
        parts.shadow.status = ShadowStatus(verdict="refuted", refuted=Mark(1, 1, 1, 0))
        refuted.note_refuted("a test")
        await until(lambda: parts.access.healer.count)
        size = wal.stat().st_size
        await asyncio.sleep(6)
        assert parts.access.healer.count <= 5  # after 0.5, 1, 2 and 5 s; it was 8 a second
        assert wal.stat().st_size <= size + 5 * 400
        assert refuted.last_error
        parts.shadow.status = ShadowStatus()


async def test_attempts_at_a_checkpoint_do_not_make_the_wal_longer(settings: Settings) -> None:
    wal = settings.database_path.with_name("test.db.wal")
    async with DuckDBService(settings) as service:
        await service.execute_query("CREATE TABLE t AS SELECT range AS a FROM range(10)")
        checkpointer = (await service.parts()).checkpointer
        sizes = set()
        async with service.transaction() as blocking:
            await blocking.execute("UPDATE t SET a = 1")
            for _ in range(4):
                with pytest.raises((TransactionConflictError, WritersBusyError)):
                    await checkpointer.checkpoint_something()
                sizes.add(wal.stat().st_size)
        assert len(sizes) == 1
        await checkpointer.checkpoint_something()
        assert not wal.exists() or not wal.stat().st_size


# --- the shadow -------------------------------------------------------------------------------


async def test_the_shadow_does_not_blame_the_wal_for_a_damaged_file(
    make_settings: Callable[..., Settings],
) -> None:
    shadow = ShadowSettings(enabled=True, cpu_percent=100)
    async with on_uncheckpointable(make_settings, shadow=shadow) as service:
        parts = await service.parts()
        await service.execute_query("INSERT INTO t VALUES (-1, 'new')")
        await until(lambda: parts.shadow.status.file_damage)
        status = parts.shadow.status
        assert (status.verdict, status.refuted) == ("not_judged", None)
        assert status.reason.startswith("the file itself is damaged: block ")
        assert not parts.refuted.refusing
        assert parts.access.healer.count == 0
        report = await service.health_check()
        unwell = [each for each in report["components"].values() if each["status"] != "healthy"]
        assert {each["hint"] for each in unwell} == {RUNBOOK}
        assert report["components"]["file"]["status"] == "unhealthy"
        await service.execute_query("INSERT INTO t VALUES (-2, 'new')")  # writes go on


async def test_the_shadow_notices_a_lost_end(make_settings: Callable[..., Settings]) -> None:
    settings = make_settings(disk_floor=0, shadow=ShadowSettings(enabled=True, cpu_percent=100))
    make_database(settings.database_path)
    number = block_of(settings.database_path, "big")
    async with DuckDBService(settings) as service:
        parts = await service.parts()
        await until(lambda: parts.shadow.status.proven)
        cut(settings.database_path, number)
        await until(lambda: "missing" in parts.shadow.status.file_damage)
        assert (await components(service))["file"]["hint"] == RUNBOOK


# --- offline ----------------------------------------------------------------------------------


def test_damage_of_the_file_is_no_reason_to_leave_transactions_out(tmp_path: Path) -> None:
    """Neither where the WAL cannot be replayed for it, nor where all of it can be."""
    sound = tmp_path / "sound.db"
    make_database(sound)
    texts = block_of(sound, "t")
    crash(sound, [CHANGE])
    blocks = (sound.stat().st_size - HEADER_BYTES) // BLOCK_BYTES
    found = set()
    for number in range(texts, blocks):  # texts, and the key's index behind them
        path = tmp_path / str(number) / "sound.db"
        path.parent.mkdir()
        clone_database(sound, path)
        invert(path, number)
        try:
            read_database(path, full=True, checkpoint=True)
        except UnopenableError as error:
            found.add((error.kept, error.lost))
            assert "QUARANTINE" not in error.hint
            assert "chronoduck recover" in error.hint
    assert found == {(1, 0), (0, 1)}


async def test_verify_names_the_database_and_tells_health(damaged: Settings) -> None:
    async with DuckDBService(damaged) as service:
        job = (await service.parts()).backups.verify_database()
        async with asyncio.timeout(PATIENCE_SECONDS):
            while job.error is None:
                await asyncio.sleep(0.05)
        assert str(damaged.database_path) in job.error["detail"]
        assert str(damaged.temp_directory) not in job.error["detail"]
        assert "database-corrupt" in job.error["hint"]
        assert "Start the service" not in job.error["hint"]
        assert (await components(service))["file"]["hint"] == RUNBOOK
