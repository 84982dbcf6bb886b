"""The service's side of its replicator: started again as often as it takes, ended whenever asked."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

from chronoduck.engine.storage_version import new_file_config
from chronoduck.replication.failures import ReplicaMismatchError
from chronoduck.replication.lease import Lease
from chronoduck.replication.link import ReplicatorLink
from chronoduck.replication.messages import ReplicaState
from chronoduck.replication.opening import open_archive
from chronoduck.settings import ReplicaSettings, Settings
from tests.patience import PATIENCE_SECONDS

MakeSettings = Callable[..., Settings]


@pytest.fixture
def settings(make_settings: MakeSettings, tmp_path: Path) -> Settings:
    made = make_settings(replica=ReplicaSettings(url=str(tmp_path / "replica"), interval=0.02))
    made.database_path.parent.mkdir()
    duckdb.connect(str(made.database_path)).close()
    return made


@pytest.fixture
async def link(settings: Settings) -> AsyncIterator[ReplicatorLink]:
    link = ReplicatorLink(settings)
    await link.prepare()
    link.begin()
    await reach(link, ReplicaState.FOLLOWING)
    yield link
    await link.stop(1.0)


async def reach(link: ReplicatorLink, state: ReplicaState) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while link.status.state is not state and str(link.status.state) != state:
            await asyncio.sleep(0.01)


def kill(link: ReplicatorLink) -> None:
    assert link.pid is not None
    os.kill(link.pid, signal.SIGKILL)


async def test_a_replicator_that_was_refused_goes_on_when_the_reason_is_gone(
    link: ReplicatorLink, settings: Settings, tmp_path: Path
) -> None:
    other = Lease(open_archive(settings).store, tmp_path / "other.db")
    lease = tmp_path / "replica" / "lease"
    lease.unlink()
    other.acquire()
    kill(link)
    await reach(link, ReplicaState.REFUSED)
    other.release()
    await reach(link, ReplicaState.FOLLOWING)


async def test_a_replicator_can_be_ended_while_it_is_started_again(link: ReplicatorLink) -> None:
    link.restarts = 3  # of many: the next start is 15 s away
    kill(link)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while link.restarts == 3:
            await asyncio.sleep(0.01)
        await link.stop(1.0)


async def test_a_start_that_is_refused_leaves_the_replica_to_its_owner(
    link: ReplicatorLink, settings: Settings, make_settings: MakeSettings, tmp_path: Path
) -> None:
    await link.stop(1.0)
    foreign = make_settings(database_path=tmp_path / "other" / "test.db", replica=settings.replica)
    foreign.database_path.parent.mkdir()
    config = new_file_config("v1.5.0")  # with DuckDB's identifier, which 1.5 leaves out by itself
    with duckdb.connect(str(foreign.database_path), config=config) as connection:
        connection.execute("CREATE TABLE t AS SELECT 1 AS a")
    with pytest.raises(ReplicaMismatchError):
        await ReplicatorLink(foreign).prepare()
    Lease(open_archive(settings).store, tmp_path / "third.db").acquire()


async def test_a_database_that_cannot_be_opened_leaves_the_replica_too(
    link: ReplicatorLink, settings: Settings, tmp_path: Path
) -> None:
    await link.stop(1.0)
    await link.prepare()
    await link.stop(0.0)
    Lease(open_archive(settings).store, tmp_path / "other.db").acquire()


async def test_a_replicator_whose_successor_dies_while_it_starts_is_started_again(
    link: ReplicatorLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed: list[int] = []
    create = asyncio.create_subprocess_exec

    async def create_dying(*args: str, **kwargs: Any) -> asyncio.subprocess.Process:
        process = await create(*args, **kwargs)
        if len(killed) < 2:  # the OOM killer takes it before it has said a word
            killed.append(process.pid)
            process.kill()
            await process.wait()
        return process

    monkeypatch.setattr(asyncio, "create_subprocess_exec", create_dying)
    kill(link)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while len(killed) < 2 or link.status.state != ReplicaState.FOLLOWING:
            await asyncio.sleep(0.01)
    assert link.pid not in killed


@pytest.mark.parametrize("error", [OSError("no more processes"), RuntimeError("a bug")])
async def test_any_error_of_the_supervision_is_one_failed_attempt(
    link: ReplicatorLink, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    create = asyncio.create_subprocess_exec
    failures = 0

    async def create_once(*args: str, **kwargs: Any) -> asyncio.subprocess.Process:
        nonlocal failures
        failures += 1
        if failures == 1:
            raise error
        return await create(*args, **kwargs)

    monkeypatch.setattr(asyncio, "create_subprocess_exec", create_once)
    kill(link)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while failures < 2 or link.status.state != ReplicaState.FOLLOWING:
            await asyncio.sleep(0.01)


async def test_a_message_that_makes_no_sense_is_no_end(link: ReplicatorLink) -> None:
    first = link.pid
    receive = link._receive

    async def receive_nonsense() -> dict[str, Any] | None:
        await receive()
        link._receive = receive  # type: ignore[method-assign]
        return {"kind": "status", "status": {"unknown": 1}}

    link._receive = receive_nonsense  # type: ignore[method-assign]
    link.ship()
    async with asyncio.timeout(PATIENCE_SECONDS):
        while link.pid == first or link.status.state != ReplicaState.FOLLOWING:
            await asyncio.sleep(0.01)
