"""What stands in the way of the DuckDB before: entries of a catalog that only this one understands.

A file of a storage version that the older engine does not know cannot be opened by it at all. Neither
can one with a type that it does not know, wherever the type is named. A function that it does not have
makes each use of the view, macro, default, CHECK or index fail there; the rest of the file works.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import duckdb

from chronoduck.engine.disk_format import DatabaseFile, read_header
from chronoduck.engine.opening_options import OPENING_OPTIONS
from chronoduck.sql.engine_errors import translate

__all__ = [
    "CATALOG_TEXTS",
    "NEWER_FUNCTIONS",
    "OLDER_ENGINE",
    "is_readable_by_older",
    "newer_entries",
    "read_catalog_texts",
]

OLDER_ENGINE = "1.5"
"""One step back from the engine that the package asks for."""
_SERIALIZATION_OF_1_5 = 7
"""What DuckDB 1.5 writes into the headers of a file of its newest storage version."""

CATALOG_TEXTS = """
SELECT 'table' AS kind, schema_name || '.' || table_name AS name, sql AS text
FROM duckdb_tables() WHERE NOT internal AND database_name = current_database()
UNION ALL
SELECT 'view', schema_name || '.' || view_name, sql
FROM duckdb_views() WHERE NOT internal AND database_name = current_database()
UNION ALL
SELECT 'index', schema_name || '.' || index_name, sql
FROM duckdb_indexes() WHERE database_name = current_database()
UNION ALL
SELECT 'macro', schema_name || '.' || function_name,
       macro_definition || ' ' || coalesce(parameter_types::VARCHAR, '')
FROM duckdb_functions()
WHERE NOT internal AND macro_definition IS NOT NULL AND database_name = current_database()
UNION ALL
SELECT 'type', schema_name || '.' || type_name, logical_type
FROM duckdb_types() WHERE NOT internal AND database_name = current_database()
ORDER BY ALL
"""
"""Kind, name and text of what a database defines."""

_NEWER_TYPES = ("timestamptz_ns", "tuple")
NEWER_FUNCTIONS = frozenset(
    (
        "__between",
        "__cast",
        "add_grammar_extension",
        "assert_true",
        "binom",
        "bitstring_byte_comparable",
        "combine_aggr",
        "create_external_resource",
        "decimal_average",
        "decimal_division",
        "deregister_external_resource",
        "destroy_external_resource",
        "hive_partition_component",
        "if",
        "index_key",
        "invoke",
        "json_copy_strftime_if_date",
        "json_copy_strftime_if_timestamp",
        "json_deep_merge",
        "json_insert",
        "json_merge_patch_diff",
        "json_normalize",
        "json_remove",
        "json_replace",
        "json_set",
        "json_strip_nulls",
        "lttb",
        "map_type_id_to_pg_oid",
        "overlay",
        "path_join",
        "python_arrow_scan",
        "register_external_resource",
        "register_external_resource_type",
        "remove_grammar_extension",
        "setval",
        "st_asgeojson",
        "st_geomfromgeojson",
        "to_aggregate_state",
        "variant_array_length",
        "variant_comparator",
        "variant_contains",
        "variant_exists",
        "variant_extract_string",
        "variant_group_array",
        "variant_group_object",
        "variant_keys",
        "variant_type",
        "vertex_extract",
    )
)
"""Functions of DuckDB 2.0 that 1.5 does not have."""
_LITERAL = re.compile("'(?:[^']|'')*'")
_CALLED = re.compile(
    r'(?<![\w".])"?\b(' + "|".join(sorted(NEWER_FUNCTIONS)) + r')\b"?\s*\(', re.IGNORECASE
)
_TYPED = re.compile(rf"\b({'|'.join(_NEWER_TYPES)})\b", re.IGNORECASE)


def is_readable_by_older(path: Path) -> bool:
    """Whether the storage version of a file is one that the older engine knows.

    Raises:
        DatabaseFormatError: the headers of the file are damaged.
    """
    with DatabaseFile(path) as file:
        return read_header(file.headers()).serialization <= _SERIALIZATION_OF_1_5


def _definition(kind: str, text: str) -> str:
    """Return a text without the names of what it defines, which may look like a call."""
    start = {"table": "(", "index": "(", "view": " AS "}.get(kind)
    return text if start is None else text.partition(start)[2]


def newer_entries(rows: Iterable[Sequence[str]]) -> list[str]:
    """Return a clause for each entry of ``CATALOG_TEXTS`` that only the newer engine understands."""
    found = []
    for kind, name, text in rows:
        plain = _definition(kind, _LITERAL.sub("''", text))
        types = {match.lower() for match in _TYPED.findall(plain)}
        functions = {match.lower() for match in _CALLED.findall(plain)}
        if types:
            found.append(f"{kind} {name} (type {', '.join(sorted(types))}: it cannot be opened)")
        elif functions:
            found.append(f"{kind} {name} (function {', '.join(sorted(functions))})")
    return found


def read_catalog_texts(path: Path) -> list[tuple[str, str, str]]:
    """Return what a database defines that nobody has open; the file is not changed.

    Raises:
        DuckDBException: it cannot be opened.
    """
    try:
        with duckdb.connect(str(path), read_only=True, config=OPENING_OPTIONS) as opened:
            rows = opened.execute(CATALOG_TEXTS).fetchall()
    except duckdb.Error as error:
        raise translate(error) from error
    return [(str(kind), str(name), str(text)) for kind, name, text in rows]
