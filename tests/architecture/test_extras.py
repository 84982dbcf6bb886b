"""No extra brings another engine along: each is resolved against the registry as pip would install it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import pytest

from tests.engines import NEWER
from tests.patience import PATIENCE_SECONDS

ROOT = Path(__file__).parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRAS: dict[str, list[str]] = PROJECT["project"]["optional-dependencies"]
GROUPS: dict[str, list[str]] = PROJECT["dependency-groups"]
LOCKS = ("run.txt", "dev.txt", "bench.txt")


def resolved(requirements: list[str]) -> dict[str, str]:
    """Return name and version of what pip would install into an empty environment."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--quiet"),
            *("--dry-run", "--ignore-installed", "--only-binary", ":all:", "--report", "-"),
            *requirements,
        ],
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE_SECONDS,
        check=False,
    )
    if (
        done.returncode
        and not os.environ.get("CI")
        and "No matching distribution" not in done.stderr
    ):
        pytest.skip(f"the registry does not answer: {done.stderr[-300:]}")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    return {
        re.sub(r"[-_.]+", "-", item["metadata"]["name"]).lower(): item["metadata"]["version"]
        for item in report["install"]
    }


@pytest.mark.slow
@pytest.mark.parametrize("extra", sorted(EXTRAS))
def test_an_extra_is_installed_beside_the_same_engine(extra: str) -> None:
    (engine,) = (each for each in PROJECT["project"]["dependencies"] if each.startswith("duckdb"))
    found = resolved([engine, "pyarrow>=26", *EXTRAS[extra]])
    assert found["duckdb"] == NEWER
    assert [name for name in found if name.startswith("duckdb-extension")] == []


@pytest.mark.slow
def test_an_extension_wheel_would_be_noticed() -> None:
    """The wheel of httpfs demands another engine: what the test before is there for."""
    found = resolved(["duckdb-extension-httpfs==1.5.5"])
    assert found["duckdb"] != NEWER


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_holds_one_engine_and_no_extension(lock: str) -> None:
    text = (ROOT / "requirements" / lock).read_text()
    assert re.findall(r"^duckdb[\w-]*==\S+", text, re.MULTILINE) == [f"duckdb=={NEWER}"]


def test_no_extra_and_no_group_names_an_engine() -> None:
    named = [each for part in (EXTRAS, GROUPS) for needs in part.values() for each in needs]
    assert [each for each in named if each.startswith("duckdb")] == []


def test_what_is_installed_here_with_every_extra_has_one_engine() -> None:
    installed = {
        item.metadata["Name"].lower(): item.version
        for item in distributions()
        if (item.metadata["Name"] or "").lower().startswith("duckdb")
    }
    assert installed.pop("duckdb") in (NEWER, "1.5.5")
    if os.environ.get("CI") and installed:
        assert all(name.startswith("duckdb-extension") for name in installed)
