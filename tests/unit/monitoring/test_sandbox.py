"""Which walls stand, what a start demands, and who is told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from chronoduck.assembly import DuckDBService
from chronoduck.engine.kernel.enclosure import KernelWalls
from chronoduck.engine.kernel.trial import try_walls
from chronoduck.errors import SettingsError
from chronoduck.monitoring.sandbox import absences_at_rest, absences_now, check_demanded
from chronoduck.settings import WALLS, Settings, load_settings

MakeSettings = Callable[..., Settings]
_CLOSED = {"engine": "", "spill": "", "network": ""}


def standing(settings: Settings) -> set[str]:
    absences = absences_now(settings, _CLOSED, is_supervised=True)
    assert list(absences) == list(WALLS)
    return {name for name, reason in absences.items() if not reason}


def test_names_of_walls_are_checked_with_the_settings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DUCKDB_REQUIRE_SANDBOX", "spill, engine")
    assert load_settings().require_sandbox == ("spill", "engine")
    monkeypatch.setenv("DUCKDB_REQUIRE_SANDBOX", "spill,moat")
    with pytest.raises(SettingsError, match=r"'moat' is not a wall; the walls are .*spill"):
        load_settings()


def test_a_start_is_refused_without_a_wall_that_is_demanded() -> None:
    absences = dict.fromkeys(WALLS, "") | {"user": "the process's user is root"}
    check_demanded(("spill", "engine"), absences)
    with pytest.raises(SettingsError, match=r"do not stand: user \(the process's user is root\)"):
        check_demanded(("spill", "user"), absences)


def test_files_that_others_may_read_are_no_wall(make_settings: MakeSettings) -> None:
    settings = make_settings()
    settings.database_path.parent.mkdir(mode=0o750)
    assert "files" in standing(settings)
    settings.keys_path.write_text("{}")
    settings.keys_path.chmod(0o640)
    assert "files" not in standing(settings)
    settings.keys_path.chmod(0o600)
    assert "files" in standing(settings)
    settings.database_path.parent.chmod(0o755)
    assert "files" not in standing(settings)


def test_settings_that_open_something_take_a_wall_down(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    absences = absences_at_rest(make_settings(temp_encryption=False, address_space_limit=0))
    assert absences["spill"] == "DUCKDB_TEMP_ENCRYPTION is false"
    assert absences["memory"]
    assert "directories" not in standing(make_settings(allowed_directories=(str(tmp_path / "x"),)))


def test_the_trial_finds_what_the_kernel_says_it_has() -> None:
    absences = absences_at_rest(load_settings())
    told = absences_now(load_settings(), _CLOSED, is_supervised=True)
    for name, wall in (("landlock", KernelWalls.LANDLOCK), ("syscalls", KernelWalls.SYSCALLS)):
        assert absences[name] == told[name] == try_walls()[wall]


async def test_a_service_without_a_demanded_wall_does_not_start(
    make_settings: MakeSettings,
) -> None:
    settings = make_settings(require_sandbox=("spill",), temp_encryption=False)
    service = DuckDBService(settings)
    with pytest.raises(SettingsError, match=r"spill \(DUCKDB_TEMP_ENCRYPTION is false\)"):
        await service.initialize()
    assert not service.is_initialized
    # What the refused start opened is closed.
    async with DuckDBService(make_settings(require_sandbox=("engine", "spill"))) as opened:
        sandbox = (await opened.health_check())["sandbox"]
    assert sandbox["demanded"] == ["engine", "spill"]
    for name in ("engine", "spill", "network", "directories"):
        assert sandbox["walls"][name] == {"stands": True, "reason": ""}
    assert not sandbox["walls"]["supervisor"]["stands"]
