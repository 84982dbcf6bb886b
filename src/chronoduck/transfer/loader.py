"""Loading: read, cut into chunks, and one transaction for each."""

from __future__ import annotations

import asyncio
import copy
import os
import secrets
import shutil
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import IO, Any, NoReturn

from chronoduck.engine.upload_proof import UploadProof
from chronoduck.errors import (
    DuckDBQueryError,
    InvalidRequestError,
    LoadError,
    WriteOutcomeUnknownError,
)
from chronoduck.resilience.fair_threads import FairThreads
from chronoduck.resilience.space_budget import SpaceClaim
from chronoduck.transfer.captures.adding import Added, add_chunk
from chronoduck.transfer.captures.deriving import derived_chunk
from chronoduck.transfer.captures.parsing import fields_of
from chronoduck.transfer.captures.rekey import rekey_all
from chronoduck.transfer.captures.repair import repaired_line
from chronoduck.transfer.chunks import Chunk, CountingReader, line_chunks
from chronoduck.transfer.detect import Detected, FileFormat
from chronoduck.transfer.events import (
    LoadEvent,
    LoadProgress,
    LoadSummary,
    RejectedLine,
    answer_of,
    events_of,
)
from chronoduck.transfer.group_commit import GroupCommit
from chronoduck.transfer.idempotency import IdempotencyKeys, KeyClaim, RequestKey
from chronoduck.transfer.opening import Opened, open_file
from chronoduck.transfer.options import LoadOptions, OnError
from chronoduck.transfer.schema import CAPTURES_TABLE, create_schema, is_captures_table
from chronoduck.transfer.sheet_source import SheetSource
from chronoduck.transfer.sources import open_source
from chronoduck.transfer.spooling import unreadable
from chronoduck.transfer.sql import SqlSession, TransactInTurn, found_table
from chronoduck.transfer.table_columns import columns_of
from chronoduck.transfer.table_load import TableOutcome, load_table
from chronoduck.transfer.table_source import TableSource
from chronoduck.units import format_bytes

__all__ = ["CAPTURE_FORMATS", "FileLoader"]

_BLOCK_BYTES = 1_000_000
CAPTURE_FORMATS = (FileFormat.CDX, FileFormat.CDXJ, FileFormat.CDX_JSON)


class FileLoader:
    """Loads files of captures into ``pages_analytics`` and other files into any table.

    Captures are committed chunk by chunk, so that a crash loses only the chunk under way, and are
    known by URL key, time and digest: loading a file again adds what is missing and nothing else.
    """

    def __init__(
        self,
        transact: TransactInTurn,
        spool_directory: Path,
        keys: IdempotencyKeys,
        groups: GroupCommit,
        proof: UploadProof,
        threads: FairThreads,
    ) -> None:
        """``proof`` reads a Parquet file where it can harm nobody, and refuses what cannot be read.

        ``threads``: what takes long for a user's file is done there.
        """
        self._transact = transact
        self._threads = threads
        self._read: Callable[..., Awaitable[Any]] = partial(threads.run, "", is_capped=False)
        """Calls a function in one of them."""
        self.keys = keys
        """What was done already."""
        self.groups = groups
        """What commits small bodies together."""
        self._spool_directory = spool_directory
        self._proof = proof
        # Two loads that look for known captures at the same time would both add the same new one.
        self._adding = threading.Lock()

    def through(self, transact: TransactInTurn, party: str, *, is_capped: bool) -> FileLoader:
        """Return this loader with other transactions: those of the principal that loads, the party."""
        loader = copy.copy(self)
        loader._transact = transact
        loader._read = partial(self._threads.run, party, is_capped=is_capped)
        return loader

    async def close(self) -> None:
        """End what goes on in the background."""
        await self.groups.close()
        await self.keys.stop()
        await asyncio.to_thread(self._proof.close)
        self._threads.close()

    async def found_table(self, table: str) -> str:
        """Return the table that a name means.

        Raises:
            LoadError: it has a point in it, and there is neither such a schema nor such a table.
        """
        if "." not in table:
            return table
        return await self._transact(lambda session: found_table(session, table))

    async def rekey(self, show: Callable[[str, int, int], None]) -> dict[str, int]:
        """Give the captures of earlier builds today's keys and digests; ``show`` gets the progress."""
        return await rekey_all(self._transact, self._adding, show)

    async def load(
        self,
        source: IO[bytes],
        *,
        name: str,
        table: str = CAPTURES_TABLE,
        file_format: FileFormat = FileFormat.AUTO,
        largest_bytes: int | None = None,
        options: LoadOptions | None = None,
        claim: KeyClaim | None = None,
        space: SpaceClaim | None = None,
    ) -> AsyncIterator[LoadEvent]:
        """Yield rejected lines and the progress after each commit; a ``LoadSummary`` is the last.

        ``source`` is read in threads and not closed. ``largest_bytes`` limits what is put on the disk
        decompressed: rows of tables are there as a whole, captures chunk by chunk. With a ``claim``
        the answer is kept, or given again. ``space`` is asked before anything is put on the disk.

        Raises:
            LoadError: the format is not understood, the file ends in the middle or is too large.
            InvalidRequestError: the options do not go together, or not with the format.
        """
        options = options or LoadOptions()
        options.check()
        if claim is not None and claim.answer is not None:
            for event in events_of(claim.answer):
                yield event
            return
        request = None if claim is None else claim.request
        directory = self._spool_directory / secrets.token_hex(8)
        await asyncio.to_thread(directory.mkdir, mode=0o700)
        try:
            counting = CountingReader(source)
            opened = await self._read(open_file, counting, name, file_format, directory)
            job = _Job(name, table, opened.detected, counting, directory, options, space)
            if opened.detected.format in CAPTURE_FORMATS:
                _check_captures(name, table, options)
                events = self._load_captures(job, opened, request)
            else:
                events = self._load_table(job, opened, largest_bytes, request)
            async for event in events:
                yield event
        finally:
            await asyncio.shield(asyncio.to_thread(shutil.rmtree, directory, True))

    async def _load_captures(
        self, job: _Job, opened: Opened, request: RequestKey | None
    ) -> AsyncIterator[LoadEvent]:
        job.columns = await self._transact(_captures_columns, self._adding)
        if opened.detected.format is FileFormat.CDX_JSON and not opened.detected.fields:
            yield job.summary()
            return
        chunks = line_chunks(
            opened.plain,
            opened.head,
            opened.detected.format,
            job.directory,
            "chunk",
            before_write=job.take_space,
        )
        statement = derived_chunk(fields_of(opened.detected))
        wants_repair = job.options.on_error is OnError.REPAIR
        repair = partial(repaired_line, detected=opened.detected) if wants_repair else None
        while (chunk := await self._read(_next_chunk, chunks, job.name)) is not None:
            add = partial(
                add_chunk, statement=statement, chunk=chunk, source=job.name, repair=repair
            )
            added = await self._transact(add, self._adding)
            await asyncio.to_thread(chunk.path.unlink)
            job.give_space_back()
            for reject in added.rejects:
                yield reject
            job.count(chunk.line_count, added)
            yield job.progress()
        if request is not None:
            # Not with the rows, which are in several transactions: captures are never added twice.
            summary = job.summary()
            kept = (request, answer_of([], summary))
            await self._transact(lambda session: self.keys.keep(session, [kept]))
            yield summary
            return
        yield job.summary()

    def _check(
        self, source: TableSource, file_format: FileFormat, largest_bytes: int | None
    ) -> None:
        if isinstance(source, SheetSource):
            source.convert(self._proof.sheets, largest_bytes)
        source.prepare()
        if file_format is FileFormat.PARQUET:
            self._proof.check(source.path, source.name)

    async def _load_table(
        self,
        job: _Job,
        opened: Opened,
        largest_bytes: int | None,
        request: RequestKey | None,
    ) -> AsyncIterator[LoadEvent]:
        file_format = opened.detected.format
        # The reader of spreadsheets believes an ending: without one it looks at the content (ODS, XLS).
        is_sheet = file_format in (FileFormat.XLSX, FileFormat.XLS, FileFormat.ODS)
        path = job.directory / ("sheet" if is_sheet else f"file.{file_format.value}")
        if not await asyncio.to_thread(_linked, opened.source, path):
            await self._read(_copy, opened, path, job, largest_bytes)
        stored = None if opened.source is None else await asyncio.to_thread(path.stat)
        job.note_all_read(0 if stored is None else stored.st_size)
        yield job.progress()
        source = open_source(file_format, path, job.name, opened.head, job.options.read)
        await self._read(self._check, source, file_format, largest_bytes)
        prepare = create_schema if is_captures_table(job.table) else None

        def keep(session: SqlSession, outcome: TableOutcome) -> None:
            if request is not None:
                answer = answer_of(_rejected(outcome), job.summary_of(outcome))
                self.keys.keep(session, [(request, answer)])

        def work(session: SqlSession) -> TableOutcome:
            return load_table(session, source, job.table, job.options, prepare=prepare, keep=keep)

        try:
            # Two loads at once would both add a capture that is new.
            turn = self._adding if is_captures_table(job.table) else None
            outcome = await self._transact(work, turn)
        except WriteOutcomeUnknownError as error:
            if request is None:
                raise
            for event in events_of(await self.keys.resolve(request, error)):
                yield event
            return
        except DuckDBQueryError as error:
            # A request with the same key, whose client had left, may have come to its end.
            answer = None if request is None else await self.keys.find(request)
            if answer is None:
                _raise_as_files_fault(error, path, job.name)
            for event in events_of(answer):
                yield event
            return
        for line in _rejected(outcome):
            yield line
        yield job.summary_of(outcome)


def _raise_as_files_fault(error: DuckDBQueryError, path: Path, name: str) -> NoReturn:
    """Raise what is said of an error in a file that was read: its uploader is at fault, no disk."""
    if type(error) is not DuckDBQueryError:
        raise error  # a deadline, a conflict, a refusal
    raise LoadError(
        f"{name} cannot be loaded: {error.detail.replace(str(path), name)}",
        hint="Nothing was loaded.",
    ) from error


def _captures_columns(session: SqlSession) -> dict[str, str]:
    """Make the platform's tables where they are missing; return the columns of captures."""
    create_schema(session)
    return {column.name: column.type for column in columns_of(session, CAPTURES_TABLE)}


def _check_captures(name: str, table: str, options: LoadOptions) -> None:
    if not is_captures_table(table):
        raise LoadError(
            f"{name} holds captures, which go into {CAPTURES_TABLE}, not {table}",
            hint=f"Load it into {CAPTURES_TABLE}.",
        )
    if not options.is_plain:
        raise InvalidRequestError(
            "captures are only added, as their formats say: `mode`, `dry_run` and options of tables "
            "are not understood with them",
            hint="A capture that is known is not added again.",
        )


def _rejected(outcome: TableOutcome) -> list[RejectedLine]:
    return [RejectedLine(row.number, row.reason, row.text) for row in outcome.bad_rows]


class _Job:
    """The counts of one load."""

    def __init__(
        self,
        name: str,
        table: str,
        detected: Detected,
        reader: CountingReader,
        directory: Path,
        options: LoadOptions,
        space: SpaceClaim | None,
    ) -> None:
        self.options = options
        self._space = space
        self._taken_before = 0 if space is None else space.held_bytes
        self.name = name
        self.table = table
        self.directory = directory
        self._detected = detected
        self._reader = reader
        self._started = time.perf_counter()
        self._told: LoadSummary | None = None
        self._lines = self._added = self._duplicates = self._rejected = self._filled = 0
        self._repaired = 0
        self._resume_key: str | None = None
        self.columns: dict[str, str] = {}
        """Of the table of captures."""

    def take_space(self, count: int) -> None:
        """Claim what is put on the disk now."""
        if self._space is not None:
            self._space.take(count)

    def give_space_back(self) -> None:
        """Say that what was put on the disk is gone."""
        if self._space is not None:
            self._space.hold(self._taken_before)

    def note_all_read(self, size: int) -> None:
        """Say that the whole source was taken, though it was not read."""
        self._reader.bytes_read = max(self._reader.bytes_read, size)

    def count(self, lines: int, added: Added) -> None:
        self._lines += lines
        self._added += added.new
        self._duplicates += added.known
        self._filled += added.filled
        self._repaired += added.repaired
        self._rejected += len(added.rejects)
        self._resume_key = added.resume_key or self._resume_key

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
            **vars(self.progress()),
            table=self.table,
            format=self._detected.format.value,
            filled=self._filled,
            repaired=self._repaired,
            resume_key=self._resume_key,
            columns=self.columns,
        )

    def summary_of(self, outcome: TableOutcome) -> LoadSummary:
        """Return the end of the load; the same one each time, since it may have been kept."""
        self._told = self._told or replace(
            self.summary(),
            lines=outcome.lines,
            rows_added=outcome.rows_added,
            duplicates=outcome.duplicates,
            rejected=outcome.rejected,
            mode=self.options.mode.value,
            rows_removed=outcome.rows_removed,
            created=outcome.is_created,
            dry_run=self.options.dry_run,
            columns={column.name: column.type for column in outcome.columns},
            read_as=outcome.read_as,
            preview=[list(row) for row in outcome.preview],
        )
        return self._told


def _next_chunk(chunks: Iterator[Chunk], name: str) -> Chunk | None:
    try:
        return next(chunks, None)
    except (OSError, EOFError) as error:
        what = "ends in the middle" if isinstance(error, EOFError) else "cannot be read to its end"
        raise unreadable(
            error,
            f"{name} {what}: {error}",
            "What is whole before that is loaded; get the whole file and load it again.",
        ) from error


def _linked(source: IO[bytes] | None, path: Path) -> bool:
    """Give a nameless file in the spool directory a name; return whether that could be done."""
    try:
        descriptor = -1 if source is None else source.fileno()
        if descriptor < 0 or os.fstat(descriptor).st_nlink:
            return False  # somebody else's, or bytes in memory
        # Only with a directory's descriptor does Python have the link followed (linkat).
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            link = f"/proc/self/fd/{descriptor}"
            os.link(link, path.name, dst_dir_fd=directory, follow_symlinks=True)
        finally:
            os.close(directory)
    except OSError:
        return False
    return True


def _copy(opened: Opened, path: Path, job: _Job, largest_bytes: int | None) -> None:
    total = len(opened.head)
    try:
        with path.open("wb") as file:
            job.take_space(len(opened.head))
            file.write(opened.head)
            while block := opened.plain.read(_BLOCK_BYTES):
                total += len(block)
                if largest_bytes is not None and total > largest_bytes:
                    raise LoadError(
                        f"{job.name} has more than {format_bytes(largest_bytes)} when it is decompressed",
                        hint="Nothing was loaded. Split it, or raise DUCKDB_MAX_UPLOAD_SIZE.",
                    )
                job.take_space(len(block))
                file.write(block)
    except (OSError, EOFError) as error:
        raise unreadable(error, f"{job.name} cannot be read to its end: {error}") from error
