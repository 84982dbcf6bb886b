"""What a row filter says of who asks (``$claim.sub``, ``?``): values that DuckDB binds.

A view has no parameters. So each value is a variable of the connection, which the view reads by
``getvariable``; DuckDB takes it for a constant when it plans a statement. A variable's name is made of
its value: whatever connection has it, and whoever had that connection before, it means the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from chronoduck.principals import Claims, ClaimValue
from chronoduck.sql.rules.bounds import literal_text

__all__ = ["Bindings", "claim_path", "kind_of", "variable_name"]

_PREFIX = "chronoduck_claim_"
_CLAIM = "claim"


@dataclass
class Bindings:
    """The values that one filter may name; ``variables``: those that it named, by variable."""

    claims: Claims = ()
    values: tuple[ClaimValue | None, ...] = ()
    variables: dict[str, ClaimValue] = field(default_factory=dict)
    missing: set[str] = field(default_factory=set)
    """Values that it named and that are not there: then it holds for no row."""

    def value(self, path: tuple[str, ...]) -> ClaimValue | None:
        """Return a value by its path, or by its number as ``("?", "1")``."""
        if path[0] == "?":
            number = int(path[1])
            return self.values[number - 1] if 0 < number <= len(self.values) else None
        return dict(self.claims).get(path[1:])

    def bind(self, path: tuple[str, ...]) -> str | None:
        """Return the variable that has the value; None: there is no value."""
        value = self.value(path)
        if value is None:
            self.missing.add(".".join(path))
            return None
        name = variable_name(value)
        self.variables[name] = value
        return name


def variable_name(value: ClaimValue) -> str:
    """Return the name of the variable that has this value and no other."""
    return _PREFIX + hashlib.sha256(repr(value).encode()).hexdigest()


def kind_of(value: ClaimValue | None) -> str:
    """Return VARCHAR or INTEGER for texts and whole numbers, as of a constant; else nothing."""
    if isinstance(value, str):
        return "VARCHAR"
    return "INTEGER" if isinstance(value, int) and not isinstance(value, bool) else ""


def claim_path(node: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Return what a part of a filter's tree names: ``("claim", "sub")``, ``("?", "1")``; else None."""
    names: list[str] = []
    while node.get("type") == "STRUCT_EXTRACT" and len(node.get("children", ())) == 2:
        name = literal_text(node["children"][1])
        if name is None:
            return None
        names.insert(0, name)
        node = node["children"][0]
    if node.get("class") != "PARAMETER":
        return None
    identifier = str(node.get("identifier"))
    if names and identifier == _CLAIM:
        return (_CLAIM, *names)
    return ("?", identifier) if not names and identifier.isdecimal() else None
