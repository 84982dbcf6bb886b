"""The structure of a file of JSON objects, as DuckDB finds it in all of them, and types of tables."""

from __future__ import annotations

from chronoduck.transfer.exact_values import tree_of
from chronoduck.transfer.guess_types import Leaf, Part, number_ladder, text_ladder
from chronoduck.transfer.sql import quote_text
from chronoduck.transfer.type_text import TypeTree

__all__ = ["NUMBERS", "Structure", "part_of", "pointer", "structural_flaw", "unknown_key"]

Structure = str | dict[str, "Structure"] | list["Structure"]
"""The name of a type, members, or the one element of arrays: as ``json_structure`` writes it."""
_MAX_MEMBERS = 200
"""An object of more is a map, or what it is: JSON."""
NUMBERS = frozenset({"UBIGINT", "BIGINT", "HUGEINT", "DOUBLE"})


def part_of(structure: Structure, *, is_top: bool = True) -> Part:
    """Return the column that values of a structure make."""
    if isinstance(structure, list):
        inner = part_of(structure[0], is_top=False)
        return Part("list", parts=[("", inner)])
    if isinstance(structure, dict):
        return _object(structure)
    if structure in NUMBERS:
        return Part("leaf", Leaf(number_ladder(), "JSON" if is_top else "VARCHAR"))
    if structure == "BOOLEAN":
        return Part("leaf", Leaf(["BOOLEAN"], "JSON"))
    if structure == "VARCHAR":
        ladder = [*text_ladder(["2000-01-01"]), "UUID"] if is_top else []
        return Part("leaf", Leaf(ladder))
    return Part("leaf", Leaf([], "JSON"))


def _object(members: dict[str, Structure]) -> Part:
    names = {name.lower() for name in members}
    is_plain = len(names) == len(members) and all(names) and not any("\0" in n for n in members)
    if is_plain and len(members) <= _MAX_MEMBERS:
        parts = [(name, part_of(each, is_top=False)) for name, each in members.items()]
        return Part("struct", parts=parts)
    kinds = {each for each in members.values() if isinstance(each, str) and each != "NULL"}
    if is_plain and len(kinds) == 1 and all(isinstance(each, str) for each in members.values()):
        return Part("map", parts=[("", part_of(kinds.pop(), is_top=False))])
    return Part("leaf", Leaf([], "JSON"))


def unknown_key(structure: Structure, type_: str) -> bool:
    """Whether objects of the structure have a member that a type has no place for."""
    return _unknown(structure, tree_of(type_))


def _unknown(structure: Structure, tree: TypeTree) -> bool:
    if tree.name == "STRUCT" and isinstance(structure, dict):
        parts = dict(tree.parts)
        return any(
            name not in parts or _unknown(each, parts[name]) for name, each in structure.items()
        )
    if tree.name == "MAP" and isinstance(structure, dict):
        return any(_unknown(each, tree.parts[1][1]) for each in structure.values())
    if tree.name in ("LIST", "ARRAY") and isinstance(structure, list):
        return _unknown(structure[0], tree.parts[0][1])
    # A structure of which nothing is known may be any.
    return structure == "JSON" and tree.name in ("STRUCT", "MAP", "LIST", "ARRAY")


def structural_flaw(tree: TypeTree, document: str, level: int = 0) -> str:
    """Return SQL for what of a JSON value has no place in a type: a text, or NULL."""
    kind = f"json_type({document})"
    if tree.name == "STRUCT":
        names = ", ".join(quote_text(name) for name, _ in tree.parts)
        key = f"k{level}"
        unknown = f"list_filter(json_keys({document}), lambda {key}: {key} NOT IN ({names}))"
        inner = [
            structural_flaw(part, f"({document} -> {pointer(name)})", level + 1)
            for name, part in tree.parts
            if part.parts
        ]
        more = "".join(f", {each}" for each in inner)
        return (
            f"CASE WHEN {kind} IS NULL OR {kind} = 'NULL' THEN NULL "
            f"WHEN {kind} <> 'OBJECT' THEN 'is not an object' "
            f"WHEN len({unknown}) > 0 THEN 'has a key that the type lacks: ' || {unknown}[1] "
            f"ELSE coalesce(NULL{more}) END"
        )
    if tree.name == "MAP":
        values = f"json_extract({document}, '$.*')"
        return _held(kind, "OBJECT", "is not an object", tree.parts[1][1], values, level)
    if tree.name in ("LIST", "ARRAY"):
        elements = f"from_json({document}, '[\"JSON\"]')"
        return _held(kind, "ARRAY", "is not an array", tree.parts[0][1], elements, level)
    return "CAST(NULL AS VARCHAR)"


def _held(kind: str, wanted: str, reason: str, part: TypeTree, values: str, level: int) -> str:
    """Return SQL for what is wrong with a value that holds many of one type: itself, or one of them."""
    element = f"e{level}"
    inner = "NULL"
    if part.parts:
        flaw = structural_flaw(part, element, level + 1)
        flaws = f"list_transform({values}, lambda {element}: {flaw})"
        inner = f"list_filter({flaws}, lambda x{level}: x{level} IS NOT NULL)[1]"
    return (
        f"CASE WHEN {kind} IS NULL OR {kind} = 'NULL' THEN NULL "
        f"WHEN {kind} <> {quote_text(wanted)} THEN {quote_text(reason)} ELSE {inner} END"
    )


def pointer(name: str) -> str:
    """Return SQL for the place of a member in its object."""
    return quote_text("/" + name.replace("~", "~0").replace("/", "~1"))
