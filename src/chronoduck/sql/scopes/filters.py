"""Row filters: an operator's condition over one table's columns, judged and made unable to leak."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from chronoduck.errors import DuckDBQueryError, InvalidRequestError
from chronoduck.sql.scopes.claims import Bindings, claim_path, kind_of
from chronoduck.sql.scopes.names import Syntax, folded

__all__ = ["check_form", "condition"]

_ALLOWED = frozenset(
    "BETWEEN CASE CAST COLLATE COLUMN_REF COMPARISON CONJUNCTION CONSTANT FUNCTION OPERATOR TYPE".split()
)
_INTEGERS = frozenset("TINYINT SMALLINT INTEGER BIGINT UTINYINT USMALLINT UINTEGER UBIGINT".split())
_OF_TEXT = frozenset("DATE TIMESTAMP BOOLEAN UUID VARCHAR TIME".split())
"""Types that a text is compared with by reading the text once, when the statement is planned."""
_TEXT_MATCHES = frozenset("~~ !~~ ~~* !~~* prefix starts_with suffix contains".split())


def condition(
    text: str,
    columns: Mapping[str, str],
    table: str,
    syntax: Syntax,
    bindings: Bindings | None = None,
) -> str:
    """Return the filter as SQL that never fails on a row: an error would tell of a hidden one.

    ``columns``: the types of the table's columns by their folded names. What compares columns with
    constants of their type cannot fail and is left as it is, so that scans skip blocks by it;
    everything else is wrapped in TRY, and a row that it fails on is not seen. ``bindings`` has the
    values of ``$claim.sub`` and ``?``; where one is missing, no row is seen.

    Raises:
        InvalidRequestError: it is not one condition over these columns alone.
    """
    expression = _expression(text, syntax)
    for node in _nodes(expression):
        _check(node, text, columns, table, syntax)
        if bindings is None and claim_path(node) is not None:
            raise _invalid(text, "it holds a parameter, and no values are given")
    bindings = bindings or Bindings()
    cannot_fail = _cannot_fail(expression, columns, bindings)
    expression = _bound(expression, bindings, syntax)
    if bindings.missing:
        return "false"
    sql = syntax.text(_select(expression, syntax)).removeprefix("SELECT ")
    return f"({sql})" if cannot_fail else f"TRY(CAST({sql} AS BOOLEAN))"


def check_form(text: str, table: str, syntax: Syntax) -> None:
    """Refuse what is no filter whatever the table's columns are.

    Raises:
        InvalidRequestError: it is not one condition, or holds what no filter may.
    """
    for node in _nodes(_expression(text, syntax)):
        _check(node, text, None, table, syntax)
        if (claim_path(node) or " ")[0] == "?":
            raise _invalid(text, "it holds ?, whose value a key has not; name it $claim.name")


def _select(expression: dict[str, Any], syntax: Syntax) -> dict[str, Any]:
    tree = syntax.tree("SELECT 1")
    tree["statements"][0]["node"]["select_list"] = [expression]
    return tree


def _expression(text: str, syntax: Syntax) -> dict[str, Any]:
    """Return the tree of the text if it is one expression and nothing else."""
    if not text.strip():
        raise _invalid(text, "it is empty")
    try:
        tree = syntax.tree(f"SELECT ({text}\n)")
        plain = syntax.tree("SELECT 1")
    except DuckDBQueryError as error:
        raise _invalid(text, str(error)) from error
    if tree.get("error"):
        raise _invalid(text, str(tree.get("error_message")))
    nodes = [statement["node"] for statement in tree["statements"]]
    items: list[dict[str, Any]] = nodes[0].get("select_list") or []
    if len(nodes) == 1 and len(items) == 1:
        bare = plain["statements"][0]["node"]
        if all(nodes[0][key] == bare[key] for key in bare if key != "select_list"):
            return {**items[0], "alias": ""}
    raise _invalid(text, "it is more than one condition")


def _bound(tree: Any, bindings: Bindings, syntax: Syntax) -> Any:
    """Return the tree with a variable in place of each value of who asks."""
    if isinstance(tree, list):
        return [_bound(each, bindings, syntax) for each in tree]
    if not isinstance(tree, dict) or tree.get("class") == "CONSTANT":
        return tree
    path = claim_path(tree)
    if path is None:
        return {key: _bound(value, bindings, syntax) for key, value in tree.items()}
    name = bindings.bind(path)
    if name is None:
        return tree
    call = syntax.tree(f"SELECT getvariable('{name}')")  # of our own prefix and hex digits
    return call["statements"][0]["node"]["select_list"][0]


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    """Yield the parts; what names a value of who asks is one."""
    waiting = [tree]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting.extend(value)
        elif isinstance(value, dict):
            yield value
            is_whole = value.get("class") == "CONSTANT" or claim_path(value) is not None
            waiting.extend(() if is_whole else value.values())


def _check(
    node: dict[str, Any],
    text: str,
    columns: Mapping[str, str] | None,
    table: str,
    syntax: Syntax,
) -> None:
    kind = node.get("class")
    if kind in (None, "TYPE"):
        if node.get("schema") or node.get("catalog"):
            raise _invalid(text, "types are named by their bare names")
        return
    if claim_path(node) is not None:
        return
    if kind not in _ALLOWED:
        parameter = "a parameter that is neither ? nor $claim.name"
        what = {"SUBQUERY": "a subquery", "PARAMETER": parameter, "WINDOW": "a window function"}
        raise _invalid(text, f"it holds {what.get(kind, kind)}")
    if kind == "COLUMN_REF" and columns is not None:
        path = [folded(name) for name in node["column_names"]]
        if path[0] == folded(table) and len(path) > 1:
            path = path[1:]
        if path[0] not in columns:
            raise _invalid(text, f"the table has no column {path[0]}")
    if kind == "FUNCTION":
        name = str(node["function_name"]).lower()
        if name not in syntax.functions or (node.get("schema") or "main") != "main":
            raise _invalid(text, f"the function {name} is not allowed here")
        if name in syntax.volatile or name in syntax.aggregates:
            raise _invalid(text, f"{name} does not depend on the row alone")


def _invalid(text: str, reason: str) -> InvalidRequestError:
    return InvalidRequestError(
        f"the row filter {text[:200]!r} cannot be used: {reason.splitlines()[0]}",
        hint="A row filter is one SQL condition over the table's own columns, "
        "for example: tenant = 'acme', or user_id = $claim.sub.",
    )


def _cannot_fail(node: dict[str, Any], columns: Mapping[str, str], bindings: Bindings) -> bool:
    """Whether the condition only compares columns with constants that need no conversion by row."""
    kind, operator = node["class"], node["type"]
    if kind == "COLUMN_REF":
        return _type(node, columns) == "BOOLEAN"
    if kind == "CONJUNCTION" or operator == "OPERATOR_NOT":
        return all(_cannot_fail(child, columns, bindings) for child in node["children"])
    if operator in ("OPERATOR_IS_NULL", "OPERATOR_IS_NOT_NULL"):
        return bool(node["children"][0]["class"] == "COLUMN_REF")
    if kind == "COMPARISON":
        return _fit([node["left"], node["right"]], columns, bindings)
    if kind == "BETWEEN":
        return _fit([node["input"], node["lower"], node["upper"]], columns, bindings)
    if operator in ("COMPARE_IN", "COMPARE_NOT_IN"):
        return _fit(node["children"], columns, bindings)
    if kind == "FUNCTION" and str(node["function_name"]).lower() in _TEXT_MATCHES:
        arguments = node.get("children") or [each["expression"] for each in node["arguments"]]
        return _type(arguments[0], columns) == "VARCHAR" and _fit(arguments, columns, bindings)
    return False


def _fit(operands: list[dict[str, Any]], columns: Mapping[str, str], bindings: Bindings) -> bool:
    """Whether one operand is a column and the others are constants of its type."""
    named = [each for each in operands if each["class"] == "COLUMN_REF"]
    constants = [each for each in operands if each["class"] == "CONSTANT"]
    paths = [path for each in operands if (path := claim_path(each)) is not None]
    if len(named) != 1 or len(constants) + len(paths) != len(operands) - 1:
        return False
    column = _type(named[0], columns)
    kinds = {_constant_kind(each) for each in constants}
    if paths and column != "VARCHAR" and column not in _INTEGERS:
        return False  # a value of somebody else's need not be a date
    kinds |= {kind_of(bindings.value(path)) for path in paths}
    return (column in _OF_TEXT and kinds == {"VARCHAR"}) or (
        column in _INTEGERS and kinds == {"INTEGER"}
    )


def _type(node: dict[str, Any], columns: Mapping[str, str]) -> str:
    if node["class"] != "COLUMN_REF" or len(node["column_names"]) != 1:
        return ""
    return columns.get(folded(node["column_names"][0]), "")


def _constant_kind(node: dict[str, Any]) -> str:
    """Return VARCHAR or INTEGER for texts and whole numbers, else something else."""
    literal = node.get("literal")
    if literal is not None:  # DuckDB 2.0
        kind = str(literal.get("kind"))
        return {"STRING": "VARCHAR"}.get(kind, kind)
    kind = str(node["value"]["type"]["id"])
    return "INTEGER" if kind == "BIGINT" else kind
