"""A first reading of uploaded Parquet files, in an instance of its own.

A file that is damaged in the right place is an internal error to DuckDB (1.5.5: one byte in the schema
of a VARIANT column), and an internal error ends the instance that meets it. So the served instance reads
only what another one has read to its end. The cost: a quarter of the time of a load (137 MB: 2.5 s
beside 9 s).
"""

from __future__ import annotations

import threading
from contextlib import closing, suppress
from pathlib import Path

import duckdb

from chronoduck.errors import DuckDBException, EngineBugError, LoadError, OutOfMemoryError
from chronoduck.sql.engine_errors import EngineFailure, first_sentence, translate

__all__ = ["UploadProof"]

_LEAST_MEMORY_BYTES = 256 << 20
_ATTEMPTS = 2
"""Another upload may end the instance that this one is read in."""


class UploadProof:
    """Opens its instance when the first file comes. Blocks; for any thread."""

    def __init__(self, directory: Path, memory_bytes: int, deadline_seconds: float) -> None:
        """Only files below ``directory`` can be read."""
        self._directory = directory
        self._memory_bytes = max(_LEAST_MEMORY_BYTES, memory_bytes)
        self._deadline_seconds = deadline_seconds
        self._lock = threading.Lock()
        self._root: duckdb.DuckDBPyConnection | None = None

    def check(self, path: Path, name: str) -> None:
        """Read every value of the file once.

        Raises:
            LoadError: it cannot be read; the file is at fault, whatever DuckDB calls it.
            OutOfMemoryError: a part of it does not fit into memory.
        """
        for _ in range(_ATTEMPTS):
            root = self._open()
            try:
                self._read(root, path)
                return
            except duckdb.Error as error:
                failure = translate(error)
                if isinstance(failure, OutOfMemoryError):
                    raise failure from error
                is_lost = isinstance(failure, EngineBugError | EngineFailure)
                if is_lost:
                    self._drop(root)
                if isinstance(error, duckdb.FatalException | duckdb.ConnectionException):
                    continue
                raise self._refusal(error, path, name) from error
        raise LoadError(f"{name} cannot be read", hint="Nothing was loaded. Send it once more.")

    def _read(self, root: duckdb.DuckDBPyConnection, path: Path) -> None:
        text = str(path).replace("'", "''")
        with closing(root.cursor()) as cursor:
            timer = threading.Timer(self._deadline_seconds, cursor.interrupt)
            timer.daemon = True
            timer.start()
            try:
                cursor.execute(
                    f"SELECT min(hash(COLUMNS(*))) FROM read_parquet('{text}')"
                ).fetchall()
            finally:
                timer.cancel()

    def _refusal(self, error: duckdb.Error, path: Path, name: str) -> DuckDBException:
        if isinstance(error, duckdb.InterruptException):
            return LoadError(
                f"{name} was not read to its end within {self._deadline_seconds:g} s",
                hint="Nothing was loaded. Split it.",
            )
        if isinstance(error, duckdb.InternalException):
            sentence = "it is damaged, or of a kind that DuckDB does not read"
        else:
            sentence = first_sentence(error).replace(str(path), name)
        return LoadError(f"{name} cannot be read: {sentence}", hint="Nothing was loaded.")

    def _open(self) -> duckdb.DuckDBPyConnection:
        with self._lock:
            if self._root is None:
                self._root = self._connect()
            return self._root

    def _connect(self) -> duckdb.DuckDBPyConnection:
        root = duckdb.connect(
            ":memory:",
            config={
                "allow_unsigned_extensions": "false",
                "python_enable_replacements": "false",
                "autoinstall_known_extensions": "false",
                "autoload_known_extensions": "false",
                "allow_community_extensions": "false",
                "errors_as_json": "true",
                "memory_limit": f"{self._memory_bytes}B",
                "temp_directory": "",
                "threads": "2",
            },
        )
        directory = str(self._directory).replace("'", "''")
        # A file of the same name may come again with other bytes.
        root.execute("SET enable_external_file_cache = false")
        root.execute("SET allow_persistent_secrets = false")
        root.execute(f"SET allowed_directories = ['{directory}']")
        root.execute("SET enable_external_access = false")
        root.execute("SET lock_configuration = true")
        return root

    def _drop(self, root: duckdb.DuckDBPyConnection) -> None:
        with self._lock:
            if self._root is root:
                self._root = None
        with suppress(duckdb.Error):
            root.close()

    def close(self) -> None:
        """Close the instance; the next file opens another one."""
        with self._lock:
            root, self._root = self._root, None
        if root is not None:
            root.close()
