"""The wheel, for pages and examples that must work without the repository."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.docs.documents import REPOSITORY


@pytest.fixture(scope="session")
def wheel_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from this repository."""
    place = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [
            *(sys.executable, "-m", "build", "--no-isolation", "--wheel"),
            *("--outdir", str(place), str(REPOSITORY)),
        ],
        check=True,
        capture_output=True,
    )
    (built,) = place.glob("*.whl")
    return built


@pytest.fixture(scope="session")
def wheel(wheel_file: Path) -> Path:
    """The directory of an installed wheel."""
    with zipfile.ZipFile(wheel_file) as archive:
        archive.extractall(wheel_file.parent / "installed")
    return wheel_file.parent / "installed"
