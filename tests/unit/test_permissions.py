"""Advice about paths: what others use is never its object."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from chronoduck.permissions import directory_advice, file_advice, is_read_only, new_directory_advice
from tests.fault.volumes import small_volume

NOBODY = 65534
CHANGES = {"chmod", "chown", "rm", "mv"}


def objects_of_changes(advice: str) -> set[Path]:
    """Return what a command in an advice would change: the paths after chmod, chown, rm and mv."""
    found = set()
    for part in advice.replace(";", "\n").replace("&&", "\n").replace("  - ", "\n").splitlines():
        try:
            words = shlex.split(part)
        except ValueError:  # a sentence with an apostrophe
            words = part.split()
        for index, word in enumerate(words):
            if word in CHANGES:
                found |= {Path(each) for each in words[index + 1 :] if each.startswith(("/", "~"))}
    return found


def test_the_reader_of_advice_sees_what_it_would_change() -> None:
    assert objects_of_changes("Run: chmod 750 '/a b'") == {Path("/a b")}
    assert objects_of_changes("Run: sudo chown me /tmp && rm -r /var  - or set X.") == {
        Path("/tmp"),
        Path("/var"),
    }


@pytest.fixture
def sticky(tmp_path: Path) -> Path:
    path = tmp_path / "sticky"
    path.mkdir()
    path.chmod(0o1777)
    return path


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """A directory of one's own with files of others in it."""
    path = tmp_path / "shared"
    path.mkdir()
    path.chmod(0o777)
    (path / "theirs").touch()
    if os.geteuid() != 0:
        pytest.skip("only root can make files of other users")
    os.chown(path / "theirs", NOBODY, NOBODY)
    return path


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    if os.geteuid() != 0:
        pytest.skip("only root can make directories of other users")
    path = tmp_path / "foreign"
    path.mkdir()
    os.chown(path, NOBODY, NOBODY)
    return path


@pytest.mark.parametrize(
    "path", [Path("/"), Path("/tmp"), Path("/var"), Path("/var/lib"), Path.home()]
)
@pytest.mark.parametrize("advise", [directory_advice, new_directory_advice])
def test_places_of_the_machine_are_left_as_they_are(advise: type, path: Path) -> None:
    if advise is new_directory_advice:
        path /= "not-there/at-all"
    advice = advise(path, 0o750, setting="DUCKDB_DATABASE_PATH")
    assert objects_of_changes(advice) == set()
    assert "DUCKDB_DATABASE_PATH" in advice or "read-only" in advice


@pytest.mark.parametrize("kind", ["sticky", "shared", "foreign"])
def test_what_others_use_is_left_as_it_is_and_the_way_out_works(
    kind: str, request: pytest.FixtureRequest
) -> None:
    path = request.getfixturevalue(kind)
    advice = directory_advice(path, 0o750, setting="DUCKDB_TEMP_DIRECTORY")
    assert objects_of_changes(advice) == set()
    command = advice.partition("in it: ")[2].partition("  - ")[0].removeprefix("sudo ")
    done = subprocess.run(shlex.split(command), capture_output=True, text=True, check=False)
    assert done.returncode == 0, (advice, done.stderr)
    made = [each for each in path.iterdir() if each.name.startswith("chronoduck-")]
    assert [each.stat().st_mode & 0o777 for each in made] == [0o750]
    # Asked again, it names another one.
    assert str(made[0]) + " " not in directory_advice(path, 0o750, setting="X") + " "


def test_a_directory_of_ones_own_gets_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "it's mine"
    path.mkdir()
    path.chmod(0o777)
    (path / "a.db").touch()
    advice = directory_advice(path, 0o750, setting="X")
    assert objects_of_changes(advice) == {path}
    subprocess.run(shlex.split(advice.removeprefix("Run: ")), check=True)
    assert path.stat().st_mode & 0o777 == 0o750


def test_a_file_of_another_user_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    path.touch(mode=0o644)
    assert objects_of_changes(file_advice(path, 0o600)) == {path}
    if os.geteuid() == 0:
        os.chown(path, NOBODY, NOBODY)
        assert objects_of_changes(file_advice(path, 0o600)) == set()
        assert "nobody" in file_advice(path, 0o600)


def test_a_volume_that_is_read_only_is_named_as_such(tmp_path: Path) -> None:
    with small_volume(tmp_path / "volume", 20) as volume:
        (volume / "data").mkdir()
        assert not is_read_only(volume / "data" / "new")
        subprocess.run(["mount", "-o", "remount,ro", volume], check=True)
        assert is_read_only(volume / "data" / "new")
        for advice in (
            directory_advice(volume / "data", 0o750, setting="X"),
            new_directory_advice(volume / "new" / "er", 0o750, setting="X"),
        ):
            assert "read-only" in advice
            assert objects_of_changes(advice) == set()
        subprocess.run(["mount", "-o", "remount,rw", volume], check=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    "command", [["doctor"], ["query", "CREATE TABLE t (i INTEGER)"], ["backup", "list"]]
)
@pytest.mark.parametrize(
    "setting", ["DUCKDB_DATABASE_PATH", "DUCKDB_TEMP_DIRECTORY", "DUCKDB_BACKUP_DIR"]
)
def test_no_command_advises_to_change_what_others_use(
    command: list[str], setting: str, sticky: Path, tmp_path: Path
) -> None:
    own = tmp_path / "own"
    own.mkdir()
    given = {
        "DUCKDB_DATABASE_PATH": str(own / "a.db"),
        "DUCKDB_TEMP_DIRECTORY": str(own / "temp"),
        setting: str(sticky / "a.db" if "PATH" in setting else sticky),
    }
    done = subprocess.run(
        [sys.executable, "-m", "chronoduck", *command],
        env={"PATH": os.environ["PATH"], "HOME": str(own), **given},
        cwd=own,
        capture_output=True,
        text=True,
        check=False,
    )
    said = done.stdout + done.stderr
    assert all(path.is_relative_to(own) for path in objects_of_changes(" ".join(said.split()))), (
        said
    )
