"""Commands that change owners, modes or files are composed in one place, which knows what others use."""

from __future__ import annotations

import ast
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src" / "chronoduck"
WORDS = ("chmod ", "chown ", "rm -", "rmdir ", "sudo ")
ALLOWED = {
    "permissions.py": "the one place",
    "cli/exposure.py": "makes a user: changes nothing that is there",
}


def test_no_other_module_prints_such_a_command() -> None:
    found = set()
    for path in SOURCE.rglob("*.py"):
        tree = ast.parse(path.read_text())
        docstrings = {
            id(node.body[0].value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            and isinstance(node.body[0], ast.Expr)
        }
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.Constant)
                and isinstance(node.value, str)
                and id(node) not in docstrings
                and any(word in node.value for word in WORDS)
            ):
                found.add(str(path.relative_to(SOURCE)))
    assert found == set(ALLOWED)
