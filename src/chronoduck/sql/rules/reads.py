"""What a SELECT reads and calls: tables, views, functions and macros, by its facts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from chronoduck.own_schema import OWN_SCHEMA
from chronoduck.sql.definitions import Expansion
from chronoduck.sql.facts import RELATIONS, Part, PartRole, StatementFacts
from chronoduck.sql.rules.calls import judge_call
from chronoduck.sql.rules.file_names import is_file_name
from chronoduck.sql.rules.functions import DENIED_VIEWS
from chronoduck.sql.rules.instead import INSTEAD
from chronoduck.sql.rules.known_settings import ALLOWED_SETTINGS
from chronoduck.sql.rules.lookup import Names
from chronoduck.sql.rules.refusals import refuse, refuse_again, refuse_own_schema

__all__ = ["Expansions", "judge_reads", "table_name"]

Expansions = Mapping[int, Expansion]
"""What macros and views stand for, by the index of the part that names them."""

_WRITING = frozenset({"INSERT_QUERY_NODE", "UPDATE_QUERY_NODE", "DELETE_QUERY_NODE"})
_RELATIONS = RELATIONS | {"JOIN", "EMPTY", "EMPTY_FROM"}
_SHOWN = frozenset(
    "tables databases schemas variables functions types __show_tables_expanded".split()
)


def judge_reads(facts: StatementFacts, names: Names) -> Expansions:
    """Return what the views and macros that it names stand for.

    What is not known here is refused: what a new version of DuckDB adds is looked at first.

    Raises:
        StatementRefusedError: it holds something that statements of users may not.
    """
    for index in facts.queries:
        _judge_query(facts.parts[index], names)
    for part in facts.parts:
        if part.role is PartRole.RELATION and not (
            part.kind in _RELATIONS or part.kind.endswith("_NODE") or not part.kind
        ):
            refuse("unreadable", f"it reads from something that is not known: {part.kind}")
    found: dict[int, Expansion] = {}
    for index in facts.relations:
        view = _judge_relation(facts.parts[index], names)
        if view is not None:
            found[index] = view
    for index in facts.calls:
        macro = _judge_call(facts.parts[index], names)
        if macro is not None:
            found[index] = macro
    return found


def _judge_query(part: Part, names: Names) -> None:
    if part.is_reading:
        return
    if part.kind == "COPY_QUERY_NODE":
        refuse("copy", "a CTE holds a COPY statement")
    if part.kind not in _WRITING:
        refuse("unreadable", f"the statement holds a part that is not known here: {part.kind}")
    if not names.may_write:
        refuse("write-in-query", "the query holds a statement that writes")


def _judge_relation(part: Part, names: Names) -> Expansion | None:
    """Judge what is read from; return what a view stands for."""
    node = part.node
    if part.kind == "TABLE_FUNCTION":
        call = node.get("function")
        if not isinstance(call, dict) or not call.get("function_name"):
            refuse("unreadable", "the statement calls something in FROM that is not a function")
    elif part.kind == "SHOW_REF":
        _refuse_own(part.table)
        if node.get("show_type") == "SHOW" and _shown(part) not in ALLOWED_SETTINGS:
            refuse(
                "settings",
                "SHOW tells only harmless settings",
                "`DESCRIBE t` shows a table, `SHOW TABLES` lists them.",
            )
    path = _path(part)
    if path is None or names.is_trusted:
        return None
    if not path:
        refuse("unreadable", "a table without a name")
    _refuse_own(path)
    if is_file_name(path) and not (part.kind == "BASE_TABLE" and names.is_table(_written(part))):
        refuse("files", f"{'.'.join(path)[:100]!r} in FROM would be read as a file")
    name = path[-1].lower()
    if name in DENIED_VIEWS:
        refuse(DENIED_VIEWS[name], f"{name} is not for statements of users", INSTEAD.get(name))
    view = names.view(name)
    if view is not None and view.refusal is not None:
        refuse_again(view.refusal)
    return view


def table_name(part: Part) -> str | None:
    """Return the last part of a table's name in lower case, None of what is not named."""
    path = _path(part)
    return path[-1].lower() if path else None


def _path(part: Part) -> list[str] | None:
    """Return the parts of the name of a table or view, None of what has no name."""
    if part.kind == "BASE_TABLE":
        path = [name for name in part.table if name]
    elif part.kind == "SHOW_REF" and (shown := _shown(part)) and shown not in _SHOWN:
        path = [shown]
    else:
        return None
    return [name for each in part.qualified if (name := str(each).strip('"'))] or path


def _written(part: Part) -> list[str]:
    """Return the parts of a table's name as DuckDB reads them."""
    path = [name for name in part.table if name]
    if part.qualified not in ([], path):
        refuse("unreadable", "the name of a table cannot be read")
    return path


def _shown(part: Part) -> str:
    return part.table[-1].strip('"').lower()


def _judge_call(part: Part, names: Names) -> Expansion | None:
    node = part.node
    _refuse_own((node.get("catalog"), node.get("schema")))
    name = str(node["function_name"]).lower()
    return judge_call(name, node, names, is_in_from=part.role is PartRole.TABLE_CALL)


def _refuse_own(path: Iterable[object]) -> None:
    """Refuse the service's own schema, by DuckDB's reading of the name."""
    if any(str(part).strip('"').lower() == OWN_SCHEMA for part in path):
        refuse_own_schema()
