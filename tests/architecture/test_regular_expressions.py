"""Which modules may use backtracking regular expressions: none that reads a text of a user.

``re`` holds the interpreter's lock while it searches, and a pattern with two repetitions in a row needs
quadratic time for some texts of 100 KB: the whole service stands still. A module that is not in the list
here uses string methods, or ``chronoduck.patterns``, whose engine is linear by construction: for an
operator's pattern that users' texts meet, too.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "chronoduck"
BACKTRACKING = {"re", "regex", "sre_parse", "sre_compile"} | {
    # These hand the text to ``re``.
    *("fnmatch", "glob", "shlex", "textwrap", "tokenize", "configparser", "email", "html.parser"),
    *("csv.Sniffer", "string.Template", "string.Formatter", "urllib.robotparser", "logging.config"),
}

OPERATORS_TEXTS = {
    "backup/records.py": "names of objects in the backup's store",
    "client/column_types.py": "runs in the client's own process",
    "client/retrying.py": "runs in the client's own process",
    "client/values.py": "runs in the client's own process",
    "cli/keys.py": "arguments of a command, in a process of its own",
    "cli/output.py": "a set of characters; the commands' own process",
    "cli/paging.py": "our own pages; the commands' own process",
    "declared/file.py": "definitions that the operator wrote",
    "engine/downgrade.py": "an offline command",
    "engine/offline/aside.py": "names of files beside the database",
    "engine/table_export.py": "an offline command",
    "export/declaration.py": "definitions that the operator wrote",
    "monitoring/audit/files.py": "names of the trail's files",
    "permissions.py": "paths in settings",
    "replication/history.py": "names of objects in the replica's store",
    "replication/records.py": "names of objects in the replica's store",
    "replication/restore_plan.py": "an argument of the operator",
    "settings/limits.py": "settings",
    "settings/transport.py": "settings",
    "settings/values.py": "settings",
    "storage/blob_store.py": "names of objects in a store of the operator",
    "storage/opening.py": "addresses in settings",
    "sync/declaration.py": "definitions that the operator wrote",
    "sync/source.py": "a connection string of the operator",
    "sync/target.py": "definitions that the operator wrote",
}
"""Modules whose patterns meet texts of the operator alone, and which texts these are."""


def uses_a_backtracking_engine(path: Path) -> bool:
    for node in ast.walk(ast.parse(path.read_text())):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            used = f"{node.value.id}.{node.attr}"  # csv.Sniffer
            names = [used] if used in BACKTRACKING else []
        if any(f"{name}.".startswith(f"{each}.") for name in names for each in BACKTRACKING):
            return True
    return False


USERS = {
    str(path.relative_to(SOURCE))
    for path in sorted(SOURCE.rglob("*.py"))
    if uses_a_backtracking_engine(path)
}


def test_no_module_that_meets_users_texts_uses_a_backtracking_engine() -> None:
    new = USERS - OPERATORS_TEXTS.keys()
    assert not new, f"use string methods: {sorted(new)}"


def test_the_list_names_nothing_that_is_gone() -> None:
    gone = OPERATORS_TEXTS.keys() - USERS
    assert not gone, f"take out of the list: {sorted(gone)}"


@pytest.mark.parametrize(
    "text",
    [
        *("import re", "import os, re", "from re import match", "from fnmatch import fnmatch"),
        *("import csv\ncsv.Sniffer()", "from string import Template", "import email.policy"),
    ],
)
def test_a_use_is_found(tmp_path: Path, text: str) -> None:
    path = tmp_path / "module.py"
    path.write_text(text)
    assert uses_a_backtracking_engine(path)


@pytest.mark.parametrize(
    "text",
    ["import csv\ncsv.reader([])", "from string import digits", "import chronoduck.re", "glob.x"],
)
def test_what_only_sounds_so_is_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "module.py"
    path.write_text(text)
    assert not uses_a_backtracking_engine(path)
