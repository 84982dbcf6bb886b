"""A user's project checks its types strictly against the wheel, without any plugin."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
SCRIPT = Path(__file__).parent / "typed_user" / "script.py"
WRONG = """
from chronoduck import DuckDBService


async def ask(service: DuckDBService) -> int:
    return (await service.execute_query("SELECT 1")).columns
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment that has the wheel and what it needs."""
    place = tmp_path_factory.mktemp("typed")
    subprocess.run(
        [
            *(sys.executable, "-m", "build", "--no-isolation", "--wheel"),
            *("--outdir", str(place / "dist"), str(ROOT)),
        ],
        check=True,
        capture_output=True,
    )
    (wheel,) = (place / "dist").glob("*.whl")
    venv.create(place / "venv", with_pip=False)
    (packages,) = (place / "venv").glob("lib/python3*/site-packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(packages)
    # Last on the path, and not looked at for .pth files: chronoduck comes from the wheel.
    (packages / "needed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return place / "venv" / "bin" / "python"


def check(python: Path, script: Path, directory: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            *(sys.executable, "-m", "mypy", "--strict", "--config-file", "", "--cache-dir"),
            *(str(python.parents[2] / "cache"), "--python-executable", str(python), str(script)),
        ],
        cwd=directory,  # not the repository's: its own sources would be found there
        capture_output=True,
        text=True,
        check=False,
    )


def test_every_public_call_passes_a_strict_type_checker(python: Path, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.read_text())
    checked = check(python, script, tmp_path)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_what_comes_back_has_types(python: Path, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(WRONG)
    checked = check(python, script, tmp_path)
    assert 'Incompatible return value type (got "list[str]", expected "int")' in checked.stdout
