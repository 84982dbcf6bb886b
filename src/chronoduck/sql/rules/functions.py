"""Every function of DuckDB, classified: what may be called, and the rule that refuses the others.

Table functions are allowed by name and everything else is refused. Scalar functions, aggregates and
macros are refused by name; the harmless ones are listed too (``known_functions``), so that a function
which a new version of DuckDB brings is refused until somebody has looked at it.
"""

from __future__ import annotations

import duckdb

from chronoduck.sql.rules.known_functions import KNOWN_FUNCTIONS

__all__ = [
    "ALLOWED_TABLE_FUNCTIONS",
    "DEEP_READERS",
    "DENIED_FUNCTIONS",
    "DENIED_IN_FROM",
    "DENIED_VIEWS",
    "STORE_READERS",
    "denial_of",
    "is_known",
]

ALLOWED_TABLE_FUNCTIONS = frozenset(
    # Rows out of nothing, or out of the arguments.
    "range generate_series unnest repeat repeat_row json_each json_tree summary "
    "test_all_types test_vector_types icu_calendar_names pg_timezone_names "
    # What there is in the database: names and definitions, which every reader may know.
    "duckdb_columns duckdb_constraints duckdb_coordinate_systems duckdb_dependencies "
    "duckdb_functions duckdb_indexes duckdb_keywords duckdb_optimizers duckdb_schemas "
    "duckdb_secret_types duckdb_sequences duckdb_tables duckdb_triggers duckdb_types duckdb_views "
    # Numbers of the instance: no names, no statements, no paths.
    "duckdb_memory duckdb_connection_count duckdb_approx_database_count".split()
)
"""All other table functions are refused, known or not."""

DEEP_READERS = frozenset({"json_contains"}) | frozenset(
    {"json_structure", "json_group_structure", "json_merge_patch"}
    if duckdb.__version__.startswith("1.")
    else ()
)
"""They call themselves for each level of a JSON text: 450,000 brackets, which an upload, a parameter or
string_agg() makes, end the process. They take texts that are written in the statement, nothing else."""

STORE_READERS = frozenset({"read_parquet", "read_csv", "read_json"})
"""By which an admin may read from S3, where that is on."""

_DENIED: dict[str, str] = {
    "files": "glob sniff_csv arrow_scan arrow_scan_dumb pandas_scan python_arrow_scan seq_scan "
    "python_map_function duckdb_external_file_cache duckdb_temporary_files getenv "
    "duckdb_databases duckdb_extensions",
    "dynamic-sql": "query query_table json_execute_serialized_sql json_serialize_sql "
    "json_serialize_plan json_deserialize_sql histogram_values import_database copy_database",
    "engine-log": "enable_logging disable_logging enable_profiling disable_profiling duckdb_logs "
    "duckdb_log_contexts duckdb_logs_parsed duckdb_profiling_settings truncate_duckdb_logs write_log "
    "parse_duckdb_log_message duckdb_prepared_statements duckdb_live_query_metrics",
    "settings": "duckdb_settings",
    "metadata": "duckdb_table_sample duckdb_variables duckdb_available_metrics duckdb_dialects "
    "duckdb_eviction_queues duckdb_extension_repositories duckdb_external_resource_types "
    "duckdb_external_resources duckdb_grammar_extensions pragma_collations pragma_database_size "
    "pragma_metadata_info pragma_platform pragma_show pragma_storage_info pragma_table_info "
    "pragma_user_agent pragma_version",
    "extension": "add_grammar_extension remove_grammar_extension create_external_resource "
    "destroy_external_resource register_external_resource deregister_external_resource "
    "register_external_resource_type",
    "secrets": "duckdb_secrets which_secret duckdb_secret_type_parameters",
    "checkpoint": "checkpoint force_checkpoint",
    "sleep": "sleep_ms pg_sleep",
    "session-state": "setseed",
    "sequence": "nextval setval",
    # States, blobs and casts that only the engine itself makes well-formed: crafted ones reach
    # code that trusts them.
    "engine-internals": "finalize combine combine_aggr to_aggregate_state index_key "
    "variant_bytes_to_variant variant_normalize __between __cast constant_or_null "
    "create_sort_key vector_type add_parquet_key "
    # They cast a value to the type of another one, without a cast in the text.
    "cast_to_type replace_type remap_struct variant_group_array variant_group_object",
}
DENIED_FUNCTIONS = {name: rule for rule, names in _DENIED.items() for name in names.split()}
"""Function to the rule that refuses it, wherever it is called."""

_DENIED_PREFIXES = {
    "read_": "files",
    "parquet_": "files",
    "postgres_": "files",
    "mysql_": "files",
    "sqlite_": "files",
    "iceberg_": "files",
    "delta_": "files",
    "ducklake_": "files",
    "quack_": "files",
    "http_": "files",
    "s3_": "files",
    "enable_": "engine-log",
    "disable_": "engine-log",
    "__internal_": "engine-internals",
    "verify_": "engine-internals",
    "pragma_": "metadata",
    "duckdb_": "metadata",
}
# An aggregate of the same name is harmless; the table macro takes a table's name as a value.
DENIED_IN_FROM = {"histogram": "dynamic-sql"}
"""Functions that are refused in FROM alone."""

# Operators that DuckDB 2.0 lists as functions.
_OPERATORS = frozenset({"is distinct from", "is not distinct from"})
_KNOWN_PREFIXES = ("icu_collate_", "collate_")
_SCANS = "_scan"

DENIED_VIEWS = {
    "duckdb_logs": "engine-log",
    "duckdb_databases": "files",
    "duckdb_settings": "settings",
    "duckdb_secrets": "secrets",
    "pragma_database_list": "files",
    "pg_settings": "settings",
    "pg_prepared_statements": "engine-log",
}
"""Views that DuckDB brings over denied functions."""


def denial_of(name: str) -> str | None:
    """Return the rule that refuses a function wherever it is called; ``name`` in lower case."""
    rule = DENIED_FUNCTIONS.get(name)
    if rule is not None or name in ALLOWED_TABLE_FUNCTIONS or name in KNOWN_FUNCTIONS:
        return rule
    for prefix, refused_by in _DENIED_PREFIXES.items():
        if name.startswith(prefix):
            return refused_by
    return "files" if name.endswith(_SCANS) else None


def is_known(name: str) -> bool:
    """Whether somebody has looked at this scalar, aggregate or macro and found it harmless."""
    return name in KNOWN_FUNCTIONS or name in _OPERATORS or name.startswith(_KNOWN_PREFIXES)
