"""Loads of small files into a database in memory: as the loader does them, without a service."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from chronoduck.errors import DuckDBQueryError
from chronoduck.transfer.detect import FileFormat
from chronoduck.transfer.options import LoadOptions, ReadOptions
from chronoduck.transfer.sources import open_source
from chronoduck.transfer.table_load import TableOutcome, load_table
from chronoduck.transfer.table_source import TableSource

CASES = Path(__file__).parents[2] / "data" / "loads"
"""Small files out of public reports."""


class MemorySession:
    """A connection as the loader wants one."""

    def __init__(self) -> None:
        # DuckDB 1.5 would mix the bytes of the files that have the same name one after the other.
        own = {"threads": "2", "memory_limit": "500MB", "enable_external_file_cache": "false"}
        self.connection = duckdb.connect(config=own)

    def execute(
        self, sql: str, params: Sequence[object] | Mapping[str, object] | None = None
    ) -> list[tuple[object, ...]]:
        try:
            return list(self.connection.execute(sql, params).fetchall())
        except duckdb.Error as error:
            raise DuckDBQueryError(str(error)) from error

    def scan(self, name: str, reader: pa.RecordBatchReader) -> None:
        self.connection.register(name, reader)


class MemoryTable:
    """A table ``t``, and what the last load into it was."""

    def __init__(self, directory: Path) -> None:
        self.session = MemorySession()
        self._path = directory / "file"
        self.outcome: TableOutcome | None = None
        self.source: TableSource | None = None

    def load(
        self,
        content: bytes | str,
        file_format: FileFormat = FileFormat.CSV,
        options: LoadOptions | None = None,
        **read: Any,
    ) -> TableOutcome:
        """Load bytes; ``read``: how they are to be read.

        Raises:
            DuckDBException: they are refused; the table is as it was.
        """
        body = content if isinstance(content, bytes) else content.encode()
        self._path.write_bytes(body)
        options = options or LoadOptions(read=ReadOptions(**read))
        self.source = open_source(file_format, self._path, "the file", body[:4_000], options.read)
        self.source.prepare()
        self.session.execute("BEGIN TRANSACTION")
        try:
            self.outcome = load_table(self.session, self.source, "t", options)
        except BaseException:
            self.session.execute("ROLLBACK")
            raise
        self.session.execute("COMMIT")
        return self.outcome

    @property
    def types(self) -> dict[str, str]:
        """Names and types of its columns."""
        return {str(row[0]): str(row[1]) for row in self.session.execute("DESCRIBE t")}

    @property
    def texts(self) -> list[tuple[object, ...]]:
        """Its rows, every value as a text."""
        return self.session.execute("SELECT COLUMNS(*)::VARCHAR FROM t")
