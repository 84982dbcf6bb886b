"""The memory budget: the container's limit decides."""

from collections.abc import Callable
from pathlib import Path

import psutil

from chronoduck.engine.memory import container_memory_bytes, memory_budget
from chronoduck.settings import Settings


def test_the_limit_of_cgroup_v2_is_found(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("1000000000\n")
    assert container_memory_bytes(tmp_path) == 1_000_000_000


def test_the_limit_of_cgroup_v1_is_found(tmp_path: Path) -> None:
    (tmp_path / "memory").mkdir()
    (tmp_path / "memory" / "memory.limit_in_bytes").write_text("2000000000\n")
    assert container_memory_bytes(tmp_path) == 2_000_000_000


def test_no_limit_is_none(tmp_path: Path) -> None:
    assert container_memory_bytes(tmp_path) is None
    (tmp_path / "memory.max").write_text("max\n")
    assert container_memory_bytes(tmp_path) is None
    (tmp_path / "memory").mkdir()
    (tmp_path / "memory" / "memory.limit_in_bytes").write_text("9223372036854771712\n")
    assert container_memory_bytes(tmp_path) is None


def test_the_share_of_the_container_beats_a_larger_limit(
    tmp_path: Path, make_settings: Callable[..., Settings]
) -> None:
    (tmp_path / "memory.max").write_text("1000000000\n")
    budget = memory_budget(make_settings(memory_limit="4GB"), tmp_path)
    assert budget.limit_bytes == 600_000_000
    assert "container" in budget.reason


def test_a_small_limit_beats_the_share(
    tmp_path: Path, make_settings: Callable[..., Settings]
) -> None:
    budget = memory_budget(make_settings(memory_limit="100MB"), tmp_path)
    assert budget.limit_bytes == 100_000_000
    assert budget.total_bytes == psutil.virtual_memory().total
