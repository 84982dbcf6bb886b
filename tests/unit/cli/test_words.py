"""No error on the command line speaks of routes, as far as commands do the same."""

from __future__ import annotations

import ast
import itertools
from dataclasses import fields
from pathlib import Path

import pytest
import typer

import chronoduck
from chronoduck.cli.main import build_app
from chronoduck.cli.words import in_commands
from chronoduck.client.problems import worded_for_python
from chronoduck.errors import LoadError
from chronoduck.option_words import LOAD_OPTIONS, READ_OPTIONS, as_arguments, as_keywords
from chronoduck.transfer import LoadOptions, ReadOptions

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


def load_options() -> set[str]:
    """Return all options that the command ``load`` has."""
    command = typer.main.get_command(build_app("load")).commands["load"]  # type: ignore[attr-defined]
    return {name for each in command.params for name in (*each.opts, *each.secondary_opts)}


def test_the_options_of_a_load_are_known_by_their_names() -> None:
    read = {each.name for each in fields(ReadOptions)}
    load = {each.name for each in fields(LoadOptions)} - {"read", "max_reported"}
    assert read == READ_OPTIONS
    assert load | read | {"format"} == LOAD_OPTIONS
    assert {as_arguments(f"`{name}`")[1:-1] for name in LOAD_OPTIONS} <= load_options()


def said() -> list[str]:
    """Return the hints, and other texts with options in them, of all that loads."""
    found = []
    for path in (ROOT / "transfer").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.keyword) and node.arg == "hint":
                found.append(" ".join(map(_written, ast.walk(node.value))))
            if isinstance(node, ast.Assign) and "hint" in ast.unparse(node.targets[0]):
                found.append(" ".join(map(_written, ast.walk(node.value))))
    return found


def _written(node: ast.AST) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def test_every_option_in_a_hint_is_marked_so_that_each_door_can_word_it() -> None:
    hints = said()
    assert sum(text.count("`") // 2 for text in hints) > 20
    for text in hints:
        plain = "".join(text.split("`")[::2])
        words = {word.strip(".,;:()") for word in plain.split()}
        unmarked = {"on_error", "date_format", "all_text", "dry_run"} & words
        unmarked |= {
            word for word in words if word.partition("=")[0] in LOAD_OPTIONS and "=" in word
        }
        assert not unmarked, text
        assert all(part.startswith(("`", "--table")) for part in text.split("Set ")[1:]), text
        assert "--" not in plain.replace("--table.", ""), text  # the table of a pipe: no other door


@pytest.mark.parametrize(
    ("said", "command", "python"),
    [
        ("`delimiter=;`", "`--delimiter ';'`", '`read={"delimiter": ";"}`'),
        ("`quote='`", "`--quote ''\"'\"''`", """`read={"quote": "'"}`"""),
        ("`skip=3`", "`--skip 3`", '`read={"skip": 3}`'),
        ("`date_format`", "`--date-format`", '`read={"date_format": ...}`'),
        ("`on_error=skip`", "`--on-error skip`", '`on_error="skip"`'),
        ("`create=true`", "`--create`", "`create=True`"),
        ("`create=false`", "`--no-create`", "`create=False`"),
        ("`all_text=true`", "`--all-text`", '`read={"all_text": True}`'),
        ("`key=a,b`", "`--key a,b`", "`key=['a', 'b']`"),
        ("`tables/%22a.b%22/rows`", "`--table '\"a.b\"'`", "`table='\"a.b\"'`"),
        ("the column delimiter, `x", "the column delimiter, `x", "the column delimiter, `x"),
    ],
)
def test_an_option_in_the_words_of_each_door(said: str, command: str, python: str) -> None:
    assert in_commands(said) == command
    assert as_keywords(said) == python


def test_python_words_what_the_client_raises() -> None:
    with pytest.raises(LoadError) as caught, worded_for_python():
        raise LoadError("`mode=upsert` needs `key=a`", hint="Set `delimiter=;`.")
    assert str(caught.value) == "`mode=\"upsert\"` needs `key=['a']`"
    assert "key=[" in repr(caught.value)
    assert caught.value.hint == 'Set `read={"delimiter": ";"}`.'
