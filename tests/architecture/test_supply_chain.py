"""The audit's verdict, the bill of materials, and locks that name a hash for everything."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
FINE = {"name": "a", "version": "1", "vulns": []}
FLAWED = {"name": "b", "version": "2", "vulns": [{"id": "PYSEC-1", "fix_versions": ["3"]}]}
PINNED_ENGINES = ("duckdb-1.5.txt", "bench-peers.txt")
SKIPPED = {"name": "c", "skip_reason": "not found"}


@pytest.mark.parametrize(
    ("dependencies", "required", "code", "words"),
    [
        ([FINE], "1", 0, "1 packages audited, 0 vulnerabilities"),
        ([FINE, FLAWED], "", 1, "b 2: PYSEC-1"),
        ([SKIPPED], "", 0, "NOT AUDITED"),
        ([SKIPPED], "1", 2, "NOT AUDITED"),
        ([FINE, SKIPPED], "1", 2, "not audited: c"),
        (None, "", 0, "NOT AUDITED"),
        (None, "1", 2, "NOT AUDITED"),
    ],
)
def test_the_audit_fails_on_findings_and_never_passes_in_silence(
    dependencies: list[dict[str, Any]] | None, required: str, code: int, words: str
) -> None:
    report = "" if dependencies is None else json.dumps({"dependencies": dependencies})
    done = subprocess.run(
        [sys.executable, ROOT / ".ci" / "audit.py"],
        input=report,
        env={"AUDIT_REQUIRED": required},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert words in done.stdout


@pytest.mark.parametrize(
    "lock", sorted((ROOT / "requirements").glob("*.txt")), ids=lambda p: p.name
)
def test_every_locked_package_has_hashes(lock: Path) -> None:
    packages = re.split(r"^(?=[a-z0-9])", lock.read_text(), flags=re.MULTILINE)[1:]
    assert len(packages) > (1 if lock.name in PINNED_ENGINES else 20)
    for package in packages:
        assert re.match(r"[a-z0-9._-]+(\[[a-z,]+\])?==\S+", package), package
        assert "--hash=sha256:" in package, package


def test_the_bill_of_materials_is_the_lock_and_the_same_each_time(tmp_path: Path) -> None:
    tool = Path(sys.executable).with_name("cyclonedx-py")
    if not tool.exists():
        pytest.skip("cyclonedx-bom is not installed in this environment")
    lock = ROOT / "requirements" / "run.txt"
    made = []
    for name in ("one.json", "two.json"):
        subprocess.run(
            [
                *(tool, "requirements", lock, "--pyproject", ROOT / "pyproject.toml"),
                *("--output-reproducible", "-o", tmp_path / name),
            ],
            check=True,
            capture_output=True,
        )
        made.append((tmp_path / name).read_text())
    assert made[0] == made[1]
    document = json.loads(made[0])
    listed = {f"{each['name']}=={each['version']}" for each in document["components"]}
    locked = set(re.findall(r"^([a-z0-9._-]+==[^\s;\\]+)", lock.read_text(), re.MULTILINE))
    assert listed == locked
    assert all(
        reference["hashes"]
        for each in document["components"]
        for reference in each["externalReferences"]
    )
