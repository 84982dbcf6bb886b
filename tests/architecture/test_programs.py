"""One list has the system programs of the tests: for who runs them, for skips and for CI."""

from __future__ import annotations

import ast
from pathlib import Path

from tests.programs import PROGRAMS, minutes

ROOT = Path(__file__).parents[2]
NAMES = {program.name for program in PROGRAMS}
OTHER_NAMES = {"chromium-browser": "chromium"}


def _asked() -> set[str]:
    """Return the programs that tests look for by name."""
    found = set()
    for path in (ROOT / "tests").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            if ast.unparse(node.func) in ("needs", "shutil.which"):
                found |= {str(each.value) for each in node.args if isinstance(each, ast.Constant)}
    return {OTHER_NAMES.get(name, name) for name in found}


def test_every_program_that_a_test_looks_for_is_in_the_list() -> None:
    assert _asked() - {"chronoduck"} <= NAMES


def test_make_and_ci_use_the_list() -> None:
    recipe = (ROOT / "Makefile").read_text()
    assert "test: what-tests-need " in recipe
    assert "python3 -m tests.programs --packages" in (ROOT / ".ci" / "run").read_text()


def test_more_cores_take_less_time_until_the_processes_are_all_busy() -> None:
    assert minutes(1) > minutes(2) > minutes(3) == minutes(64)
