"""Tasks whose process dies: what was being done is known to have failed, now and after a restart."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from chronoduck.assembly import DuckDBService
from chronoduck.replication.drill import DrillRecord
from chronoduck.service.job import Job, JobState
from chronoduck.service.job_store import JobStore
from chronoduck.settings import BackupSettings, ReplicaSettings, Settings
from tests.patience import PATIENCE_SECONDS

pytestmark = pytest.mark.slow
MakeSettings = Callable[..., Settings]


async def kill_task(number: int) -> None:
    """Send a signal to the process of the task that begins now."""
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end:
        for child in psutil.Process().children():
            try:
                if "chronoduck.tasks" in child.cmdline():
                    os.kill(child.pid, number)
                    return
            except psutil.Error:
                continue
        await asyncio.sleep(0.005)
    raise AssertionError("no task begins")


@pytest.fixture
def settings(make_settings: MakeSettings, tmp_path: Path) -> Settings:
    return make_settings(
        replica=ReplicaSettings(url=str(tmp_path / "replica"), interval="100ms"),
        backup=BackupSettings(dir=tmp_path / "backups"),
    )


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
async def test_a_drill_whose_process_dies_has_failed(settings: Settings, number: int) -> None:
    async with DuckDBService(settings) as service:
        parts = await service.parts()
        job = parts.drills.begin()
        await kill_task(number)
        await parts.jobs.wait(job)
        assert job.state is JobState.FAILED
        drill = (await service.health_check())["components"]["drill"]
        assert drill["status"] == "unhealthy"
        assert "task_failed" in drill["reason"]
    noted = DrillRecord.read(settings.database_path)
    assert noted is not None
    assert (noted.succeeded, noted.error) == (False, "task_failed")
    assert signal.Signals(number).name in noted.detail
    async with DuckDBService(settings) as service:  # it is remembered, and the next one heals it
        drill = (await service.health_check())["components"]["drill"]
        assert drill["status"] == "unhealthy"
        parts = await service.parts()
        await service.execute_query("CREATE TABLE t (a INTEGER)")
        end = time.monotonic() + PATIENCE_SECONDS
        job = await parts.jobs.wait(parts.drills.begin())
        while job.state is not JobState.SUCCEEDED and time.monotonic() < end:
            job = await parts.jobs.wait(parts.drills.begin())
        drill = (await service.health_check())["components"]["drill"]
        assert drill["status"] == "healthy"


async def test_a_drill_during_which_the_whole_service_died_has_failed(settings: Settings) -> None:
    async with DuckDBService(settings):
        pass
    store = JobStore(settings.jobs_path, 1000, 1000)
    store.open()
    store.save(Job("a", "drill"))
    for _ in range(2):
        async with DuckDBService(settings) as service:
            drill = (await service.health_check())["components"]["drill"]
            assert drill["status"] == "unhealthy"
            assert "job_interrupted" in drill["reason"]
    settings.database_path.with_name("test.db.drill").unlink()
    store.save(Job("a", "drill", state=JobState.INTERRUPTED, ended_at=time.time()))
    async with DuckDBService(settings) as service:  # a stop in good order is no failure
        drill = (await service.health_check())["components"]["drill"]
        assert drill["status"] == "healthy"


async def test_a_backup_whose_process_dies_has_failed(settings: Settings) -> None:
    async with DuckDBService(settings) as service:
        parts = await service.parts()
        job = parts.backups.create()
        await kill_task(signal.SIGKILL)
        await parts.jobs.wait(job)
        assert job.error is not None
        assert (job.state, job.error["code"]) == (JobState.FAILED, "task_failed")
        assert "SIGKILL" in job.error["detail"]
        backup = (await service.health_check())["components"]["backup"]
        assert backup["status"] == "degraded"
        assert "task_failed" in backup["reason"]
    [kept] = [job for job in JobStore(settings.jobs_path, 1000, 1000).open() if job.error]
    assert (kept.kind, kept.state) == ("backup", JobState.FAILED)
