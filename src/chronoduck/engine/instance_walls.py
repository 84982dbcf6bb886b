"""The walls inside DuckDB, as the open instance itself tells them."""

from __future__ import annotations

import duckdb

from chronoduck.engine.database import DuckDBInstance
from chronoduck.errors import DuckDBException

__all__ = ["instance_absences"]

_ASKED = """
SELECT name, value FROM duckdb_settings()
WHERE name IN ('enable_external_access', 'lock_configuration', 'temp_file_encryption')
"""


def instance_absences(instance: DuckDBInstance) -> dict[str, str]:
    """Return why each wall does not stand; empty when it does. Takes about 1 ms.

    Raises:
        DuckDBException: the instance does not answer.
    """
    try:
        connection = instance.cursor()
        try:
            rows = connection.execute(_ASKED).fetchall()
        finally:
            connection.close()
    except duckdb.Error as error:
        raise DuckDBException(f"DuckDB's settings cannot be read: {error}") from error
    told = {str(name): str(value).lower() for name, value in rows}
    is_closed = told.get("enable_external_access") == "false"
    is_locked = told.get("lock_configuration") == "true"
    is_encrypted = told.get("temp_file_encryption") == "true"
    return {
        "engine": "" if is_closed and is_locked else "DuckDB's settings are open or not locked",
        "spill": "" if is_encrypted else "DUCKDB_TEMP_ENCRYPTION is false",
        "network": _network(instance.extensions.get("httpfs", "")),
    }


def _network(httpfs: str) -> str:
    return "the httpfs extension is loaded (DUCKDB_ENABLE_S3)" if httpfs == "loaded" else ""
