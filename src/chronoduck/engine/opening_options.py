"""How instances are opened: what holds for each of them, and what for the one of the database file."""

from __future__ import annotations

import duckdb

__all__ = ["CLOSED_OPTIONS", "OPENING_OPTIONS"]

_FRESH_FILES = (
    {"enable_external_file_cache": "false"} if duckdb.__version__.startswith("1.") else {}
)
"""DuckDB 1.5 mixes the bytes of a file with those that it remembers of one that had its name before."""
CLOSED_OPTIONS: dict[str, str | bool | int | float | list[str]] = {
    **_FRESH_FILES,
    "allow_unsigned_extensions": "false",
    "python_enable_replacements": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "allow_community_extensions": "false",
    "errors_as_json": "true",
}
"""No code comes in from outside, and errors tell their type."""
OPENING_OPTIONS: dict[str, str | bool | int | float | list[str]] = {
    **CLOSED_OPTIONS,
    # The replay of a WAL may need functions of an extension that this wheel carries or a directory of
    # extensions holds: DuckDB 2.0.1 does not find now() in some WALs without it. The service ends it
    # before the first statement.
    "autoload_known_extensions": "true",
    "wal_autocheckpoint": "1TB",  # see engine/checkpoints.py
}
"""Of the database file: by a start, and by whoever finds out whether one would succeed."""
