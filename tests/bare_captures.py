"""Captures loaded into a DuckDB of their own, without a service: a hundredth of the time."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import duckdb
import pyarrow as pa

from chronoduck.errors import LoadError
from chronoduck.transfer.captures.adding import add_chunk
from chronoduck.transfer.captures.deriving import derived_chunk
from chronoduck.transfer.captures.parsing import fields_of
from chronoduck.transfer.captures.repair import repaired_line
from chronoduck.transfer.chunks import CountingReader, line_chunks
from chronoduck.transfer.detect import FileFormat
from chronoduck.transfer.events import RejectedLine
from chronoduck.transfer.opening import open_file
from chronoduck.transfer.schema import create_schema

ALL = (
    "url, urlkey, domain, tld, captured_at::VARCHAR, status_code, mime_type, content_length, digest, "
    'filename, "offset", title, language'
)


@dataclass
class Loaded:
    """What became of a file."""

    new: int = 0
    known: int = 0
    filled: int = 0
    repaired: int = 0
    rejects: list[RejectedLine] = field(default_factory=list)
    resume_key: str | None = None
    flaw: Exception | None = None
    """What the reading ended with, if not with the end of the file."""


class BareTable:
    """The table of captures; runs statements as a service's session does."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.connection = duckdb.connect()
        create_schema(self)

    def execute(
        self, sql: str, params: Sequence[object] | Mapping[str, object] | None = None
    ) -> list[tuple[object, ...]]:
        return self.connection.execute(sql, params).fetchall()

    def scan(self, name: str, rows: pa.RecordBatchReader) -> None:
        self.connection.register(name, rows)

    def load(
        self,
        data: bytes | str,
        name: str = "x",
        file_format: FileFormat = FileFormat.AUTO,
        *,
        repairs: bool = False,
    ) -> Loaded:
        source = CountingReader(io.BytesIO(data.encode() if isinstance(data, str) else data))
        opened = open_file(source, name, file_format, self._directory)
        statement = derived_chunk(fields_of(opened.detected))
        repair = partial(repaired_line, detected=opened.detected) if repairs else None
        loaded = Loaded()
        try:
            for chunk in line_chunks(
                opened.plain, opened.head, opened.detected.format, self._directory, "chunk"
            ):
                added = add_chunk(self, statement, chunk, name, repair)
                loaded.new += added.new
                loaded.known += added.known
                loaded.filled += added.filled
                loaded.repaired += added.repaired
                loaded.rejects += added.rejects
                loaded.resume_key = added.resume_key or loaded.resume_key
        except (OSError, EOFError, LoadError) as error:
            loaded.flaw = error
        return loaded

    def rows(self, columns: str = ALL) -> list[tuple[object, ...]]:
        """Return all captures, sorted."""
        return self.execute(f"SELECT {columns} FROM pages_analytics ORDER BY ALL")
