"""Each module can be the first that a process imports: no circle of imports, so no order of them counts.

The import contracts know packages, and a circle inside of one shows only in the command that happens
to enter it at the wrong side.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

SOURCES = Path(__file__).parents[2] / "src"


def _modules() -> dict[str, Path]:
    found = {}
    for path in SOURCES.rglob("*.py"):
        parts = path.relative_to(SOURCES).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def _at_import(body: list[ast.stmt]) -> Iterator[ast.Import | ast.ImportFrom]:
    """Yield the imports that run when the module is imported: not those of functions, nor of types."""
    for node in body:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            yield node
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from _at_import(node.orelse)
        elif not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            for block in ("body", "orelse", "finalbody"):
                yield from _at_import(getattr(node, block, []))
            for handler in getattr(node, "handlers", []):
                yield from _at_import(handler.body)


def _graph(modules: dict[str, Path]) -> dict[str, set[str]]:
    """Return what each module needs finished; a package that is entered on the way need not be."""
    graph: dict[str, set[str]] = {}
    for name, path in modules.items():
        needs = graph[name] = set()
        for node in _at_import(ast.parse(path.read_text()).body):
            if isinstance(node, ast.Import):
                needs.update(each.name for each in node.names)
                continue
            assert node.level == 0, f"{path}: imports are absolute"
            for each in node.names:
                inner = f"{node.module}.{each.name}"
                needs.add(inner if inner in modules else str(node.module))
        # A module of a package's own inside runs its __init__ first, which may be on its way.
        needs -= {name} | {name.rsplit(".", n)[0] for n in range(1, name.count(".") + 1)}
    return graph


def _ways_in(graph: dict[str, set[str]]) -> dict[str, set[str]]:
    """Add that a module of another package is entered through the packages that hold it."""
    return {
        name: {
            entered
            for need in needs
            for n in range(need.count(".") + 1)
            if (entered := need.rsplit(".", n)[0]) in graph
            and entered != name
            and not name.startswith(f"{entered}.")
        }
        for name, needs in graph.items()
    }


def test_no_import_goes_in_a_circle() -> None:
    graph = _ways_in(_graph(_modules()))
    assert len(graph) > 300
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))
