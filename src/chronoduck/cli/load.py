"""``chronoduck load``: files of captures, Parquet, CSV and JSON into tables."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import IO, Annotated

import orjson
import typer
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from chronoduck.assembly import DuckDBService
from chronoduck.cli.output import errors, print_json
from chronoduck.cli.remote import RemoteService
from chronoduck.cli.target import (
    DatabaseOption,
    JsonOption,
    Target,
    TokenFileOption,
    UrlOption,
    find_target,
)
from chronoduck.client.problems import error_of
from chronoduck.errors import InvalidRequestError, LoadError, NotFoundError, ServiceUnavailableError
from chronoduck.transfer import (
    FileFormat,
    FileLoader,
    LoadEvent,
    LoadProgress,
    LoadSummary,
    RejectedLine,
    RejectFile,
)

__all__ = ["load", "load_file"]

_BLOCK_BYTES = 1_000_000


def load(
    files: Annotated[list[str], typer.Argument(help="Files; - is standard input.")],
    table: Annotated[
        str, typer.Option(help="The table; captures go into pages_analytics.")
    ] = "pages_analytics",
    file_format: Annotated[
        FileFormat, typer.Option("--format", "-f", help="What the files are.")
    ] = FileFormat.AUTO,
    rejects: Annotated[
        Path | None,
        typer.Option(help="Where malformed lines go; default: FILE.rejects.tsv, here."),
    ] = None,
    database: DatabaseOption = None,
    url: UrlOption = None,
    token_file: TokenFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Load files into the running service, or into the file when no service owns it.

    Captures: CDX with 7, 9, 10 or 11 columns, CDXJ, Common Crawl index lines, the Wayback CDX
    server's JSON. Loading a file of captures twice adds nothing. Parquet, CSV and JSON go into any
    --table. Plain, .gz and .zst files are understood.
    """
    target = find_target(database, url, token_file)
    for name in files:
        _check_readable(name)
    reject_paths = _reject_paths(files, rejects)
    summaries = asyncio.run(_load_all(target, files, table, file_format, reject_paths, as_json))
    if as_json:
        print_json([{"file": name, **asdict(summary)} for name, summary in summaries])


def _check_readable(name: str) -> None:
    """Refuse what cannot be read before anything is loaded; pipes are files like any other."""
    if name == "-":
        return
    path = Path(name)
    if not path.exists():
        raise NotFoundError(
            f"there is no file {path}", hint="Check the path. Nothing was loaded yet."
        )
    if path.is_dir():
        raise LoadError(
            f"{path} is a directory", hint=f"Name files, e.g. {path}/*. Nothing was loaded yet."
        )


def _reject_paths(files: list[str], given: Path | None) -> list[Path]:
    """Return where the malformed lines of each file go: no two files share one."""
    if given is not None:
        if len(files) > 1:
            raise InvalidRequestError(
                f"--rejects names one file for the malformed lines of {len(files)}",
                hint="Load one file at a time, or leave it out: each file gets its own.",
            )
        return [given]
    paths: list[Path] = []
    for file in files:
        name = "stdin" if file == "-" else Path(file).name
        path, number = Path(f"{name}.rejects.tsv"), 2
        while path in paths:
            path, number = Path(f"{name}.{number}.rejects.tsv"), number + 1
        paths.append(path)
    return paths


async def _load_all(
    target: Target,
    files: list[str],
    table: str,
    file_format: FileFormat,
    reject_paths: list[Path],
    quiet: bool,
) -> list[tuple[str, LoadSummary]]:
    summaries = []
    service = None if target.service else DuckDBService(target.own_settings)
    async with service or nullcontext():
        for file, reject_path in zip(files, reject_paths, strict=True):
            name = "stdin" if file == "-" else Path(file).name
            source: IO[bytes] = sys.stdin.buffer if file == "-" else Path(file).open("rb")  # noqa: ASYNC230, SIM115
            size = os.fstat(source.fileno()).st_size or None  # None for a pipe
            with source:
                if target.service is not None:
                    events = _remote_events(target.service, source, name, table, file_format)
                else:
                    assert service is not None  # noqa: S101 - one of the two is there
                    loader = (await service.parts()).loader
                    events = loader.load(source, name=name, table=table, file_format=file_format)
                summary = await _follow(events, name, size, reject_path, quiet)
            summaries.append((file, summary))
    return summaries


async def load_file(loader: FileLoader, file: Path, *, table: str) -> LoadSummary:
    """Load one file with a progress bar; malformed lines go beside the current directory's files."""
    with file.open("rb") as source:
        events = loader.load(source, name=file.name, table=table)
        size = os.fstat(source.fileno()).st_size
        return await _follow(events, file.name, size, Path(f"{file.name}.rejects.tsv"), False)


async def _follow(
    events: AsyncIterator[LoadEvent], name: str, size: int | None, rejects: Path, quiet: bool
) -> LoadSummary:
    """Show progress, keep rejected lines, and return the summary."""
    summary: LoadSummary | None = None
    with RejectFile(rejects) as reject_file, _progress(quiet) as progress:
        task = progress.add_task(name, total=size, rows="")
        async for event in events:
            if isinstance(event, RejectedLine):
                reject_file.write(event.line_number, event.reason, event.text)
                continue
            _show(progress, task, event)
            if isinstance(event, LoadSummary):
                summary = event
    if summary is None:
        raise LoadError(f"{name} was not loaded to its end", hint="Load it again; nothing doubles.")
    if not quiet:
        _report(name, summary, reject_file)
    return summary


def _progress(quiet: bool) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TextColumn("{task.fields[rows]}"),
        TimeElapsedColumn(),
        console=errors,
        transient=True,
        disable=quiet or not errors.is_terminal,
    )


def _show(progress: Progress, task: TaskID, event: LoadProgress) -> None:
    rows = event.rows_added + event.duplicates
    pace = rows / event.seconds if event.seconds else 0
    progress.update(task, completed=event.bytes_read, rows=f"{rows:,} rows, {pace:,.0f}/s")


def _report(name: str, summary: LoadSummary, rejects: RejectFile) -> None:
    rows = summary.rows_added + summary.duplicates
    pace = f", {rows / summary.seconds:,.0f} rows/s" if summary.seconds and rows > 10_000 else ""
    errors.print(
        f"{name}: {summary.rows_added:,} rows added to {summary.table}, "
        f"{summary.duplicates:,} known already, {summary.rejected:,} malformed{pace}",
        soft_wrap=True,
    )
    if rejects.count:
        errors.print(f"[yellow]malformed lines are in {rejects.path}[/]")


async def _remote_events(
    service: RemoteService, source: IO[bytes], name: str, table: str, file_format: FileFormat
) -> AsyncIterator[LoadEvent]:
    """Upload the file and yield the service's events."""
    with service.stream(
        "POST",
        f"/tables/{table}/rows",
        params={"source": name, "format": file_format.value},
        content=_blocks(source),
        headers={"Content-Type": "application/octet-stream"},
    ) as response:
        for line in response.iter_lines():
            fields = orjson.loads(line)
            kind = fields.pop("event")
            if kind == "reject":
                yield RejectedLine(**fields)
            elif kind == "progress":
                yield LoadProgress(**fields)
            elif kind == "done":
                yield LoadSummary(**fields)
                return
            else:
                raise error_of(fields["error"])
    raise ServiceUnavailableError(
        f"the service broke off while it loaded {name}",
        hint="Load it again when it is up; rows that were added stay and are not doubled.",
    )


def _blocks(source: IO[bytes]) -> Iterator[bytes]:
    while block := source.read(_BLOCK_BYTES):
        yield block
