"""Which of DuckDB's functions depend on nothing but their arguments."""

from __future__ import annotations

from collections.abc import Iterable

from chronoduck.sql.catalog_copy import words_of
from chronoduck.sql.rules.functions import DEEP_READERS

__all__ = ["PLAIN_TABLE_FUNCTIONS", "TYPE_READERS", "WORD_FUNCTIONS", "plain_functions"]

WORD_FUNCTIONS = frozenset({"current_catalog", "current_schema"})
"""Called without parentheses, and not plain."""
TYPE_READERS = frozenset(
    {"from_json", "from_json_strict", "json_transform", "json_transform_strict"}
)
"""They read names of types out of a text."""
PLAIN_TABLE_FUNCTIONS = frozenset({"generate_series", "json_each", "json_tree", "range", "unnest"})

_WINDOW = frozenset(
    "cume_dist dense_rank fill first first_value lag last last_value lead nth_value ntile "
    "percent_rank rank rank_dense row_number".split()
)
_SYNTAX = frozenset("coalesce columns grouping grouping_id try unnest".split())
"""What the parser writes as a function and the binder knows."""
_NOT_PLAIN = frozenset(
    "bitstring_agg cast_to_type current_catalog current_connection_id current_database "
    "current_query current_query_id current_schema current_schemas current_setting "
    "current_transaction_id currval get_type getvariable in_search_path invoke "
    "json_serialize_plan make_type nextval parse_duckdb_log_message query setseed setval sleep_ms "
    "stats txid_current vector_type write_log".split()
)
"""They tell of statistics (of all rows, the hidden ones too), settings, other objects or plans, wait,
or change something."""
_READS = ("duckdb_", "pragma_")

Function = tuple[str, str, str | None, str | None]
"""Name, type, stability and, for a macro, its definition."""


def plain_functions(functions: Iterable[Function]) -> frozenset[str]:
    """Return the names that a narrowed statement may call, of DuckDB's built-in functions.

    A macro is judged by its definition; what calls something that is not plain is not plain.
    """
    known = list(functions)
    denied = {*_NOT_PLAIN, *DEEP_READERS, "select"}
    denied.update(name for name, *_ in known if name.startswith("__internal"))
    macros = [(name, (text or "").lower()) for name, kind, _, text in known if kind == "macro"]
    before = -1
    while len(denied) != before:
        before = len(denied)
        denied.update(
            name
            for name, text in macros
            if any(part in text for part in _READS) or not denied.isdisjoint(words_of(text))
        )
    usable = {name.lower() for name, kind, *_ in known if kind in ("scalar", "aggregate", "macro")}
    return frozenset((usable | _WINDOW | _SYNTAX) - {name.lower() for name in denied})
