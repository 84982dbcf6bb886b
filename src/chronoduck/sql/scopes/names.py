"""What a SELECT names, by DuckDB's own parser, and whether a narrowed principal may name it.

The catalogue that a narrowed statement runs in holds nothing but what was granted. This walk keeps it
there: no other catalogue, no schema that was not granted, no table of the catalogue itself, no file,
and no function that looks beyond its arguments.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Iterator, Set
from dataclasses import dataclass
from typing import Any

import duckdb
import orjson

from chronoduck.errors import StatementRefusedError
from chronoduck.sql.engine_errors import translate
from chronoduck.sql.parsing_options import PARSING_OPTIONS
from chronoduck.sql.rules.bounds import arguments_of, has_named_arguments, literal_text
from chronoduck.sql.rules.refusals import RULES
from chronoduck.sql.scopes.functions import (
    PLAIN_TABLE_FUNCTIONS,
    TYPE_READERS,
    WORD_FUNCTIONS,
    plain_functions,
)

__all__ = ["SYSTEM_SCHEMAS", "Names", "Syntax", "Table", "check_names", "folded"]

Table = tuple[str, str, str]
"""Catalogue, schema and name as written, folded; empty: not given."""

SYSTEM_SCHEMAS = frozenset({"information_schema", "pg_catalog"})

_CACHE_ENTRIES = 2048
_CACHED_BYTES = 20_000
_EXPRESSIONS = frozenset(
    [
        "BETWEEN",
        "CASE",
        "CAST",
        "COLLATE",
        "COLUMN_REF",
        "COMPARISON",
        "CONJUNCTION",
        "CONSTANT",
        "DEFAULT",
        "FUNCTION",
        "LAMBDA",
        "LAMBDA_REF",
        "OPERATOR",
        "PARAMETER",
        "POSITIONAL_REFERENCE",
        "STAR",
        "SUBQUERY",
        "TYPE",
        "WINDOW",
    ]
)
_TABLES = frozenset(
    [
        "BASE_TABLE",
        "EMPTY",
        "EMPTY_FROM",
        "EXPRESSION_LIST",
        "JOIN",
        "PIVOT",
        "SHOW_REF",
        "SUBQUERY",
        "TABLE_FUNCTION",
    ]
)
_NODES = frozenset(["CTE_NODE", "RECURSIVE_CTE_NODE", "SELECT_NODE", "SET_OPERATION_NODE"])
_MODIFIERS = frozenset(
    [
        "ASCENDING",
        "DESCENDING",
        "DISTINCT_MODIFIER",
        "LIMIT_MODIFIER",
        "LIMIT_PERCENT_MODIFIER",
        "ORDER_DEFAULT",
        "ORDER_MODIFIER",
    ]
)
_ELSEWHERE = frozenset("./\\:*?[")
"""In a name that is no table, DuckDB sees a file or an address."""
_SHOWN = frozenset({'"tables"', "tables"})


def folded(name: str) -> str:
    """Return the name as DuckDB compares it: only the letters A-Z have two cases."""
    return name.encode(errors="surrogatepass").lower().decode(errors="surrogatepass")


@dataclass(frozen=True)
class Names:
    """All names in one SELECT that lead out of it. ``refusal``: why it is not judged at all."""

    tables: frozenset[Table] = frozenset()
    ctes: frozenset[str] = frozenset()
    functions: frozenset[str] = frozenset()
    table_functions: frozenset[str] = frozenset()
    refusal: str | None = None


class Syntax:
    """Parses on an in-memory connection of its own, remembering by text; safe from any thread.

    0.1-0.5 ms for a new text, a few µs for a known one.
    """

    def __init__(self) -> None:
        self._connection = duckdb.connect(
            ":memory:",
            config={**PARSING_OPTIONS, "errors_as_json": "true", "memory_limit": "100MB"},
        )
        self._lock = threading.Lock()
        self._known: OrderedDict[str, Names] = OrderedDict()
        functions = self._connection.execute(
            "SELECT function_name, function_type, stability, macro_definition "
            "FROM duckdb_functions() WHERE internal"
        ).fetchall()
        self.functions = plain_functions(functions)
        self.volatile = frozenset(row[0] for row in functions if row[2] == "VOLATILE")
        self.aggregates = frozenset(row[0] for row in functions if row[1] == "aggregate")
        views = self._connection.execute("SELECT view_name FROM duckdb_views() WHERE internal")
        self.system_tables = frozenset(folded(row[0]) for row in views.fetchall())

    def tree(self, sql: str) -> dict[str, Any]:
        """Return the parsed statement as DuckDB describes it: ``statements``, or ``error``.

        Raises:
            DuckDBQueryError: the parser itself failed.
        """
        with self._lock:
            return self._tree(sql)

    def _tree(self, sql: str) -> dict[str, Any]:
        try:
            row = self._connection.execute("SELECT json_serialize_sql(?)", [sql]).fetchone()
        except (duckdb.Error, ValueError, RuntimeError) as error:
            raise translate(error, sql) from error
        parsed: dict[str, Any] = orjson.loads(row[0] if row else "{}")
        return parsed

    def text(self, tree: dict[str, Any]) -> str:
        """Return the statement of a tree as SQL.

        Raises:
            DuckDBQueryError: it cannot be written.
        """
        with self._lock:
            try:
                row = self._connection.execute(
                    "SELECT json_deserialize_sql(?)", [orjson.dumps(tree).decode()]
                ).fetchone()
            except (duckdb.Error, ValueError, RuntimeError) as error:
                raise translate(error) from error
        return str(row[0]) if row else ""

    def names(self, sql: str) -> Names:
        """Return what the SELECT names.

        Raises:
            DuckDBQueryError: the parser itself failed.
        """
        with self._lock:
            known = self._known.get(sql)
            if known is None:
                known = _names_of(self._tree(sql))
                if len(sql) <= _CACHED_BYTES:
                    self._known[sql] = known
                    if len(self._known) > _CACHE_ENTRIES:
                        self._known.popitem(last=False)
            else:
                self._known.move_to_end(sql)
            return known

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def _names_of(parsed: dict[str, Any]) -> Names:
    if parsed.get("error") or len(parsed.get("statements", ())) != 1:
        return Names(refusal="it is not one plain SELECT (PIVOT needs its values in an IN list)")
    tables: set[Table] = set()
    ctes: set[str] = set()
    functions: set[str] = set()
    table_functions: set[str] = set()
    for node, parent in _dicts(parsed["statements"][0]):
        refusal = _refusal(node)
        if refusal is not None:
            return Names(refusal=refusal)
        kind = node.get("type")
        if kind == "BASE_TABLE":
            tables.add(_table(node))
        elif kind in ("RECURSIVE_CTE_NODE", "CTE_NODE"):
            ctes.add(folded(str(node.get("cte_name") or node.get("ctename") or "")))
        elif node.get("class") in ("FUNCTION", "WINDOW"):
            schema = node.get("schema") or ""
            if schema not in ("", "main") or len(_path(node)) > 2:
                return Names(refusal="functions are called by their bare names, as f(x)")
            found = table_functions if parent == "TABLE_FUNCTION" else functions
            name = folded(str(node["function_name"]))
            if name in TYPE_READERS and not _reads_bare_types(node):
                return Names(
                    refusal=f"the structure given to {name} is a literal that names types by "
                    "their bare names"
                )
            found.add(name)
        elif node.get("class") == "COLUMN_REF":
            # A name of no column may be a function that needs no parentheses.
            functions.update({folded(str(node["column_names"][-1]))} & WORD_FUNCTIONS)
        if "cte_map" in node:
            ctes.update(folded(str(item["key"])) for item in node["cte_map"].get("map") or ())
    return Names(
        frozenset(tables), frozenset(ctes), frozenset(functions), frozenset(table_functions)
    )


def _dicts(tree: dict[str, Any]) -> Iterator[tuple[dict[str, Any], object]]:
    """Yield every object below, with the type of the one that holds it; constants stay closed."""
    waiting: list[tuple[Any, object]] = [(tree, None)]
    while waiting:
        value, parent = waiting.pop()
        if isinstance(value, list):
            waiting.extend((item, parent) for item in value)
        elif isinstance(value, dict):
            yield value, parent
            if value.get("class") != "CONSTANT":
                waiting.extend((item, value.get("type")) for item in value.values())


def _refusal(node: dict[str, Any]) -> str | None:
    """Why this part of a statement is not judged; what is not known is refused."""
    kind, expression = node.get("type"), node.get("class")
    if node.get("catalog") or node.get("catalog_name"):
        return None if kind == "BASE_TABLE" else "names are not qualified by a database"
    if expression is not None:
        if expression not in _EXPRESSIONS:
            return f"expressions of the kind {expression} are not known"
        if expression == "TYPE" and len(_path(node)) > 1:
            return "types are named by their bare names"
        return None
    if isinstance(kind, str):
        if kind == "SHOW_REF":
            return _refusal_of_show(node)
        if kind == "BASE_TABLE" and node.get("at_clause"):
            return "AT is not known"
        if kind.endswith("_TYPE_INFO"):
            return "types are named by their bare names" if node.get("schema") else None
        if kind not in _TABLES and kind not in _NODES and kind not in _MODIFIERS:
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


def _path(node: dict[str, Any]) -> list[str]:
    return list((node.get("qualified_name") or {}).get("path") or ())


def _table(node: dict[str, Any]) -> Table:
    path = _path(node)
    if len(path) > 3:
        return ("?", "?", "?")
    written = [""] * (3 - len(path)) + path if path else ["", "", ""]
    catalog = node.get("catalog_name") or written[0]
    schema = node.get("schema_name") or written[1]
    return (folded(catalog), folded(schema), folded(node.get("table_name") or written[2]))


def check_names(names: Names, syntax: Syntax, schemas: Set[str]) -> None:
    """Refuse a SELECT that could see more than its catalogue holds.

    ``schemas``: those of all that was granted, and ``main``. A table in them that was not granted is
    not refused here: it does not exist there.

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
        if _ELSEWHERE.intersection(name):
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
