"""What a restart makes of jobs: kept, told as interrupted, forgotten; never a lie."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from chronoduck.errors import DuckDBQueryError
from chronoduck.resilience.service_time import ServiceTime
from chronoduck.service.job import Job, JobState
from chronoduck.service.job_store import JobSpaceError, JobStore
from chronoduck.service.jobs import JobRegistry


@pytest.fixture
def store(tmp_path: Path) -> JobStore:
    made = JobStore(tmp_path / "jobs", ttl_seconds=100, space_bytes=1000)
    assert made.open() == []
    return made


def test_ended_jobs_come_back_as_they_were(store: JobStore) -> None:
    job = Job("a", "statement", "key:1", JobState.SUCCEEDED, ended_at=time.time())
    job.result = {"row_count": 3}
    store.save(job)
    store.result_path("a").write_bytes(b"rows")
    assert store.open() == [job]
    assert store.result_path("a").read_bytes() == b"rows"


def test_what_ran_is_interrupted_and_has_no_result(store: JobStore) -> None:
    store.save(Job("a", "statement", "key:1"))
    store.result_path("a").write_bytes(b"half of the ro")
    for _ in range(2):
        [job] = store.open()
        assert job.state is JobState.INTERRUPTED
        assert job.error is not None
        assert job.error["code"] == "job_interrupted"
        assert job.ended_at is not None
        assert not store.result_path("a").exists()


def test_old_damaged_and_foreign_files_are_removed(store: JobStore) -> None:
    (store.directory / "ages").write_bytes(b'{"old":101,"new":99}')
    for name in ("old", "new"):
        store.save(Job(name, "statement", state=JobState.FAILED, ended_at=time.time()))
    (store.directory / "damaged.json").write_bytes(b"{")
    store.result_path("damaged").write_bytes(b"x")
    store.result_path("orphan").write_bytes(b"x")
    (store.directory / "new.part").write_bytes(b"{")
    assert [job.id for job in store.open()] == ["new"]
    assert {path.name for path in store.directory.iterdir()} <= {"ages", "new.json"}


@pytest.mark.parametrize("days", [2, -2, 4000])
def test_a_clock_that_jumps_and_a_long_stop_delete_no_result(
    store: JobStore, monkeypatch: pytest.MonkeyPatch, days: int
) -> None:
    job = Job("a", "statement", state=JobState.SUCCEEDED, ended_at=time.time())
    store.save(job)
    store.result_path("a").write_bytes(b"rows")
    right = time.time
    monkeypatch.setattr(time, "time", lambda: right() + days * 86_400)
    assert not store.is_over(job)
    assert [kept.id for kept in store.open()] == ["a"]
    assert store.result_path("a").read_bytes() == b"rows"


def test_jobs_age_by_the_time_that_services_ran_together(tmp_path: Path) -> None:
    for hours in (10, 10, 3):
        ran = ServiceTime()
        store = JobStore(tmp_path / "jobs", 24 * 3600, 1000, ran)
        if not store.open():
            job = Job("a", "statement", state=JobState.SUCCEEDED, ended_at=time.time())
            store.save(job)
            assert not store.is_over(job)
        ran.advance(hours * 3_600_000_000)
        store.save_ages()
    [job] = JobStore(tmp_path / "jobs", 24 * 3600, 1000).open()
    ran.advance(2 * 3_600_000_000)
    assert store.is_over(job)
    store.save_ages()
    assert JobStore(tmp_path / "jobs", 24 * 3600, 1000).open() == []


def test_space_is_what_all_results_take_together(store: JobStore) -> None:
    first, second = Job("a", "statement", "key:1"), Job("b", "export", "key:2")
    store.claim(first).take(400)
    store.claim(second).take(600)
    with pytest.raises(JobSpaceError, match="may take"):
        store.claim(second).take(1)
    with pytest.raises(JobSpaceError, match="may take"):
        store.budget.check("key:1")
    store.give_back("a")
    store.budget.check("key:1", count=400)


def test_a_start_counts_what_is_stored(store: JobStore) -> None:
    ended = {"state": JobState.SUCCEEDED, "ended_at": time.time()}
    store.save(Job("a", "statement", "key:1", **ended))
    store.result_path("a").write_bytes(b"x" * 300)
    store.save(Job("b", "export", "key:1", result={"folder": "f", "bytes": 500}, **ended))
    store.save(Job("c", "export", "key:2", result={"folder": "g"}))
    for _ in range(2):
        store.open()
        assert (store.budget.used_bytes, store.budget.used_by("key:1")) == (800, 800)
    store.give_back("b")
    assert store.budget.used_bytes == 300


def test_one_owner_has_its_share_alone(tmp_path: Path) -> None:
    store = JobStore(tmp_path / "jobs", 100, 1000, share=0.5)
    store.claim(Job("a", "statement", "key:1")).take(500)
    with pytest.raises(JobSpaceError, match="of this principal"):
        store.claim(Job("b", "statement", "key:1")).take(1)
    store.claim(Job("c", "statement", "key:2")).take(500)


def test_files_are_for_the_owner_alone(store: JobStore) -> None:
    store.save(Job("a", "statement"))
    assert store.directory.stat().st_mode & 0o777 == 0o700
    assert (store.directory / "a.json").stat().st_mode & 0o777 == 0o600


async def test_a_job_is_forgotten_while_its_end_is_being_written(
    store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = JobRegistry(store)
    await registry.open()
    save = store.save

    def slowly(job: Job) -> None:
        time.sleep(0.05)
        save(job)

    monkeypatch.setattr(store, "save", slowly)

    async def work(job: Job, show: object) -> dict[str, int]:
        return {}

    job = await registry.begin("statement", work, "key:1")
    while not job.has_ended:
        await asyncio.sleep(0.001)
    await registry.cancel(job.id)
    assert registry.list() == []
    await asyncio.sleep(0.2)
    assert list(store.directory.iterdir()) == []
    await registry.close()


async def test_of_exports_that_failed_only_the_newest_of_an_owner_are_remembered(
    store: JobStore,
) -> None:
    registry = JobRegistry(store)
    await registry.open()

    async def fails(job: Job, show: object) -> dict[str, object]:
        raise DuckDBQueryError("no such table")

    async def works(job: Job, show: object) -> dict[str, object]:
        return {}

    kept = await registry.begin("export", works, "key:1", 604_800.0)
    other = await registry.begin("export", fails, "key:2", 604_800.0)
    for _ in range(110):
        await registry.wait(await registry.begin("export", fails, "key:1", 604_800.0))
    assert sum(job.state is JobState.FAILED for job in registry.list("key:1")) <= 101
    assert kept in registry.list()
    assert other in registry.list()
    await registry.close()


async def test_a_job_whose_caller_left_before_its_id_was_known_does_not_go_on(
    store: JobStore,
) -> None:
    """Nobody could cancel it, or read its result."""
    registry = JobRegistry(store)
    await registry.open()
    began = asyncio.Event()

    async def work(job: Job, show: object) -> dict[str, object]:
        began.set()
        return {}

    caller = asyncio.create_task(registry.begin("statement", work, "key:1"))
    while not registry.list():
        await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    [job] = registry.list()
    assert job.state is JobState.CANCELLED
    assert not began.is_set()
    await registry.close()
