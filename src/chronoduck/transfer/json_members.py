"""Which members the objects of a JSON file have, and of what structure: found in all of them."""

from __future__ import annotations

from functools import reduce
from typing import cast

import orjson

from chronoduck.errors import LoadError
from chronoduck.transfer.json_structure import NUMBERS, Structure, pointer
from chronoduck.transfer.sql import SqlSession
from chronoduck.transfer.value_checks import check_width

__all__ = ["find_members", "find_names"]

_MOST_STRUCTURES = 20_000
"""Kinds of objects that are looked at one by one."""
_ORDERED_ROWS = 1_000
_NOTHING = "Nothing was loaded."


def find_names(session: SqlSession, objects: str, name: str) -> list[str]:
    """Return the names of all members, those of the first objects in their order.

    ``objects``: SQL of a relation with a column ``json``.

    Raises:
        LoadError: a name is none that a column can have.
    """
    rows = session.execute(f"SELECT DISTINCT unnest(json_keys(json)) FROM {objects}")
    return _ordered(session, objects, {str(row[0]) for row in rows}, name)


def _ordered(session: SqlSession, objects: str, names: set[str], name: str) -> list[str]:
    first = session.execute(
        f"SELECT json_keys(json) FROM {objects} "
        f"WHERE json_type(json) = 'OBJECT' LIMIT {_ORDERED_ROWS}"
    )
    ordered = dict.fromkeys(key for row in first for key in cast("list[str]", row[0]))
    found = [*ordered, *sorted(names - ordered.keys())]
    if not found and session.execute(f"SELECT 1 FROM {objects} LIMIT 1"):
        raise LoadError(
            f"{name} holds no JSON object that has a member",
            hint=f"{_NOTHING} Send an array of objects, or one object a line.",
        )
    check_width(len(found), name)
    for each in found:
        if not each or "\0" in each:
            raise LoadError(
                f"a key of {name} is empty or contains a NUL character: {each[:60]!r}",
                hint=_NOTHING,
            )
    return found


def find_members(session: SqlSession, objects: str, name: str) -> dict[str, Structure]:
    """Return the structure of every member.

    Raises:
        LoadError: there is something else than objects.
    """
    rows = session.execute(
        f"SELECT DISTINCT json_structure(json) FROM {objects} LIMIT {_MOST_STRUCTURES + 1}"
    )
    if len(rows) > _MOST_STRUCTURES:
        return _by_kind(session, objects, find_names(session, objects, name))
    structures = [orjson.loads(str(row[0])) for row in rows if row[0] is not None]
    if not all(isinstance(each, dict) or each == "JSON" for each in structures):
        raise LoadError(
            f"{name} does not hold JSON objects alone",
            hint=f"{_NOTHING} Send an array of objects, or one object a line.",
        )
    objects_ = [each for each in structures if isinstance(each, dict)]
    names = _ordered(session, objects, {each for one in objects_ for each in one}, name)
    found = {each: _merged_all(objects_, each) for each in names}
    return {
        each: _without_empty(session, objects, objects_, each)
        if found[each] == "JSON"
        else found[each]
        for each in names
    }


def _merged_all(objects: list[dict[str, Structure]], name: str, *, skip: str = "") -> Structure:
    parts = [each[name] for each in objects if name in each and each[name] != (skip or None)]
    nothing: Structure = "NULL"
    return reduce(_merged, parts, nothing)


def _merged(one: Structure, other: Structure) -> Structure:
    if one == "NULL" or one == other:
        return other
    if other == "NULL":
        return one
    if isinstance(one, dict) and isinstance(other, dict):
        return {
            key: _merged(one.get(key, "NULL"), other.get(key, "NULL")) for key in {**one, **other}
        }
    if isinstance(one, list) and isinstance(other, list):
        return [_merged(one[0], other[0])]
    if isinstance(one, str) and isinstance(other, str) and {one, other} <= NUMBERS:
        return "DOUBLE"
    return "JSON"


def _without_empty(
    session: SqlSession, objects: str, found: list[dict[str, Structure]], name: str
) -> Structure:
    """Return the structure of a member that is an empty object in some rows: of which nothing is said."""
    merged = _merged_all(found, name, skip="JSON")
    if not isinstance(merged, dict):
        return "JSON"
    others = session.execute(
        f"SELECT count(*) FROM {objects} WHERE json_type(json, {pointer(name)}) NOT IN ('OBJECT', 'NULL')"
    )
    return merged if others[0][0] == 0 else "JSON"


def _by_kind(session: SqlSession, objects: str, names: list[str]) -> dict[str, Structure]:
    """Return the kinds of members of objects that are too different for more."""
    rows = session.execute(
        "SELECT DISTINCT unnest(json_keys(json)), "
        "unnest(list_transform(json_extract(json, '$.*'), lambda v: json_type(v))) "
        f"FROM {objects}"
    )
    found: dict[str, Structure] = dict.fromkeys(names, "NULL")
    for name, kind in rows:
        structure = "JSON" if kind in ("OBJECT", "ARRAY") else str(kind)
        found[str(name)] = _merged(found[str(name)], structure)
    return found
