"""Storage versions: the oldest DuckDB that can read a file. New files get one, copies keep theirs.

Two facts of DuckDB shape this module (1.5.5 and 2.0.1). The connection's configuration decides for
new files alone: an existing file keeps its version. ``ATTACH ... (STORAGE_VERSION ...)`` raises the
version of an existing file without a word, so nothing here uses it for a file that exists.
"""

from __future__ import annotations

import functools
from pathlib import Path

import duckdb

from chronoduck.engine.opening_options import OPENING_OPTIONS
from chronoduck.errors import SettingsError

__all__ = [
    "check_storage_version",
    "file_storage_version",
    "is_known_storage_version",
    "new_file_config",
    "own_storage_version",
]

Config = dict[str, str | bool | int | float | list[str]]
_VERSION = """
SELECT tags['storage_version'] FROM duckdb_databases() WHERE database_name = current_database()
"""


def new_file_config(version: str) -> Config:
    """Return the part of a connection's configuration that decides how a new file is stored.

    Everything that makes a database file passes it; it changes nothing for a file that exists.
    """
    return {"storage_compatibility_version": version}


@functools.cache
def is_known_storage_version(version: str) -> bool:
    """Whether this engine can write files of that version."""
    try:
        duckdb.connect(":memory:", config=new_file_config(version)).close()
    except duckdb.Error:
        return False
    return True


def check_storage_version(version: str) -> None:
    """Refuse a version that this engine does not know.

    Raises:
        SettingsError: names the engine and the setting.
    """
    if not is_known_storage_version(version):
        raise SettingsError(
            f"DUCKDB_STORAGE_VERSION: DuckDB {duckdb.__version__} cannot write files of the storage "
            f"version {version}",
            hint="Name a DuckDB version that this engine can write for, such as v1.5.0.",
        )


def own_storage_version(connection: duckdb.DuckDBPyConnection) -> str:
    """Return the version of the file that a connection was opened with: ``v1.5.0``.

    Raises:
        duckdb.Error: the connection cannot answer.
    """
    row = connection.execute(_VERSION).fetchone()
    return str(row[0]).removesuffix("+") if row else ""


def file_storage_version(path: Path) -> str:
    """Return the version of a file that nobody has open.

    Raises:
        duckdb.Error: it cannot be opened.
    """
    with duckdb.connect(str(path), read_only=True, config=OPENING_OPTIONS) as connection:
        return own_storage_version(connection)
