"""Which modules may use backtracking regular expressions: none that reads a text of a user.

``re`` holds the interpreter's lock while it searches, and a pattern with two repetitions in a row needs
quadratic time for some texts of 100 KB: the whole service stands still. A module that is in no list
here uses string methods, or an engine that is linear by construction.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "chronoduck"
BACKTRACKING = {"re", "regex", "fnmatch", "sre_parse", "sre_compile"}

OPERATORS_TEXTS = {
    "backup/records.py": "names of objects in the backup's store",
    "client/column_types.py": "runs in the client's own process",
    "client/retrying.py": "runs in the client's own process",
    "client/values.py": "runs in the client's own process",
    "cli/keys.py": "arguments of a command, in a process of its own",
    "cli/output.py": "a set of characters; the commands' own process",
    "declared/file.py": "definitions that the operator wrote",
    "engine/downgrade.py": "an offline command",
    "engine/offline/aside.py": "names of files beside the database",
    "engine/table_export.py": "an offline command",
    "export/declaration.py": "definitions that the operator wrote",
    "monitoring/audit/files.py": "names of the trail's files",
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
    "units.py": "settings",
}
"""Modules whose patterns meet texts of the operator alone, and which texts these are."""

STILL_THERE = {
    "api/docs_page.py",
    "api/middleware.py",
    "api/uploads.py",
    "auth/keys.py",
    "engine/profiling.py",
    "export/meilisearch/selection.py",
    "export/meilisearch/spool.py",
    "service/exports.py",
    "service/templates/front_matter.py",
    "service/templates/library.py",
    "service/templates/parameter_line.py",
    "service/templates/parameters.py",
    "storage/web.py",
    "sync/fitting.py",
    "transfer/chunks.py",
    "transfer/detect.py",
    "transfer/object_files.py",
    "transfer/places.py",
    "transfer/text_values.py",
    "transfer/warc.py",
}
"""Modules that meet users' texts and still have patterns. This set only shrinks."""


def uses_a_backtracking_engine(path: Path) -> bool:
    for node in ast.walk(ast.parse(path.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and not node.level:
            names = [node.module or ""]
        if BACKTRACKING & {name.partition(".")[0] for name in names}:
            return True
    return False


USERS = {
    str(path.relative_to(SOURCE))
    for path in sorted(SOURCE.rglob("*.py"))
    if uses_a_backtracking_engine(path)
}


def test_no_module_that_meets_users_texts_uses_a_backtracking_engine() -> None:
    new = USERS - STILL_THERE - OPERATORS_TEXTS.keys()
    assert not new, f"use string methods: {sorted(new)}"


def test_the_lists_name_nothing_that_is_gone() -> None:
    gone = (STILL_THERE | OPERATORS_TEXTS.keys()) - USERS
    assert not gone, f"take out of the lists: {sorted(gone)}"


@pytest.mark.parametrize(
    "text", ["import re", "import os, re", "from re import match", "from fnmatch import fnmatch"]
)
def test_a_use_is_found(tmp_path: Path, text: str) -> None:
    path = tmp_path / "module.py"
    path.write_text(text)
    assert uses_a_backtracking_engine(path)
