"""``chronoduck load``: files of captures, Parquet, CSV and JSON into tables."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import IO, Annotated

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
from chronoduck.cli.load_events import LoadWish, file_key, local_events, remote_events
from chronoduck.cli.load_report import report
from chronoduck.cli.output import errors, plain, print_json
from chronoduck.cli.own_file import without_empty_file
from chronoduck.cli.target import (
    DatabaseOption,
    JsonOption,
    Target,
    TokenFileOption,
    UrlOption,
    find_target,
)
from chronoduck.errors import (
    DuckDBException,
    InvalidRequestError,
    LoadError,
)
from chronoduck.transfer import (
    FileFormat,
    FileLoader,
    LoadEvent,
    LoadMode,
    LoadOptions,
    LoadProgress,
    LoadSummary,
    OnError,
    Place,
    RejectedLine,
    RejectFile,
    find_places,
)
from chronoduck.transfer.read_options import read_options
from chronoduck.transfer.table_name import table_for

__all__ = ["load", "load_file"]

_PANEL = "How the files are written; what is not set is guessed and shown"


def load(
    files: Annotated[
        list[str],
        typer.Argument(help="Files, directories, patterns, URLs (http, https, s3); - is stdin."),
    ],
    table: Annotated[
        str | None,
        typer.Option(
            help="The table; captures go into pages_analytics, other files into one of their name."
        ),
    ] = None,
    file_format: Annotated[
        FileFormat, typer.Option("--format", "-f", help="What the files are.")
    ] = FileFormat.AUTO,
    mode: Annotated[
        LoadMode, typer.Option(help="What happens to rows that are there.")
    ] = LoadMode.APPEND,
    key: Annotated[str, typer.Option(help="Columns by which upsert knows a row: a,b.")] = "",
    create: Annotated[bool, typer.Option(help="Make a table that is missing.")] = True,
    on_error: Annotated[OnError, typer.Option(help="What a bad row does.")] = OnError.ABORT,
    dry_run: Annotated[bool, typer.Option(help="Everything but the commit.")] = False,
    once: Annotated[
        bool, typer.Option(help="Leave out what was loaded with --once within a day.")
    ] = False,
    allow_private: Annotated[
        bool, typer.Option(help="URLs may lead to private addresses, such as 10.0.0.1.")
    ] = False,
    delimiter: Annotated[
        str, typer.Option(help="CSV: what separates fields; tab is one.", rich_help_panel=_PANEL)
    ] = "",
    quote: Annotated[
        str | None,
        typer.Option(help="CSV: what encloses fields, or none.", rich_help_panel=_PANEL),
    ] = None,
    decimal: Annotated[
        str | None,
        typer.Option(help="The decimal mark of numbers: . or ,", rich_help_panel=_PANEL),
    ] = None,
    thousands: Annotated[
        str | None,
        typer.Option(help="What groups digits: . , space none.", rich_help_panel=_PANEL),
    ] = None,
    encoding: Annotated[
        str, typer.Option(help="Such as cp1252 or utf-16.", rich_help_panel=_PANEL)
    ] = "",
    header: Annotated[
        str,
        typer.Option(help="auto, yes, no, or the columns' names: a,b,c.", rich_help_panel=_PANEL),
    ] = "auto",
    skip: Annotated[
        int, typer.Option(min=0, help="Lines before the header.", rich_help_panel=_PANEL)
    ] = 0,
    null: Annotated[
        str, typer.Option(help="Texts that mean NULL: NA,-", rich_help_panel=_PANEL)
    ] = "",
    date_format: Annotated[
        str, typer.Option(help="How dates are written: %d.%m.%Y", rich_help_panel=_PANEL)
    ] = "",
    types: Annotated[
        str,
        typer.Option(help="Types of new columns: zip=VARCHAR,price=DOUBLE", rich_help_panel=_PANEL),
    ] = "",
    all_text: Annotated[
        bool,
        typer.Option("--all-text", help="New columns are VARCHAR.", rich_help_panel=_PANEL),
    ] = False,
    sheet: Annotated[
        str, typer.Option(help="XLSX, ODS: the sheet, else the first.", rich_help_panel=_PANEL)
    ] = "",
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
    server's JSON. Loading a file of captures twice adds nothing. Parquet, CSV, JSON, Arrow, XLSX and
    ODS go into any --table. --dry-run shows what would be made of a file. Plain, .gz
    and .zst files are understood. Each file is loaded by itself, in order.
    """
    options = LoadOptions(
        mode=mode,
        key=tuple(key.split(",")) if key else (),
        create=create,
        dry_run=dry_run,
        on_error=on_error,
        read=read_options(
            delimiter=delimiter,
            quote=quote,
            decimal=decimal,
            thousands=thousands,
            encoding=encoding,
            header=header,
            skip=skip,
            null=null,
            date_format=date_format,
            types=types,
            all_text=all_text,
            sheet=sheet,
        ),
    )
    options.check()
    target = find_target(database, url, token_file)
    places = _places(files, target, allow_private=allow_private)
    if len(places) > 1 and mode is LoadMode.REPLACE:
        raise InvalidRequestError(
            f"each of {len(places)} files would replace the one before it",
            hint="Load the first with --mode replace and the others without.",
        )
    reject_paths = _reject_paths(places, rejects)
    wish = LoadWish(table or "", file_format, options, once=once)
    summaries = asyncio.run(_load_all(target, places, wish, reject_paths, as_json))
    if as_json:
        print_json([{"file": name, **asdict(summary)} for name, summary in summaries])


def _places(files: list[str], target: Target, *, allow_private: bool) -> list[Place]:
    """Return what is to be loaded, before anything is; pipes are files like any other."""
    places: list[Place] = []
    for name in files:
        if name == "-":
            places.append(Place("-", "stdin", lambda on_bytes: sys.stdin.buffer))
        else:
            places += find_places([name], target.settings, allow_private=allow_private)
    return places


def _reject_paths(places: list[Place], given: Path | None) -> list[Path]:
    """Return where the malformed lines of each file go: no two files share one."""
    if given is not None:
        if len(places) > 1:
            raise InvalidRequestError(
                f"--rejects names one file for the malformed lines of {len(places)}",
                hint="Load one file at a time, or leave it out: each file gets its own.",
            )
        return [given]
    paths: list[Path] = []
    for place in places:
        path, number = Path(f"{place.name}.rejects.tsv"), 2
        while path in paths:
            path, number = Path(f"{place.name}.{number}.rejects.tsv"), number + 1
        paths.append(path)
    return paths


async def _load_all(
    target: Target, places: list[Place], wish: LoadWish, reject_paths: list[Path], quiet: bool
) -> list[tuple[str, LoadSummary]]:
    if target.service is not None:
        return await _load_each(target, None, places, wish, reject_paths, quiet)
    settings = target.own_settings
    with without_empty_file(settings, is_trial=wish.options.dry_run):
        async with DuckDBService(settings) as service:
            return await _load_each(target, service, places, wish, reject_paths, quiet)


async def _load_each(
    target: Target,
    service: DuckDBService | None,
    places: list[Place],
    wish: LoadWish,
    reject_paths: list[Path],
    quiet: bool,
) -> list[tuple[str, LoadSummary]]:
    summaries: list[tuple[str, LoadSummary]] = []
    for place, reject_path in zip(places, reject_paths, strict=True):
        try:
            summary = await _load_one(target, service, place, wish, reject_path, quiet)
        except DuckDBException as error:
            if summaries:
                error.hint += f" {len(summaries)} of {len(places)} files were loaded before it."
            raise
        summaries.append((place.shown, summary))
    return summaries


async def _load_one(
    target: Target,
    service: DuckDBService | None,
    place: Place,
    wish: LoadWish,
    reject_path: Path,
    quiet: bool,
) -> LoadSummary:
    with await asyncio.to_thread(_opened, place, quiet) as source:
        size = os.fstat(source.fileno()).st_size or None  # None for a pipe
        if not wish.table:
            table = await asyncio.to_thread(table_for, source, place.name, wish.file_format)
            wish = replace(wish, table=table)
        key = await asyncio.to_thread(file_key, source, wish) if wish.once else None
        if target.service is not None:
            events = remote_events(target.service, source, place.name, wish, key)
        else:
            assert service is not None  # noqa: S101 - one of the two is there
            events = local_events((await service.parts()).loader, source, place, wish, key)
        return await _follow(events, place.name, size, reject_path, quiet)


def _opened(place: Place, quiet: bool) -> IO[bytes]:
    with _progress(quiet) as progress:
        task = progress.add_task(
            f"fetching {plain(place.name)}", total=None, rows="", visible=False
        )

        def show(done: int, total: int | None) -> None:
            progress.update(task, completed=done, total=total, visible=True)

        return place.open(show)


async def load_file(loader: FileLoader, file: Path, *, table: str) -> LoadSummary:
    """Load one file with a progress bar; malformed lines go beside the current directory's files."""
    with file.open("rb") as source:
        events = loader.load(source, name=file.name, table=table)
        size = os.fstat(source.fileno()).st_size
        return await _follow(events, file.name, size, Path(f"{file.name}.rejects.tsv"), False)


async def _follow(
    events: AsyncIterator[LoadEvent | None],
    name: str,
    size: int | None,
    rejects: Path,
    quiet: bool,
) -> LoadSummary:
    """Show progress, keep rejected lines, and return the summary; None among them: it is known."""
    summary: LoadSummary | None = None
    is_known = False
    with RejectFile(rejects) as reject_file, _progress(quiet) as progress:
        task = progress.add_task(plain(name), total=size, rows="")
        async for event in events:
            if event is None:
                is_known = True
                continue
            if isinstance(event, RejectedLine):
                reject_file.write(event.line_number, event.reason, event.text)
                continue
            _show(progress, task, event)
            if isinstance(event, LoadSummary):
                summary = event
    if summary is None:
        raise LoadError(f"{name} was not loaded to its end", hint="Load it again; nothing doubles.")
    if is_known and not quiet:
        errors.print(f"{plain(name)}: loaded before, left out", soft_wrap=True)
    elif not quiet:
        report(name, summary, reject_file)
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
