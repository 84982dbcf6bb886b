"""How DuckDB is opened where it only parses: in memory, without files, extensions or threads."""

from __future__ import annotations

import duckdb

__all__ = ["PARSING_OPTIONS"]

_HAS_ASYNC_THREADS = int(duckdb.__version__.split(".")[0]) >= 2

PARSING_OPTIONS: dict[str, str | bool | int | float | list[str]] = {
    "enable_external_access": "false",
    "autoload_known_extensions": "false",
    "autoinstall_known_extensions": "false",
    "threads": "1",
    # DuckDB 2.0 starts eight threads for reading files, which would keep a process from forking.
    **({"async_threads": "0"} if _HAS_ASYNC_THREADS else {}),
}
