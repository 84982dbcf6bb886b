"""Exports: a result as files, in one piece or by partitions, where people or programs fetch them."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from chronoduck.engine.database import Connection
from chronoduck.engine.encoding import EncodingOptions, ResultFormat
from chronoduck.engine.execution import Params, RunningResult
from chronoduck.engine.statements import Statement
from chronoduck.errors import DuckDBException, InvalidRequestError, NotFoundError
from chronoduck.logs import get_logger
from chronoduck.service.encoded import EncodedQueries
from chronoduck.service.job_store import JobStore
from chronoduck.service.jobs import Job, JobRegistry, JobState, Progress
from chronoduck.service.records import Caller
from chronoduck.service.result_encoding import ResultRequest
from chronoduck.service.runner import StatementRunner
from chronoduck.service.scan_limit import check_scan
from chronoduck.service.session import Session
from chronoduck.service.statement_jobs import BoundedFile, watching
from chronoduck.settings import Settings
from chronoduck.storage import FileStore, StoreError, open_files

__all__ = ["EXPORT_FORMATS", "ExportWish", "Exports"]

_SECONDS_OF_DAY = 86_400.0
EXPORT_FORMATS = {
    "parquet": (ResultFormat.PARQUET, "parquet"),
    "csv": (ResultFormat.CSV, "csv"),
    "json": (ResultFormat.NDJSON, "ndjson"),
    "arrow": (ResultFormat.ARROW, "arrows"),
}
"""The format and the suffix of its file; JSON has an object a line."""
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_MARK = "_SUCCESS"
"""An empty file, written last and removed first: a folder that has it is whole."""


@dataclass(frozen=True)
class ExportWish:
    """What to export: a statement, as what, in files by the values of which columns."""

    sql: str
    params: Params
    format: str = "parquet"
    partition_by: tuple[str, ...] = ()
    name: str = "export"
    timeout: float | None = None


class ExportsOffError(DuckDBException):
    """The operator has named no place for exports."""

    code = "exports_off"
    title = "There are no exports"
    http_status = 409
    exit_code = 78


class Exports:
    """Begins exports, and hands out their files."""

    def __init__(
        self,
        settings: Settings,
        runner: StatementRunner,
        encoded: EncodedQueries,
        jobs: JobRegistry,
        store: JobStore,
    ) -> None:
        self._settings = settings
        self._runner = runner
        self._encoded = encoded
        self._jobs = jobs
        self._store = store
        url = settings.export.url
        self._files = None if url is None else open_files(url, settings)
        jobs.on_forget["export"] = self._remove
        page_size = type(settings).model_fields["parquet_page_size"].default
        if url is not None and settings.parquet_page_size != page_size:
            get_logger("jobs").warning(
                "page_size_not_of_partitions",
                reason="PARQUET_PAGE_SIZE does not hold for exports with partition_by",
            )

    @property
    def files(self) -> FileStore:
        """Where exports go.

        Raises:
            ExportsOffError: there is no place for them.
        """
        if self._files is None:
            raise ExportsOffError(
                "there is no place for exports",
                hint="Set DUCKDB_EXPORT_URL to a directory or s3://bucket/prefix.",
            )
        return self._files

    @property
    def url(self) -> str | None:
        """Where exports go, for people; None: nowhere."""
        return None if self._files is None else self._files.url

    @property
    def longest_seconds(self) -> float:
        """How long an export may take."""
        return self._settings.job.timeout

    async def start(
        self,
        wish: ExportWish,
        options: EncodingOptions,
        caller: Caller,
        keep_seconds: float | None = None,
        on_publish: Callable[[str], Awaitable[None]] | None = None,
    ) -> Job:
        """Begin; a statement that is refused or wrong is told at once, without a job.

        ``keep_seconds`` is how long the files are there, by default as the settings say; what is
        left of a failure is there no longer than that of others. ``on_publish`` is told the folder
        before there is anything in it.

        Raises:
            ExportsOffError: there is no place for exports.
            InvalidRequestError: the wish cannot be fulfilled.
            DuckDBQueryError: it is not one valid statement that reads.
            JobSpaceError: results take all the space that they may.
        """
        self.files  # noqa: B018 - refuses where there is no place
        _check(wish)
        space = await asyncio.to_thread(self._store.check_space)
        request = ResultRequest(
            wish.sql, wish.params, EXPORT_FORMATS[wish.format][0], options, timeout=wish.timeout
        )
        statement = await self._encoded.parse(request, caller)
        if not statement.is_read_only or statement.kind != "select":
            raise InvalidRequestError(
                f"an export is of a SELECT, not of {statement.kind}",
                hint="POST jobs runs other statements.",
            )

        async def work(job: Job, show: Progress) -> dict[str, Any]:
            scratch = await asyncio.to_thread(self._store.scratch, job)
            try:
                if wish.partition_by:
                    told = await self._write_partitions(wish, statement, caller, scratch, show)
                else:
                    path = scratch / f"{wish.name}.{EXPORT_FORMATS[wish.format][1]}"
                    with (
                        BoundedFile(path.open("xb"), space, self._store) as file,
                        watching(show) as watch,
                    ):
                        told = await self._encoded.write(request, statement, caller, file, watch)
                folder = f"{wish.name}_{datetime.now(UTC):%Y%m%d_%H%M%S}_{job.id[:8]}"
                told |= {"format": wish.format, "partition_by": list(wish.partition_by)}
                job.result = {"folder": folder}  # what is left of a failure goes with the job,
                await self._jobs.save(job)  # also of one that a crash ends
                if on_publish is not None:
                    await on_publish(folder)
                told |= await self._publish(folder, scratch, show)
                job.keep_seconds = kept_seconds
                return told
            finally:
                await asyncio.shield(asyncio.to_thread(shutil.rmtree, scratch, True))

        days = self._settings.export.keep_days * _SECONDS_OF_DAY
        kept_seconds = days if keep_seconds is None else keep_seconds
        return await self._jobs.begin("export", work, caller.principal.id, days)

    async def _write_partitions(
        self,
        wish: ExportWish,
        statement: Statement,
        caller: Caller,
        scratch: Path,
        show: Progress,
    ) -> dict[str, Any]:
        """Have the engine write a folder for each value; only it can without sorting in memory."""
        copy = _copy(wish, scratch, self._settings)

        def step(connection: Connection) -> int:
            check_scan(connection, statement, wish.params, session)
            result = RunningResult(connection, copy, wish.params, session.token)
            rows = int(result.fetch("all")[0][0][0])
            session.running.rows = rows
            session.running.memory_mb = result.finish()
            return rows

        opened = self._runner.open(statement, caller, wish.timeout, is_job=True)
        session: Session = opened.session
        try:
            if session.limits.max_rows or session.limits.max_result_bytes:
                raise InvalidRequestError(
                    "results of this principal are cut at a limit, which partitions cannot be",
                    hint="Leave partition_by out.",
                )
            with watching(show) as watch:
                watch(session)
                rows = await session.run(step)
        except BaseException as error:
            opened.end(error)
            raise
        opened.end(None)
        running = session.running
        return {
            "row_count": rows,
            "truncated": False,
            "kind": running.kind,
            "query_hash": running.query_hash,
            "statement_id": running.id,
        }

    async def _publish(self, folder: str, scratch: Path, show: Progress) -> dict[str, Any]:
        """Copy the files to where they are fetched; after an error none of them stays."""
        files = self.files
        found = await asyncio.to_thread(_sizes, scratch)
        total = sum(found.values())
        done = 0
        try:
            for name, size in found.items():
                show("publishing", done, total)
                await asyncio.to_thread(files.put, f"{folder}/{name}", scratch / name)
                done += size
            await asyncio.to_thread((scratch / _MARK).touch)
            await asyncio.to_thread(files.put, f"{folder}/{_MARK}", scratch / _MARK)
        except BaseException:
            await asyncio.shield(asyncio.to_thread(self._clean_up, folder))
            raise
        show("done", total, total)
        return {
            "folder": folder,
            "url": f"{files.url}/{folder}",
            "files": [{"name": name, "bytes": size} for name, size in found.items()],
            "bytes": total,
        }

    @property
    def options(self) -> EncodingOptions:
        """How the settings want files to be."""
        settings = self._settings
        return EncodingOptions(
            parquet_compression=settings.parquet_compression,
            parquet_row_group_size=settings.parquet_row_group_size,
            parquet_page_size=settings.parquet_page_size,
            parquet_enable_dictionary=settings.parquet_enable_dictionary,
        )

    def read(self, job: Job, name: str) -> Iterator[bytes]:
        """Yield one file of an export; blocks.

        Raises:
            NotFoundError: the export has no such file, or is not done.
        """
        result = job.result if job.state is JobState.SUCCEEDED and job.kind == "export" else None
        names = [each["name"] for each in result["files"]] if result else []
        if result is None or name not in names:
            raise NotFoundError(
                f"export {job.id} has no file {name[:80]}", hint=f"GET jobs/{job.id} lists them."
            )
        return self.files.read(f"{result['folder']}/{name}")

    def _remove(self, job: Job) -> None:
        if job.result and self._files is not None:
            self.delete(job.result["folder"])

    def delete(self, folder: str) -> None:
        """Remove an export; blocks. One that is not there is fine.

        Raises:
            StoreError: the store fails; what is left is not marked as whole.
        """
        self.files.delete(folder, first=_MARK)

    def _clean_up(self, folder: str) -> None:
        try:
            self.delete(folder)
        except StoreError as error:
            # Most likely what made the export fail; it is tried again when the job is forgotten.
            get_logger("jobs").warning(
                "export_not_cleaned_up", folder=folder, reason=error.operator_detail
            )


def _sizes(directory: Path) -> dict[str, int]:
    """Return the bytes of each file below the directory, by its name from there."""
    return {
        path.relative_to(directory).as_posix(): path.stat().st_size
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def _check(wish: ExportWish) -> None:
    if wish.format not in EXPORT_FORMATS:
        raise InvalidRequestError(
            f"the format {wish.format[:20]!r} is not written",
            hint=f"Formats are {', '.join(EXPORT_FORMATS)}.",
        )
    if not _NAME.fullmatch(wish.name):
        raise InvalidRequestError(
            f"{wish.name[:80]!r} is no name for an export",
            hint="Letters, digits, - and _, 64 at most.",
        )
    if wish.partition_by and wish.format == "arrow":
        raise InvalidRequestError(
            "Arrow files are not written by partitions", hint="Parquet, CSV and JSON are."
        )


def _copy(wish: ExportWish, directory: Path, settings: Settings) -> str:
    """Return the statement that writes the partitions; its text inside was parsed as one SELECT."""
    options = [f"FORMAT {wish.format}", f"PARTITION_BY ({_quoted(wish.partition_by)})"]
    if wish.format == "parquet":
        codec = settings.parquet_compression
        options += [
            f"COMPRESSION {'uncompressed' if codec == 'NONE' else codec.lower()}",
            f"ROW_GROUP_SIZE {settings.parquet_row_group_size}",
        ]
        if not settings.parquet_enable_dictionary:
            options.append("DICTIONARY_SIZE_LIMIT 0")
    text = wish.sql.strip().rstrip(";")
    # On lines of its own: a comment at the text's end must not swallow what follows.
    target = str(directory).replace("'", "''")
    return f"COPY (\n{text}\n) TO '{target}' ({', '.join(options)})"


def _quoted(names: Sequence[str]) -> str:
    return ", ".join('"' + name.replace('"', '""') + '"' for name in names)
