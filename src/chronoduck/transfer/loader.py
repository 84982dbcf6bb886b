"""Loading: read, cut into chunks, and one transaction for each."""

from __future__ import annotations

import asyncio
import copy
import csv
import io
import secrets
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Protocol, TypeVar

from chronoduck.errors import DuckDBQueryError, LoadError
from chronoduck.transfer.capture_sql import ADD_NEW, REJECTS, parse_chunk
from chronoduck.transfer.chunks import Chunk, CountingReader, decompressed, line_chunks
from chronoduck.transfer.detect import Detected, FileFormat, detect
from chronoduck.transfer.schema import CAPTURES_TABLE, SCHEMA_STATEMENTS
from chronoduck.units import format_bytes

__all__ = [
    "FileLoader",
    "LoadEvent",
    "LoadProgress",
    "LoadSummary",
    "RejectedLine",
    "SqlSession",
    "Transact",
]

T = TypeVar("T")
_HEAD_BYTES = 4_000_000
_BLOCK_BYTES = 1_000_000
_CAPTURE_FORMATS = (FileFormat.CDX, FileFormat.CDXJ, FileFormat.CDX_JSON)
_READERS = {
    FileFormat.PARQUET: "read_parquet",
    FileFormat.JSON: "read_json",
}


class SqlSession(Protocol):
    """Runs statements on one connection, inside a transaction."""

    def execute(
        self, sql: str, params: Sequence[object] | Mapping[str, object] | None = None
    ) -> list[tuple[object, ...]]: ...


class Transact(Protocol):
    """Runs a function in a worker thread inside one transaction, and commits or rolls back."""

    def __call__(self, work: Callable[[SqlSession], T], /) -> Awaitable[T]: ...


@dataclass(frozen=True)
class LoadProgress:
    """How far a load is; every row counted here is committed.

    ``lines`` counts headers and empty lines too; ``seconds`` run from the load's beginning.
    """

    bytes_read: int
    lines: int
    rows_added: int
    duplicates: int
    rejected: int
    seconds: float


@dataclass(frozen=True)
class RejectedLine:
    """A line that is no capture; numbers count from 1."""

    line_number: int
    reason: str
    text: str


@dataclass(frozen=True)
class LoadSummary(LoadProgress):
    """The end of a load."""

    table: str
    format: str


LoadEvent = LoadProgress | RejectedLine | LoadSummary


class FileLoader:
    """Loads files of captures into ``pages_analytics`` and other files into any table.

    Captures are committed chunk by chunk, so that a crash loses only the chunk under way, and are
    known by URL key, time and digest: loading a file again adds what is missing and nothing else.
    """

    def __init__(self, transact: Transact, spool_directory: Path) -> None:
        self._transact = transact
        self._spool_directory = spool_directory
        # Two loads that look for known captures at the same time would both add the same new one.
        self._adding = asyncio.Lock()

    def through(self, transact: Transact) -> FileLoader:
        """Return this loader with other transactions: those of the principal that loads."""
        loader = copy.copy(self)
        loader._transact = transact
        return loader

    async def load(
        self,
        source: IO[bytes],
        *,
        name: str,
        table: str = CAPTURES_TABLE,
        file_format: FileFormat = FileFormat.AUTO,
        largest_bytes: int | None = None,
    ) -> AsyncIterator[LoadEvent]:
        """Yield rejected lines and the progress after each commit; a ``LoadSummary`` is the last.

        ``source`` is read in threads and not closed. ``largest_bytes`` limits what is put on the disk
        decompressed: Parquet, CSV and JSON are there as a whole, captures chunk by chunk.

        Raises:
            LoadError: the format is not understood, the file ends in the middle or is too large.
        """
        directory = self._spool_directory / secrets.token_hex(8)
        await asyncio.to_thread(directory.mkdir, mode=0o700)
        try:
            counting = CountingReader(source)
            opened = await asyncio.to_thread(_open, counting, name, file_format)
            job = _Job(name, table, opened.detected, counting, directory)
            if opened.detected.format in _CAPTURE_FORMATS:
                if table != CAPTURES_TABLE:
                    raise LoadError(
                        f"{name} holds captures, which go into {CAPTURES_TABLE}, not {table}",
                        hint="Leave --table out.",
                    )
                events = self._load_captures(job, opened)
            else:
                events = self._load_table(job, opened, largest_bytes)
            async for event in events:
                yield event
        finally:
            await asyncio.shield(asyncio.to_thread(shutil.rmtree, directory, True))

    async def _load_captures(self, job: _Job, opened: _Opened) -> AsyncIterator[LoadEvent]:
        async with self._adding:
            await self._transact(_create_schema)
        if opened.detected.format is FileFormat.CDX_JSON and not opened.detected.fields:
            yield job.summary()
            return
        chunks = line_chunks(
            opened.plain, opened.head, opened.detected.format, job.directory, "chunk"
        )
        statement = parse_chunk(opened.detected)
        while (chunk := await asyncio.to_thread(_next_chunk, chunks, job.name)) is not None:
            add = partial(_add_chunk, statement=statement, chunk=chunk, name=job.name)
            async with self._adding:
                added, known, rejects = await self._transact(add)
            await asyncio.to_thread(chunk.path.unlink)
            for reject in rejects:
                yield reject
            job.count(chunk.line_count, added, known, len(rejects))
            yield job.progress()
        yield job.summary()

    async def _load_table(
        self, job: _Job, opened: _Opened, largest_bytes: int | None
    ) -> AsyncIterator[LoadEvent]:
        file_format = opened.detected.format
        path = job.directory / f"file.{file_format.value}"
        await asyncio.to_thread(_copy, opened, path, job.name, largest_bytes)
        yield job.progress()
        reader = _reader(file_format, opened.head)
        try:
            added = await self._transact(
                lambda session: _add_file(session, reader, path, job.table)
            )
        except DuckDBQueryError as error:
            # The engine names its own copy of the file, which says nothing to the caller.
            raise LoadError(
                error.detail.replace(str(path), job.name),
                hint="Nothing of the file was loaded. " + error.hint,
            ) from error
        job.count(0, added, 0, 0)
        yield job.summary()


@dataclass(frozen=True)
class _Opened:
    plain: IO[bytes]
    head: bytes
    detected: Detected


class _Job:
    """The counts of one load."""

    def __init__(
        self, name: str, table: str, detected: Detected, reader: CountingReader, directory: Path
    ) -> None:
        self.name = name
        self.table = table
        self.directory = directory
        self._detected = detected
        self._reader = reader
        self._started = time.perf_counter()
        self._lines = self._added = self._duplicates = self._rejected = 0

    def count(self, lines: int, added: int, duplicates: int, rejected: int) -> None:
        self._lines += lines
        self._added += added
        self._duplicates += duplicates
        self._rejected += rejected

    def progress(self) -> LoadProgress:
        return LoadProgress(
            bytes_read=self._reader.bytes_read,
            lines=self._lines,
            rows_added=self._added,
            duplicates=self._duplicates,
            rejected=self._rejected,
            seconds=round(time.perf_counter() - self._started, 3),
        )

    def summary(self) -> LoadSummary:
        return LoadSummary(
            **vars(self.progress()), table=self.table, format=self._detected.format.value
        )


def _open(source: CountingReader, name: str, file_format: FileFormat) -> _Opened:
    try:
        plain = decompressed(io.BufferedReader(source, 1_000_000), name)
        head = _read_exactly(plain, _HEAD_BYTES)
    except (OSError, EOFError) as error:
        raise LoadError(f"{name} cannot be read: {error}", hint="Is the file complete?") from error
    return _Opened(plain, head, detect(head, name, file_format))


def _read_exactly(plain: IO[bytes], count: int) -> bytes:
    parts = []
    while count > 0 and (part := plain.read(count)):
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def _next_chunk(chunks: Iterator[Chunk], name: str) -> Chunk | None:
    try:
        return next(chunks, None)
    except (OSError, EOFError) as error:
        raise LoadError(
            f"{name} ends in the middle: {error}",
            hint="The parts that were counted are loaded; get the whole file and load it again.",
        ) from error


def _copy(opened: _Opened, path: Path, name: str, largest_bytes: int | None) -> None:
    total = len(opened.head)
    try:
        with path.open("wb") as file:
            file.write(opened.head)
            while block := opened.plain.read(_BLOCK_BYTES):
                total += len(block)
                if largest_bytes is not None and total > largest_bytes:
                    raise LoadError(
                        f"{name} has more than {format_bytes(largest_bytes)} when it is decompressed",
                        hint="Nothing was loaded. Split it, or raise DUCKDB_MAX_UPLOAD_SIZE.",
                    )
                file.write(block)
    except (OSError, EOFError) as error:
        raise LoadError(f"{name} cannot be read to its end: {error}") from error


def _reader(file_format: FileFormat, head: bytes) -> str:
    """Return the engine's reader for a copy of the file at ``$path``."""
    if file_format is not FileFormat.CSV:
        return f"{_READERS[file_format]}($path)"
    # Left to itself the engine takes another dialect when a line is broken, and loads nonsense or
    # nothing: the header decides, and a line that does not fit it is an error with its number.
    header = head.decode("utf-8-sig", "replace").splitlines()[0]
    delimiter = max(",\t;|", key=header.count)
    names = ", ".join(
        "'" + name.replace("'", "''") + "'"
        for name in next(csv.reader([header], delimiter=delimiter))
    )
    return (
        f"read_csv($path, delim = '{delimiter}', names = [{names}], header = false, skip = 1, "
        "strict_mode = true, null_padding = false)"
    )


def _create_schema(session: SqlSession) -> None:
    for statement in SCHEMA_STATEMENTS:
        session.execute(statement)


def _add_chunk(
    session: SqlSession, *, statement: str, chunk: Chunk, name: str
) -> tuple[int, int, list[RejectedLine]]:
    """Return rows added, rows that were there already, and the lines that are no captures."""
    session.execute(statement, {"path": str(chunk.path), "first_line": chunk.first_line})
    rejects = [RejectedLine(int(str(n)), str(r), str(t)) for n, r, t in session.execute(REJECTS)]
    good = int(str(session.execute("SELECT count(*) FROM chunk WHERE reason IS NULL")[0][0]))
    added = int(str(session.execute(ADD_NEW, {"source": name})[0][0]))
    session.execute("DROP TABLE chunk")
    return added, good - added, rejects


def _add_file(session: SqlSession, reader: str, path: Path, table: str) -> int:
    # A schema's name could be that of another catalogue, such as one of a narrowed key.
    database = str(session.execute("SELECT current_database()")[0][0])
    quoted = quote_table(table, database)
    if table == CAPTURES_TABLE:
        _create_schema(session)
    session.execute(
        f"CREATE TABLE IF NOT EXISTS {quoted} AS SELECT * FROM {reader} LIMIT 0",
        {"path": str(path)},
    )
    rows = session.execute(
        f"INSERT INTO {quoted} BY NAME SELECT * FROM {reader}", {"path": str(path)}
    )
    return int(str(rows[0][0]))


def quote_table(table: str, database: str) -> str:
    """Return ``table`` or ``schema.table`` of a database as SQL, every part quoted.

    Raises:
        LoadError: a part is empty or there are more than two.
    """
    parts = table.split(".")
    if len(parts) > 2 or not all(parts):
        raise LoadError(f"{table!r} is not a table name", hint="Write table or schema.table.")
    schema = [] if len(parts) == 2 else ["main"]
    return ".".join('"' + part.replace('"', '""') + '"' for part in (database, *schema, *parts))
