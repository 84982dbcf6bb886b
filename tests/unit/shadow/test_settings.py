"""What the shadow takes of the machine, and who may reach its copy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from chronoduck.engine.database import DuckDBInstance
from chronoduck.engine.memory import memory_budget, shadow_memory
from chronoduck.errors import SettingsError
from chronoduck.settings import Settings
from chronoduck.settings.groups import ShadowSettings


def test_the_shadows_memory_comes_out_of_the_containers_share(
    make_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    (tmp_path / "memory.max").write_text("4000000000\n")
    off, on = (
        make_settings(memory_limit="4GB", shadow=ShadowSettings(enabled=enabled))
        for enabled in (False, True)
    )
    assert memory_budget(off, tmp_path).limit_bytes == 2_400_000_000
    assert memory_budget(on, tmp_path).limit_bytes == 2_160_000_000
    assert shadow_memory(off) == 0
    assert shadow_memory(on, 2_400_000_000) == 240_000_000
    assert shadow_memory(on, 300_000_000) == 100_000_000


@pytest.mark.parametrize("below", ["", "a.shadow", "a.shadow/deeper"])
def test_no_statement_may_reach_the_copy(
    make_settings: Callable[..., Settings], tmp_path: Path, below: str
) -> None:
    settings = make_settings(
        database_path=tmp_path / "data" / "a.db",
        shadow=ShadowSettings(dir=tmp_path / "copies"),
        allowed_directories=(str(tmp_path / "copies" / below),),
    )
    with pytest.raises(SettingsError, match="shadow"):
        DuckDBInstance(settings).take()
