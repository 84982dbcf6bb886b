"""Documents on their way: files of lines, each small enough for one request."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pyarrow as pa
import pyarrow.compute as pc

from chronoduck.errors import DiskFullError
from chronoduck.errors.system import reason_of
from chronoduck.export.declaration import IndexDeclaration
from chronoduck.export.failures import ExportDataError
from chronoduck.export.meilisearch.selection import CURSOR, DELETED, ID

__all__ = ["Piece", "Spool", "split_piece"]

_VALID_ID = "^[a-zA-Z0-9_-]{1,511}$"


@dataclass(frozen=True)
class Piece:
    """A file of documents, one a line."""

    path: Path
    documents: int
    bytes: int


class Spool:
    """The directory of one run; ``add`` is called in a worker thread, and nothing beside it."""

    def __init__(self, directory: Path, declared: IndexDeclaration, piece_bytes: int) -> None:
        self._directory = directory
        self._declared = declared
        self._piece_bytes = piece_bytes
        self._file: IO[bytes] | None = None
        self._path = directory
        self._in_file = self._bytes = 0
        self._written = 0
        self.pieces: list[Piece] = []
        self.deleted: list[str] = []
        """Ids of rows that are marked as deleted."""
        self.documents = 0
        self.top: int | None = None
        """The largest cursor of all rows."""

    def add(self, rows: pa.RecordBatch, lines: bytes) -> None:
        """Take rows of a selection (its first columns) and their documents, a line each.

        Raises:
            ExportDataError: a row has no id, or one that Meilisearch does not take.
        """
        self._check(rows.column(ID))
        top = pc.max(rows.column(CURSOR)).as_py()
        if top is not None:
            self.top = top if self.top is None else max(self.top, top)
        is_deleted = rows.column(DELETED).cast(pa.bool_())
        try:
            if pc.any(is_deleted).as_py():
                self.deleted += rows.column(ID).filter(is_deleted).to_pylist()
                marks = is_deleted.to_pylist()
                kept = zip(lines.splitlines(keepends=True), marks, strict=True)
                self._write(line for line, mark in kept if not mark)
            else:
                self._write(iter(lines.splitlines(keepends=True)))
        except OSError as error:
            raise DiskFullError(
                f"the documents cannot be written: {reason_of(error)}",
                hint="Free space in DUCKDB_TEMP_DIRECTORY: an export needs room for its documents.",
            ) from error

    def _check(self, ids: pa.Array) -> None:
        declared = self._declared
        if ids.null_count:
            raise ExportDataError(
                f"export {declared.name}: {ids.null_count} rows or more have no "
                f"{', '.join(declared.key)}",
                hint="A key is never NULL: leave such rows out of the query, or choose another key.",
            )
        invalid = ids.filter(pc.invert(pc.match_substring_regex(ids, _VALID_ID)))
        if len(invalid):
            signs = str(invalid[0].as_py())[:60]
            example = "".join(sign if " " <= sign <= "~" else "?" for sign in signs)
            way = "hash" if declared.id == "base64" else 'hash" or "base64'
            raise ExportDataError(
                f"export {declared.name}: {example!r} is no id that Meilisearch takes: letters, "
                "digits, - and _, 511 bytes at most",
                hint=f'id = "{way}" makes ids of such keys.',
            )

    def _write(self, lines: Iterator[bytes]) -> None:
        for line in lines:
            if self._file is None or self._bytes + len(line) > self._piece_bytes:
                self._begin_piece()
            assert self._file is not None  # noqa: S101 - begun
            self._file.write(line)
            self._bytes += len(line)
            self._in_file += 1
            self.documents += 1

    def _begin_piece(self) -> None:
        self.finish()
        self._written += 1
        # The suffix tells the client what kind of payload it is.
        self._path = self._directory / f"{self._written:08}.ndjson"
        self._file = self._path.open("xb")

    def finish(self) -> None:
        """End the file that is being written."""
        if self._file is not None:
            self._file.close()
            self.pieces.append(Piece(self._path, self._in_file, self._bytes))
        self._file, self._in_file, self._bytes = None, 0, 0


def split_piece(piece: Piece) -> tuple[Piece, Piece] | None:
    """Return the piece as two of half its lines; None: it is one document."""
    lines = piece.path.read_bytes().splitlines(keepends=True)
    if len(lines) < 2:
        return None
    middle = len(lines) // 2
    halves = []
    for number, part in enumerate((lines[:middle], lines[middle:])):
        path = piece.path.with_name(f"{piece.path.stem}-{number}.ndjson")
        path.write_bytes(b"".join(part))
        halves.append(Piece(path, len(part), sum(map(len, part))))
    piece.path.unlink()
    return halves[0], halves[1]
