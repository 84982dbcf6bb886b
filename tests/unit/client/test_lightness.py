"""The client is light, and its two forms are one."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Callable

import pytest

from chronoduck.client import AsyncClient, AsyncJob, Client, Job

LIGHT = """
import sys

class Refusal:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {%s}:
            raise ImportError(name)

sys.meta_path.insert(0, Refusal())
import chronoduck.client
from chronoduck.client.values import RowConverter
from chronoduck.errors import InvalidRequestError
from chronoduck.client.arrow import arrow

assert RowConverter(["DATE"]).rows([["2024-01-01"]])[0][0].year == 2024
try:
    arrow()
except InvalidRequestError as error:
    assert "pip install pyarrow" in error.hint
else:
    raise AssertionError
rooms = {name.split(".")[1] for name in sys.modules if name.startswith("chronoduck.")}
assert rooms == {"client", "errors", "option_words", "resilience"}, rooms
"""
HEAVY = [
    *("duckdb", "fastapi", "starlette", "pydantic", "uvicorn", "orjson", "numpy", "pyarrow"),
    *("structlog", "typer", "rich", "psutil", "pandas"),
]


def test_it_needs_nothing_of_what_the_service_needs() -> None:
    script = LIGHT % ", ".join(map(repr, HEAVY))
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def methods(kind: type) -> dict[str, Callable[..., object]]:
    return {
        name.removeprefix("a") if name == "aclose" else name: member
        for name, member in vars(kind).items()
        if inspect.isfunction(member) and not name.startswith("_")
    }


@pytest.mark.parametrize(("one", "other"), [(Client, AsyncClient), (Job, AsyncJob)])
def test_both_forms_have_the_same_methods(one: type, other: type) -> None:
    waiting, awaited = methods(one), methods(other)
    assert waiting.keys() == awaited.keys()
    for name, method in waiting.items():
        assert list(inspect.signature(method).parameters) == list(
            inspect.signature(awaited[name]).parameters
        ), name
        defaults = [each.default for each in inspect.signature(method).parameters.values()]
        twins = [each.default for each in inspect.signature(awaited[name]).parameters.values()]
        assert defaults == twins, name
