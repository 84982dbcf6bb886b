"""What to send instead of a function, view, pragma or kind of statement that is refused.

SQL between backticks runs as it stands, for the role that was refused: a test runs all of it.
"""

from __future__ import annotations

from chronoduck.sql.rules.known_settings import ALLOWED_SETTINGS

__all__ = ["INSTEAD", "KINDS_INSTEAD", "NOBODYS", "SETTINGS_HINT", "pragma_hint"]

_SETTING = "`SELECT current_setting('threads')` tells a setting that statements may know."
_DATABASES = "`SHOW DATABASES` tells the names."
_COLUMNS = "`DESCRIBE t` and `SELECT * FROM duckdb_columns()` tell the columns."
_SIZE = (
    "GET tables/{name} tells the size of a table; `SELECT * FROM duckdb_tables()` its rows, about."
)
_VERSION = "`SELECT version()` tells the version."
_FREQUENCIES = "Count values by the aggregate: `SELECT histogram(a) FROM t`."
_TABLE_CALLS = "Call table functions in FROM: `SELECT * FROM duckdb_tables()`."
_SHOWN = "`SHOW TABLES` and `SHOW ALL TABLES` list tables; `DESCRIBE t` shows one."

SETTINGS_HINT = "There are: " + ", ".join(sorted(ALLOWED_SETTINGS)) + "."

INSTEAD: dict[str, str] = {
    "duckdb_databases": _DATABASES,
    "pragma_database_list": _DATABASES,
    "duckdb_settings": _SETTING,
    "pg_settings": _SETTING,
    "duckdb_extensions": "Ask the operator which extensions are loaded.",
    "getenv": "Pass the value as a parameter.",
    "duckdb_variables": "Pass values as parameters: there are no variables.",
    "duckdb_table_sample": "Take a sample of rows: `SELECT * FROM t USING SAMPLE 10 ROWS`.",
    "histogram": _FREQUENCIES,
    "histogram_values": _FREQUENCIES,
    "pragma_table_info": _COLUMNS,
    "pragma_show": _COLUMNS,
    "pragma_database_size": _SIZE,
    "pragma_storage_info": _SIZE,
    "pragma_version": _VERSION,
    "pragma_platform": _VERSION,
    "query_table": "Name the table itself: `SELECT * FROM t`.",
}
"""Function or view to what works; others have the hint of their rule."""

KINDS_INSTEAD: dict[str, str] = {
    "call": _TABLE_CALLS,
    "analyze": "DuckDB keeps its statistics by itself.",
    "variable_set": "Pass the value as a parameter: there are no variables.",
}
"""Kind of statement to what works."""
NOBODYS = "No role may run it. `chronoduck help security` says what a statement may do."

_PRAGMAS: dict[str, str] = {
    "table_info": _COLUMNS,
    "show": _COLUMNS,
    "storage_info": _SIZE,
    "database_size": _SIZE,
    "show_tables": _SHOWN,
    "show_tables_expanded": _SHOWN,
    "show_databases": _DATABASES,
    "database_list": _DATABASES,
    "version": _VERSION,
    "duckdb_version": _VERSION,
    "platform": _VERSION,
}


def pragma_hint(name: str) -> str | None:
    """Return what to send instead of a PRAGMA; None: the hint of the rule ``settings`` says it."""
    name = name.lower()
    if name in ALLOWED_SETTINGS and name not in _PRAGMAS:
        return f"`SELECT current_setting('{name}')` tells it; nobody changes it."
    return _PRAGMAS.get(name)
