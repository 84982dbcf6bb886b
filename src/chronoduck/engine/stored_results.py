"""An instance of its own that reads the results of jobs: no statement of a user ever runs on it.

The served instance therefore needs no access to the directory of jobs, which also holds the key of
download links: whoever gets past every check of a statement still reads nobody's result.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import duckdb

from chronoduck.engine.database import CURSOR_SETTINGS, Connection, set_up_cursor
from chronoduck.engine.opening_options import CLOSED_OPTIONS
from chronoduck.errors import DuckDBConnectionError, DuckDBException, ServiceUnavailableError

__all__ = ["StoredResults"]

_OPTIONS: dict[str, str | bool | int | float | list[str]] = {
    **CLOSED_OPTIONS,
    "threads": "1",
    "memory_limit": "256MB",
}
"""A result is read in order, some row groups at a time."""


class StoredResults:
    """Opened when a result is first read; safe from any thread."""

    def __init__(self, directory: Path) -> None:
        """``directory``: where results are, and the only place that the instance reaches."""
        self._directory = directory
        self._root: Connection | None = None
        self._lock = threading.Lock()

    def cursor(self) -> Connection:
        """Return a fresh connection.

        Raises:
            ServiceUnavailableError: the instance cannot be opened.
        """
        try:
            with self._lock:
                if self._root is None:
                    self._root = _open(self._directory)
                return set_up_cursor(self._root.cursor())
        except duckdb.Error as error:
            self.close()
            raise ServiceUnavailableError("results of jobs cannot be read now") from error

    @contextlib.contextmanager
    def reading(self) -> Iterator[Connection]:
        """Yield a connection; a failure of its instance is no failure of the served one.

        Raises:
            ServiceUnavailableError: the instance failed; the next reader gets a new one.
        """
        try:
            yield self.cursor()
        except DuckDBException as error:
            if isinstance(error, DuckDBConnectionError) or error.code == "engine_bug":
                self.close()
                raise ServiceUnavailableError(
                    "the job's result cannot be read now", operator_detail=error.operator_detail
                ) from error
            raise

    def close(self) -> None:
        """Close the instance; what is being read then ends with an error. Idempotent."""
        with self._lock:
            root, self._root = self._root, None
        if root is not None:
            with contextlib.suppress(duckdb.Error):
                root.close()


def _open(directory: Path) -> Connection:
    root = duckdb.connect(":memory:", config=_OPTIONS)
    quoted = str(directory).replace("'", "''")
    try:
        for statement in (
            "SET allow_persistent_secrets = false",
            "SET temp_directory = ''",
            "SET GLOBAL TimeZone = 'UTC'",
            "SET GLOBAL arrow_lossless_conversion = true",
            f"SET allowed_directories = ['{quoted}']",
            f"SET allowed_configs = {sorted(CURSOR_SETTINGS)}",
            "SET enable_external_access = false",
            "SET lock_configuration = true",
        ):
            root.execute(statement)
    except duckdb.Error:
        root.close()
        raise
    return root
