"""Exports: a result as files, in one piece or by partitions, where people or programs fetch them."""

from __future__ import annotations

import asyncio
import shutil
import string
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from chronoduck.engine.encoding import EncodingOptions, ResultFormat
from chronoduck.engine.execution import Params
from chronoduck.errors import (
    DuckDBException,
    InvalidRequestError,
    NotFoundError,
    QuotaExceededError,
)
from chronoduck.logs import get_logger
from chronoduck.principals import OPERATORS_ID, Role
from chronoduck.resilience.fair_threads import FairThreads
from chronoduck.resilience.space_budget import SpaceClaim
from chronoduck.service.encoded import EncodedQueries
from chronoduck.service.job_store import JobStore
from chronoduck.service.jobs import Job, JobRegistry, JobState, Progress
from chronoduck.service.partitioned_export import PartitionFiles, write_partitions
from chronoduck.service.records import Caller
from chronoduck.service.result_encoding import ResultRequest
from chronoduck.service.runner import StatementRunner
from chronoduck.service.statement_jobs import watching
from chronoduck.settings import Settings
from chronoduck.sql.statements import Statement
from chronoduck.storage import FileStore, StoreError, open_files
from chronoduck.storage.counted_file import counted_file

__all__ = ["EXPORT_FORMATS", "ExportWish", "Exports"]

_SECONDS_OF_DAY = 86_400.0
EXPORT_FORMATS = {
    "parquet": (ResultFormat.PARQUET, "parquet"),
    "csv": (ResultFormat.CSV, "csv"),
    "json": (ResultFormat.NDJSON, "ndjson"),
    "arrow": (ResultFormat.ARROW, "arrows"),
}
"""The format and the suffix of its file; JSON has an object a line."""
_MOST_EXPORTS = 1000
"""Of one principal that are remembered; each has a folder and files."""
_NAME_SIGNS = frozenset(string.ascii_letters + string.digits + "_-")
_LONGEST_NAME = 64
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
        check_place: Callable[[int], None],
        threads: FairThreads,
    ) -> None:
        """``check_place`` raises when so many bytes more are too many for the volume of exports.

        ``threads``: files are moved there, to a store that may be slow.
        """
        self._threads = threads
        self._check_place = check_place
        self._removing: asyncio.Task[None] | None = None
        self._settings = settings
        self._runner = runner
        self._encoded = encoded
        self._jobs = jobs
        self._store = store
        url = settings.export.url
        self._files = None if url is None else open_files(url, settings)
        jobs.on_forget["export"] = self._remove

    def open(self) -> None:
        """Begin to remove what exports left that did not come to their end, once jobs are read."""
        left = [
            job
            for job in self._jobs.list()
            if job.kind == "export"
            and job.state is not JobState.SUCCEEDED
            and "folder" in (job.result or {})
        ]
        if left and self._files is not None:
            self._removing = asyncio.get_running_loop().create_task(self._remove_left(left))

    async def _remove_left(self, left: list[Job]) -> None:
        for job in left:
            if job.has_ended and job.result is not None:
                await asyncio.to_thread(self._clean_up, job, job.result["folder"])

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
            QuotaExceededError: the principal has too many exports.
        """
        self.files  # noqa: B018 - refuses where there is no place
        _check(wish)
        await self._check_room(caller)
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
            claim = self._store.claim(job, is_capped=_is_capped(caller))
            scratch = await asyncio.to_thread(self._store.scratch, job)
            is_kept = False
            try:
                told = await self._write(wish, request, statement, caller, scratch, claim, show)
                folder = f"{wish.name}_{datetime.now(UTC):%Y%m%d_%H%M%S}_{job.id[:8]}"
                told |= {"format": wish.format, "partition_by": list(wish.partition_by)}
                job.result = {"folder": folder}  # what is left of a failure goes with the job,
                await self._jobs.save(job)  # also of one that a crash ends
                if on_publish is not None:
                    await on_publish(folder)
                is_kept = True  # by a failure, too, if it cannot be removed
                told |= await self._publish(job, folder, scratch, show)
                job.keep_seconds = kept_seconds
                if job.owner == OPERATORS_ID:
                    self._store.give_back(job.id)  # it is bounded by what is declared of it
                return told
            finally:
                await asyncio.shield(asyncio.to_thread(shutil.rmtree, scratch, True))
                if not is_kept:
                    self._store.give_back(job.id)

        days = self._settings.export.keep_days * _SECONDS_OF_DAY
        kept_seconds = days if keep_seconds is None else keep_seconds
        return await self._jobs.begin("export", work, caller.principal.id)

    async def _check_room(self, caller: Caller) -> None:
        """Refuse an export for which there is no space, or one too many to be remembered.

        Raises:
            JobSpaceError: there is none.
            QuotaExceededError: the principal has as many exports as one may have.
        """
        owner = caller.principal.id
        if owner == OPERATORS_ID:
            return
        await asyncio.to_thread(self._store.budget.check, owner, is_capped=_is_capped(caller))
        own = [job for job in self._jobs.list(owner) if job.kind == "export"]
        if len(own) >= _MOST_EXPORTS:
            raise QuotaExceededError(
                f"{caller.principal.name} has {len(own):,} exports, which is all that it may have",
                hint="DELETE jobs/{id} removes one with its files.",
            )

    async def _write(
        self,
        wish: ExportWish,
        request: ResultRequest,
        statement: Statement,
        caller: Caller,
        scratch: Path,
        claim: SpaceClaim,
        show: Progress,
    ) -> dict[str, Any]:
        """Write the files into the scratch directory; return what there is to tell of them."""
        with watching(show) as watch:
            if wish.partition_by:
                return await write_partitions(
                    self._runner,
                    request,
                    statement,
                    caller,
                    PartitionFiles(scratch, EXPORT_FORMATS[wish.format][1], claim),
                    watch,
                    by=wish.partition_by,
                    most=self._settings.export.partitions,
                )
            path = scratch / f"{wish.name}.{EXPORT_FORMATS[wish.format][1]}"
            async with counted_file(path, claim) as file:
                return await self._encoded.write(request, statement, caller, file, watch)

    async def _publish(
        self, job: Job, folder: str, scratch: Path, show: Progress
    ) -> dict[str, Any]:
        """Move the files to where they are fetched; after an error none of them stays."""
        files = self.files
        found = await asyncio.to_thread(_sizes, scratch)
        total = sum(found.values())
        done = 0
        try:
            for name, size in found.items():
                show("publishing", done, total)
                await asyncio.to_thread(self._check_place, size)
                await self._threads.run(job.owner, files.take, f"{folder}/{name}", scratch / name)
                done += size
            await asyncio.to_thread((scratch / _MARK).touch)
            await asyncio.to_thread(files.take, f"{folder}/{_MARK}", scratch / _MARK)
        except BaseException:
            await asyncio.shield(asyncio.to_thread(self._clean_up, job, folder))
            raise
        show("done", total, total)
        return {
            "folder": folder,
            "url": f"{files.url}/{folder}",  # where it is a path, operators alone see all of it
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

    def _clean_up(self, job: Job, folder: str) -> None:
        try:
            self.delete(folder)
        except StoreError as error:
            # Most likely what made the export fail; it is tried again when the job is forgotten.
            get_logger("jobs").warning(
                "export_not_cleaned_up", folder=folder, reason=error.operator_detail
            )
        else:
            self._store.give_back(job.id)


def _is_capped(caller: Caller) -> bool:
    return caller.principal.role is not Role.ADMIN and caller.principal.id != OPERATORS_ID


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
    if not 0 < len(wish.name) <= _LONGEST_NAME or not _NAME_SIGNS.issuperset(wish.name):
        raise InvalidRequestError(
            f"{wish.name[:80]!r} is no name for an export",
            hint="Letters, digits, - and _, 64 at most.",
        )
    if wish.partition_by and wish.format == "arrow":
        raise InvalidRequestError(
            "Arrow files are not written by partitions", hint="Parquet, CSV and JSON are."
        )
