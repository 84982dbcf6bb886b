"""Work in a process of its own ends at its deadline, whatever it hangs in."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest

from chronoduck.settings import DeadlineSettings, load_settings
from chronoduck.tasks.process import TaskTimeoutError, run_task, task_seconds


async def _ignore(step: str, done: int, total: int) -> None:
    pass


async def test_a_task_that_hangs_is_ended_at_its_deadline(tmp_path: Path) -> None:
    database = tmp_path / "a.db"
    os.mkfifo(database)  # opening it never ends: nobody writes to it
    settings = load_settings(
        database_path=database,
        temp_directory=tmp_path / "temp",
        deadline=DeadlineSettings(task=2.0),
    )
    with pytest.raises(TaskTimeoutError, match="after 2 s") as raised:
        await run_task(settings, "verify_database", _ignore)
    assert raised.value.code == "task_timeout"
    assert "DUCKDB_DEADLINE_TASK" in raised.value.hint
    children = [each.cmdline() for each in psutil.Process().children(recursive=True)]
    assert not [words for words in children if "chronoduck.tasks" in words]


def test_a_larger_database_may_take_longer_and_a_sync_has_its_own_limits(tmp_path: Path) -> None:
    database = tmp_path / "a.db"
    settings = load_settings(database_path=database)
    assert task_seconds(settings, "backup") == settings.deadline.task
    with database.open("wb") as file:
        file.truncate(3_000_000_000)
    assert task_seconds(settings, "backup") == settings.deadline.task + 1800
    assert task_seconds(settings, "read_source") is None
