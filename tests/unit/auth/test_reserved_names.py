"""No key is named like somebody who acts for the service: logs and the audit trail tell names."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import chronoduck
from chronoduck.auth.keys import KeyWish, issue_key
from chronoduck.errors import InvalidRequestError
from chronoduck.principals import Role

_WHO = frozenset({"Caller", "Principal"})


def names_of_the_service() -> set[str]:
    """Return the names that the source gives to callers and principals as literals."""
    found = set()
    for path in Path(chronoduck.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in _WHO and node.args:
                name = node.args[0]
                if isinstance(name, ast.Constant) and isinstance(name.value, str):
                    found.add(name.value)
    return found


def test_every_name_of_the_service_is_refused_in_any_case() -> None:
    names = names_of_the_service()
    assert {"admin", "python", "export", "sync", "ingest"} <= names
    for name in {*names, "local", "Admin", "EXPORT"}:
        with pytest.raises(InvalidRequestError, match="means somebody else"):
            issue_key(KeyWish(name, Role.VIEWER), 0.0)
    issue_key(KeyWish("administrator", Role.VIEWER), 0.0)


@pytest.mark.parametrize(
    "name", ["key:5f0c", "jwt:admin", "*", "key:1/bob", "", " admin", "admin "]
)
def test_no_name_looks_like_an_id(name: str) -> None:
    with pytest.raises(InvalidRequestError):
        issue_key(KeyWish(name, Role.VIEWER), 0.0)
