"""No error on the command line speaks of routes, as far as commands do the same."""

from __future__ import annotations

import ast
import itertools
from pathlib import Path

import pytest

import chronoduck
from chronoduck.cli.words import in_commands

ROOT = Path(chronoduck.__file__).parent
ROUTES = (
    *("backups", "circuit-breaker", "explain", "health", "keys", "me", "penalties", "queries"),
    *("replication", "statistics", "sync", "tables", "templates", "usage"),
)
"""What a command asks, too."""


def texts() -> list[str]:
    """Return every text of a module, without docstrings, those of the web's own rooms left out."""
    found = []
    for path in ROOT.rglob("*.py"):
        room = path.relative_to(ROOT).parts[0]
        if room in ("api", "client") or path.name == "words.py":
            continue
        nodes = list(ast.walk(ast.parse(path.read_text())))
        docstrings = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
        for node in nodes:
            if id(node) in docstrings:
                continue
            if isinstance(node, ast.JoinedStr):
                found.append("".join(_part(each) for each in node.values))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return found


def _part(node: ast.expr) -> str:
    return str(node.value) if isinstance(node, ast.Constant) else "{}"


def speaks_http(text: str) -> bool:
    words = text.split(" ")
    pairs = itertools.pairwise(words)
    return any(
        method in ("GET", "POST", "DELETE") and route.rstrip(".,;:`").split("/")[0] in ROUTES
        for method, route in pairs
    )


def test_the_service_names_routes_that_commands_ask_too() -> None:
    assert len([text for text in texts() if speaks_http(text)]) > 20


def test_none_of_them_is_left_on_the_command_line() -> None:
    left = {text for text in texts() if speaks_http(in_commands(text)) and " " in text.strip()}
    assert not left
    for word in ("timeout_seconds is", "Raise timeout_seconds", "anybody over HTTP"):
        assert not [text for text in texts() if word in in_commands(text)], word


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("Raise timeout_seconds, or narrow it.", "Raise --timeout, or narrow it."),
        ("POST explain shows its plan.", "EXPLAIN shows its plan."),
        (
            "Follow it: GET jobs/7, or its events.",
            "Follow it: GET jobs/7 of the HTTP API, or its events.",
        ),
        (
            "Send them as a list to POST batch.",
            "Send them as a list to POST batch of the HTTP API.",
        ),
        ("Send the INSERT, UPDATE, DELETE or MERGE.", "Send the INSERT, UPDATE, DELETE or MERGE."),
    ],
)
def test_what_it_says(said: str, shown: str) -> None:
    assert in_commands(said) == shown
