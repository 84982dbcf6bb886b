"""What a SELECT names, by DuckDB's own parser, and whether a narrowed principal may name it.

The catalogue that a narrowed statement runs in holds nothing but what was granted. This walk keeps it
there: no other catalogue, no schema that was not granted, no table of the catalogue itself, no file,
and no function that looks beyond its arguments.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Set
from dataclasses import dataclass
from typing import Any

import duckdb
import orjson

from chronoduck.errors import StatementRefusedError
from chronoduck.sql.engine_errors import translate
from chronoduck.sql.facts import Part, PartRole, StatementFacts
from chronoduck.sql.rules.bounds import arguments_of, has_named_arguments, literal_text
from chronoduck.sql.rules.file_names import folded
from chronoduck.sql.rules.refusals import RULES
from chronoduck.sql.scopes.functions import (
    PLAIN_TABLE_FUNCTIONS,
    TYPE_READERS,
    WORD_FUNCTIONS,
    plain_functions,
)
from chronoduck.sql.scratch import Scratch

__all__ = ["SYSTEM_SCHEMAS", "Names", "Syntax", "Table", "check_names", "folded", "names_of"]

Table = tuple[str, str, str]
"""Catalogue, schema and name as written, folded; empty: not given."""

SYSTEM_SCHEMAS = frozenset({"information_schema", "pg_catalog"})

_EXPRESSIONS = frozenset(
    "BETWEEN CASE CAST COLLATE COLUMN_REF COMPARISON CONJUNCTION CONSTANT DEFAULT FUNCTION LAMBDA "
    "LAMBDA_REF OPERATOR PARAMETER POSITIONAL_REFERENCE STAR SUBQUERY TYPE WINDOW".split()
)
_KNOWN = frozenset(
    "EMPTY EMPTY_FROM EXPRESSION_LIST JOIN PIVOT SUBQUERY TABLE_FUNCTION "
    "CTE_NODE RECURSIVE_CTE_NODE SELECT_NODE SET_OPERATION_NODE "
    "ASCENDING DESCENDING DISTINCT_MODIFIER LIMIT_MODIFIER LIMIT_PERCENT_MODIFIER ORDER_DEFAULT "
    "ORDER_MODIFIER".split()
)
"""Relations, queries and modifiers besides tables and SHOW."""
_ELSEWHERE = frozenset("./\\:*?[")
"""In a name that is no table, DuckDB sees a file or an address."""
_SHOWN = frozenset({'"tables"', "tables"})


@dataclass(frozen=True)
class Names:
    """All names in one SELECT that lead out of it. ``refusal``: why it is not judged at all."""

    tables: frozenset[Table] = frozenset()
    ctes: frozenset[str] = frozenset()
    functions: frozenset[str] = frozenset()
    table_functions: frozenset[str] = frozenset()
    refusal: str | None = None


class Syntax(Scratch):
    """Scratch that knows DuckDB's own functions and writes trees as SQL; safe from any thread."""

    def __init__(self) -> None:
        super().__init__()
        functions = self.rows(
            "SELECT function_name, function_type, stability, macro_definition "
            "FROM duckdb_functions() WHERE internal"
        )
        self.functions = plain_functions(functions)
        self.volatile = frozenset(row[0] for row in functions if row[2] == "VOLATILE")
        self.aggregates = frozenset(row[0] for row in functions if row[1] == "aggregate")
        views = self.rows("SELECT view_name FROM duckdb_views() WHERE internal")
        self.system_tables = frozenset(folded(row[0]) for row in views)

    def tree(self, sql: str) -> dict[str, Any]:
        """Return the parsed statement as DuckDB describes it: ``statements``, or ``error``.

        Raises:
            DuckDBQueryError: the parser itself failed.
        """
        parsed: dict[str, Any] = orjson.loads(self._converted("json_serialize_sql", sql) or "{}")
        return parsed

    def text(self, tree: dict[str, Any]) -> str:
        """Return the statement of a tree as SQL.

        Raises:
            DuckDBQueryError: it cannot be written.
        """
        return self._converted("json_deserialize_sql", orjson.dumps(tree).decode())

    def _converted(self, function: str, text: str) -> str:
        try:
            found = self.rows(f"SELECT {function}(?)", [text])
        except (duckdb.Error, ValueError, RuntimeError) as error:
            raise translate(error, text) from error
        return str(found[0][0])


def names_of(facts: StatementFacts | None) -> Names:
    """Return what a SELECT names; ``facts``: None of a text that has no tree."""
    if facts is None:
        return Names(refusal="it is not one plain SELECT (PIVOT needs its values in an IN list)")
    tables: set[Table] = set()
    functions: set[str] = set()
    table_functions: set[str] = set()
    for part in facts.parts:
        refusal = _refusal(part)
        if refusal is not None:
            return Names(refusal=refusal)
        if part.kind == "BASE_TABLE":
            tables.add(_table(part))
        elif part.expression == "COLUMN_REF":
            # A name of no column may be a function that needs no parentheses.
            functions.update({folded(str(part.node["column_names"][-1]))} & WORD_FUNCTIONS)
    for index in facts.calls:
        part = facts.parts[index]
        name = folded(str(part.node["function_name"]))
        if (part.node.get("schema") or "main") != "main" or len(part.qualified) > 2:
            return Names(refusal="functions are called by their bare names, as f(x)")
        if name in TYPE_READERS and not _reads_bare_types(part.node):
            return Names(
                refusal=f"the structure given to {name} is a literal that names types by "
                "their bare names"
            )
        is_in_from = part.role is PartRole.TABLE_CALL
        (table_functions if is_in_from else functions).add(name)
    ctes = frozenset(folded(name) for name in facts.ctes)
    return Names(frozenset(tables), ctes, frozenset(functions), frozenset(table_functions))


def _refusal(part: Part) -> str | None:
    """Why this part of a statement is not judged; what is not known is refused."""
    node, kind, expression = part.node, part.kind, part.expression
    if node.get("catalog") or node.get("catalog_name"):
        return None if kind == "BASE_TABLE" else "names are not qualified by a database"
    if expression:
        if expression not in _EXPRESSIONS:
            return f"expressions of the kind {expression} are not known"
        if expression == "TYPE" and len(part.qualified) > 1:
            return "types are named by their bare names"
    elif kind == "SHOW_REF":
        return _refusal_of_show(node)
    elif kind == "BASE_TABLE":
        return "AT is not known" if node.get("at_clause") else None
    elif kind.endswith("_TYPE_INFO"):
        return "types are named by their bare names" if node.get("schema") else None
    elif kind and kind not in _KNOWN:
        return f"{kind} is not known"
    return None


def _refusal_of_show(node: dict[str, Any]) -> str | None:
    if node.get("query"):
        return None  # DESCRIBE and SUMMARIZE: what they describe is judged like a subquery
    if node.get("table_name") in _SHOWN and not node.get("schema_name"):
        return None
    return "of the SHOW statements only SHOW TABLES is run"


def _reads_bare_types(call: dict[str, Any]) -> bool:
    """Whether the structure of a json_transform() and the like names no type of another catalogue.

    DuckDB reads the texts in it as types, ``"db.schema.name"`` too; a type's values are data.
    """
    arguments = arguments_of(call)
    if len(arguments) != 2 or has_named_arguments(call):
        return False
    text = literal_text(arguments[1])
    try:
        # Pairs, not dictionaries: of a key that is given twice both values count.
        waiting = [json.loads(text or "", object_pairs_hook=list)]
    except (ValueError, RecursionError):
        return False
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting.extend(value)
        elif isinstance(value, tuple):
            waiting.append(value[1])  # the name of a field may hold anything
        elif isinstance(value, str) and "." in value:
            return False
    return True


def _table(part: Part) -> Table:
    """Return what a table is called; ``?``: in a way that is not understood."""
    catalog, schema, name = part.table
    given = [each for each in (catalog, schema, name) if each]
    if part.qualified not in ([], given):
        return ("?", "?", "?")
    return (folded(catalog), folded(schema), folded(name))


def check_names(
    names: Names,
    syntax: Syntax,
    schemas: Set[str],
    is_table: Callable[[str, str], bool] = lambda schema, name: False,
) -> None:
    """Refuse a SELECT that could see more than its catalogue holds.

    ``schemas``: those of all that was granted, and ``main``. A table in them that was not granted is
    not refused here: it does not exist there. ``is_table``: whether a schema, empty if none is
    given, and a name that looks like a file's are those of a table; all folded.

    Raises:
        StatementRefusedError: it names something that is not part of any scope.
    """
    if names.refusal is not None:
        raise _refused(names.refusal)
    for catalog, schema, name in names.tables:
        if catalog or (schema and (schema not in schemas or schema in SYSTEM_SCHEMAS)):
            written = ".".join(filter(None, (catalog, schema)))
            raise _refused(f"{written} is not a schema that it sees")
        if name in syntax.system_tables and name not in names.ctes:
            raise _refused(f"{name} is not in it")
        if _ELSEWHERE.intersection(name) and not is_table(schema, name):
            raise _refused("files are not read")
    for name in names.ctes:
        if name in syntax.system_tables or _ELSEWHERE.intersection(name):
            raise _refused(f"the WITH clause needs another name than {name}")
    for name in names.table_functions - PLAIN_TABLE_FUNCTIONS:
        raise _refused(f"the table function {name} is not run")
    for name in names.functions - syntax.functions:
        raise _refused(f"the function {name} is not run")


def _refused(reason: str) -> StatementRefusedError:
    return StatementRefusedError(
        f"this key sees a part of the database, and {reason}", hint=RULES["scope"], rule="scope"
    )
