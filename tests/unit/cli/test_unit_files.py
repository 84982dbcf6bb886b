"""What ``chronoduck install`` writes: one source, nobody's changes lost, settings that are settings."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from chronoduck.cli.unit_files import SETTINGS, Action, plan, unit_files, write
from chronoduck.environment_file import parse_environment
from chronoduck.settings import GROUPS, Settings, variable_names
from tests.docs.documents import REPOSITORY

OPT = Path("/opt/chronoduck/bin")
FILES = unit_files(OPT, "chronoduck")


def _actions(root: Path, *, is_forced: bool = False) -> list[Action]:
    return [each.action for each in plan(FILES, root, is_forced=is_forced)]


def test_the_files_are_those_of_the_repository() -> None:
    shipped = {path.read_text() for path in (REPOSITORY / "deploy" / "systemd").iterdir()}
    assert {file.text for file in FILES} == shipped


def test_another_place_and_another_user_leave_nothing_of_the_first() -> None:
    texts = "".join(file.text for file in unit_files(Path("/srv/duck/bin"), "anna"))
    for expected in (
        "ExecStart=/srv/duck/bin/chronoduck serve",
        "User=anna\nGroup=anna",
        "\nu anna -",
        "d /tmp/duckdb 0755 anna anna -",
        "root anna -",
        "runuser -u anna -- chronoduck",
        "-o anna -g anna",
    ):
        assert expected in texts
    assert "/opt/chronoduck" not in texts


def test_a_new_machine_gets_all_files_and_a_second_time_changes_nothing(tmp_path: Path) -> None:
    done = list(write(plan(FILES, tmp_path, is_forced=False), tmp_path))
    assert [each.action for each in done] == [Action.WRITE] * len(FILES)
    for file in FILES:
        path = file.below(tmp_path)
        assert path.read_text() == file.text
        assert path.stat().st_mode & 0o777 == (0o640 if file.path == SETTINGS else 0o644)
    assert _actions(tmp_path) == [Action.LEAVE] * len(FILES)


@pytest.mark.parametrize("number", range(len(FILES)))
def test_a_file_that_differs_is_never_lost(tmp_path: Path, number: int) -> None:
    file, path = FILES[number], FILES[number].below(tmp_path)
    path.parent.mkdir(parents=True)
    path.write_text("mine")
    is_settings = file.path == SETTINGS
    assert _actions(tmp_path)[number] is (Action.KEEP if is_settings else Action.REFUSE)
    for text, old_name in (("mine", ".old"), ("mine again", ".old-2")):
        path.write_text(text)
        written = list(write(plan(FILES, tmp_path, is_forced=True), tmp_path))[number]
        if is_settings:
            assert (path.read_text(), written.old) == (text, None)
        else:
            old = path.with_name(path.name + old_name)
            assert (path.read_text(), old.read_text()) == (file.text, text)
            assert written.old == old


def test_the_settings_are_the_fifteen_of_the_first_month_and_none_is_set() -> None:
    (text,) = (file.text for file in FILES if file.path == SETTINGS)
    assert parse_environment(text) == {}
    lines = re.findall(r"^#([A-Z][A-Z0-9_]+=.*)$", text, re.MULTILINE)
    shown = parse_environment("\n".join(lines))
    known = {
        name for model in (Settings, *GROUPS.values()) for name in variable_names(model).values()
    }
    assert set(shown) <= known
    assert len(shown) == 15
    defaults = dict(
        re.findall(
            r"^\| `(\w+)` \| `([^`]+)` \|",
            (REPOSITORY / "docs" / "configuration.md").read_text(),
            re.MULTILINE,
        )
    )
    for name, value in shown.items():
        assert defaults.get(name, value) == value, "what has a default is shown with it"
