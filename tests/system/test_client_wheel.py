"""The distribution of the client alone asks a real service, with what it says it needs and no more."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from importlib.metadata import PackageNotFoundError, PathDistribution, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.server import Server

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
SCRIPT = """
import importlib.util, sys
sys.path[:0] = sys.argv[1:3]
heavy = ("duckdb", "fastapi", "pydantic", "pyarrow")
assert not [name for name in heavy if importlib.util.find_spec(name)]
from chronoduck.client import Client
from chronoduck.errors import DuckDBQueryError
with Client(sys.argv[3], token=sys.argv[4]) as client:
    client.execute("CREATE TABLE seen (n INTEGER)")
    client.insert("seen", [{"n": 1}, {"n": 2}])
    assert client.query("SELECT sum(n) FROM seen").scalar() == 3
    try:
        client.query("SELECT nothing FROM seen")
    except DuckDBQueryError as error:
        print(error.detail)
"""


def test_the_wheel_of_the_client_needs_what_it_says_and_no_more(tmp_path: Path) -> None:
    wheel = build(tmp_path / "dist")
    packages, needed = tmp_path / "packages", tmp_path / "needed"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(packages)
    needed.mkdir()
    (told,) = packages.glob("*.dist-info")
    assert (told / "licenses" / "LICENSE").exists()
    for requirement in PathDistribution(told).requires or []:
        link(Requirement(requirement), needed, set())
    with Server(tmp_path / "server") as server:
        done = subprocess.run(
            [
                *(sys.executable, "-I", "-S", "-c", SCRIPT),
                *(str(packages), str(needed), server.url, server.token),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert "nothing" in done.stdout


def build(place: Path) -> Path:
    subprocess.run(
        [
            *(sys.executable, "-m", "build", "--no-isolation", "--wheel"),
            *("--outdir", str(place), str(ROOT / "client")),
        ],
        check=True,
        capture_output=True,
    )
    (wheel,) = place.glob("*.whl")
    return wheel


def link(requirement: Requirement, place: Path, seen: set[str]) -> None:
    """Link the files of an installed distribution, and of what it needs in turn."""
    name = re.sub(r"[-_.]+", "-", requirement.name).lower()
    is_wanted = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
    if name in seen or not is_wanted:
        return
    seen.add(name)
    try:
        found = distribution(name)
    except PackageNotFoundError:
        pytest.fail(f"{name} is needed and not installed")
    for top in {file.parts[0] for file in found.files or [] if file.parts[0] != ".."}:
        if top != "__pycache__" and not (place / top).exists():
            (place / top).symlink_to(str(found.locate_file(top)))
    for each in found.requires or []:
        link(Requirement(each), place, seen)
