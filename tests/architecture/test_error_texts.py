"""Where the text of an error decides something: in one listed place for each boundary, with the reason.

Users write words of their own into errors: ``error('FATAL')``, a cast, a name, a key. So a class, a code,
an SQLSTATE, an error number or a measurement decides. Text decides only where nothing else is told, at a
place where no user's words can stand, or for a sentence that is only shown.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "chronoduck"
ERRORS = {"error", "err", "exc", "e", "cause", "failure", "bug", "raised", "refusal"}
"""Names that errors have here, besides those that ``except ... as`` gives."""
TEXTS = {"detail", "operator_detail", "message", "msg", "args", "strerror"}
"""Attributes of errors that are text."""
READERS = {"str", "repr", "first_sentence", "_first_line", "_reason"}
DECIDING = {"startswith", "endswith", "find", "index", "count", "search", "match", "fullmatch"}

LISTED = {
    "api/problems.py": "whether the operator's sentence differs from the user's",
    "transfer/table_load.py": "leaves out how DuckDB's sentence begins; nothing else follows from it",
    "engine/checkpoints.py": "the same failure is not logged again and again",
    "engine/database.py": "an opening tells no numbers; beginnings of DuckDB's own sentences",
    "sql/error_facts.py": "DuckDB's type stands at the very beginning, before all words of users",
    "engine/execution.py": "two errors of one connection are the same; no word in them matters",
    "sql/engine_errors.py": "beginnings of DuckDB's own sentences",
    "engine/offline/ways.py": "the same refusal is listed once",
    "engine/query_log.py": "the same failure is not logged again and again",
    "transfer/arrow_types.py": "orjson's own sentence, which quotes nothing; both ends refuse the file",
    "storage/s3.py": "a hint for a machine without keys; statuses decide",
}
"""Files that may compare texts of errors, and why."""


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


class _Texts:
    """What is text of an error in one function: read off an error, or off a name that took it."""

    def __init__(self, function: ast.AST) -> None:
        self._function = function
        self._errors = ERRORS | {
            node.name
            for node in ast.walk(function)
            if isinstance(node, ast.ExceptHandler) and node.name
        }
        self._taken: set[str] = set()
        for _ in range(3):  # a name may be taken from a name
            self._take_names()

    def _take_names(self) -> None:
        for node in ast.walk(self._function):
            if isinstance(node, ast.Assign):
                targets = node.targets
            elif isinstance(node, ast.NamedExpr | ast.AnnAssign):
                targets = [node.target]
            else:
                continue
            if node.value is not None and self.has(node.value):
                names = [each for target in targets for each in ast.walk(target)]
                self._taken |= {each.id for each in names if isinstance(each, ast.Name)}
        self._taken -= self._errors

    def has(self, node: ast.AST) -> bool:
        """Whether a piece of code reads the text of an error."""
        return any(self._is_text(each) for each in ast.walk(node))

    def _is_text(self, node: ast.AST) -> bool:
        if isinstance(node, ast.Name):
            return node.id in self._taken
        if isinstance(node, ast.Attribute):
            return node.attr in TEXTS and self._is_error(node.value)
        return (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in READERS
            and any(map(self._is_error, node.args))
        )

    def _is_error(self, node: ast.AST) -> bool:
        if isinstance(node, ast.Call):  # read_facts(error).message
            return any(map(self._is_error, node.args))
        return isinstance(node, ast.Name) and node.id in self._errors | {"facts"}


def texts_compared(function: ast.AST) -> list[int]:
    """Return the lines on which the text of an error decides."""
    texts, lines = _Texts(function), []
    for node in ast.walk(function):
        parts: list[ast.expr] = []
        if isinstance(node, ast.Compare):
            if any(isinstance(op, ast.In | ast.NotIn | ast.Eq | ast.NotEq) for op in node.ops):
                parts = [node.left, *node.comparators]
        elif (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in DECIDING
        ):
            parts = [node.func.value, *node.args]
        if any(map(texts.has, parts)):
            lines.append(node.lineno)  # type: ignore[attr-defined]  # both kinds have one
    return lines


def found_in(path: Path) -> list[int]:
    tree = ast.parse(path.read_text())
    return sorted({line for each in functions(tree) for line in texts_compared(each)})


FOUND = {
    str(path.relative_to(SOURCE)): lines
    for path in sorted(SOURCE.rglob("*.py"))
    if (lines := found_in(path))
}


def test_the_text_of_an_error_decides_only_in_listed_places() -> None:
    unlisted = {path: lines for path, lines in FOUND.items() if path not in LISTED}
    assert not unlisted, "decide by class, code or measurement, or list the place with its reason"


def test_the_list_names_nothing_that_is_gone() -> None:
    assert not LISTED.keys() - FOUND.keys()


@pytest.mark.parametrize(
    "body",
    [
        "if 'FATAL' in str(error): pass",
        "text = str(error)\n        if text.startswith('IO'): pass",
        "return _NO_SPACE.search(error.detail)",
        "return error.operator_detail == 'x'",
        "message = read(error.message)\n        return 'x' in message",
    ],
)
def test_a_comparison_is_found(tmp_path: Path, body: str) -> None:
    path = tmp_path / "module.py"
    path.write_text(
        f"def f():\n    try:\n        g()\n    except ValueError as error:\n        {body}\n"
    )
    assert found_in(path)
