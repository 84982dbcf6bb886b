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


@pytest.mark.parametrize("below", ["", "{name}", "{name}/deeper"])
def test_no_statement_may_reach_the_copy(
    make_settings: Callable[..., Settings], tmp_path: Path, below: str
) -> None:
    facts = {
        "database_path": tmp_path / "data" / "a.db",
        "shadow": ShadowSettings(dir=tmp_path / "copies"),
    }
    reached = tmp_path / "copies" / below.format(name=make_settings(**facts).shadow_path.name)
    settings = make_settings(**facts, allowed_directories=(str(reached),))
    with pytest.raises(SettingsError, match="shadow"):
        DuckDBInstance(settings).take()


def test_services_that_share_a_directory_do_not_share_a_copy(
    make_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    """Each shadow deletes what it finds in its place, and would copy into the other's file."""
    shadow = ShadowSettings(dir=tmp_path / "copies")
    one, other = (
        make_settings(database_path=tmp_path / place / "main.db", shadow=shadow).shadow_path
        for place in ("one", "other")
    )
    assert one != other
    assert one.parent == other.parent == tmp_path / "copies"
