"""The shape of the source tree: floors, sizes and names."""

import ast
import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import chronoduck

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "chronoduck"
MODULES = sorted(SOURCE.rglob("*.py"))
FORBIDDEN_NAMES = {"utils", "util", "helpers", "common", "misc", "base", "core", "manager"}


def test_imports_point_down_the_floors() -> None:
    contract = Path(sys.executable).with_name("lint-imports")
    if not contract.exists():
        pytest.skip("import-linter is not installed in this environment")
    result = subprocess.run([contract], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_no_module_is_a_bucket(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 450
    assert path.stem not in FORBIDDEN_NAMES
    assert ast.get_docstring(ast.parse(path.read_text())), "every module says what it is for"


def test_everything_exported_exists_and_is_sorted() -> None:
    for module in pkgutil.walk_packages(chronoduck.__path__, "chronoduck."):
        if module.name.endswith("__main__"):
            continue
        loaded = importlib.import_module(module.name)
        names = getattr(loaded, "__all__", [])
        assert list(names) == sorted(names, key=_natural), module.name
        for name in names:
            assert hasattr(loaded, name), f"{module.name}.{name}"


def _natural(name: str) -> tuple[int, str]:
    """Constants, then classes, then functions, as the linter sorts them."""
    if name.isupper():
        return (0, name)
    return (1 if name[:1].isupper() else 2, name)


def test_swallowing_every_exception_is_confined_to_the_boundaries() -> None:
    allowed = {
        "service/session.py",
        "engine/pool.py",
        "storage/timed.py",
        "sync/parallel.py",
        "replication/link.py",
        "engine/sheet_worker.py",  # a panic of the Rust library that reads sheets is no Exception
        "service/jobs.py",  # runs what others wrote: whatever it is, the job has failed
        "shadow/link.py",
        "engine/analyzers/pool.py",  # whatever failed, the text that waits is answered
        "engine/analyzers/analyst.py",  # whatever it is, the text was not judged
    }
    for path in MODULES:
        if "except Exception" in path.read_text() or "except BaseException as" in path.read_text():
            name = str(path.relative_to(SOURCE))
            tree = ast.parse(path.read_text())
            for node in ast.walk(tree):
                if (
                    isinstance(node, ast.ExceptHandler)
                    and isinstance(node.type, ast.Name)
                    and node.type.id in ("Exception", "BaseException")
                ):
                    raises = any(isinstance(inner, ast.Raise) for inner in ast.walk(node))
                    assert raises or name in allowed, f"{name}:{node.lineno}"
