"""A table as it was at a moment, as a new table of the running database."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import orjson

from chronoduck.cli.asking import ask
from chronoduck.cli.keys import parse_table
from chronoduck.cli.load_events import LoadWish, local_events, remote_events
from chronoduck.cli.target import Target
from chronoduck.engine.tables import quoted
from chronoduck.errors import LoadError
from chronoduck.transfer import FileFormat, LoadOptions, LoadSummary, Place

__all__ = ["RestoredTable", "restore_table"]

_DEADLINE_SECONDS = 3600.0


@dataclass(frozen=True)
class RestoredTable:
    """The new table: its name as SQL, and its rows."""

    name: str
    rows: int


@contextmanager
def moment_file(target: Target) -> Iterator[Path]:
    """Enter the path for the restored database; the file is gone afterwards."""
    root = target.settings.temp_directory
    root.mkdir(mode=0o755, parents=True, exist_ok=True)
    directory = Path(tempfile.mkdtemp(prefix="moment-", dir=root))
    try:
        yield directory / "moment.db"
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def restore_table(
    target: Target,
    table: str,
    into: str,
    restore: Callable[[Path], object],
) -> RestoredTable:
    """Restore a moment into a file, and copy one of its tables; the file is removed.

    ``restore`` writes the database of the moment to a path. Columns keep names and types; constraints and
    indexes are not copied. The rows of both are compared before the new table is kept.

    Raises:
        DuckDBException: there is no such table at that moment, ``into`` is there already, or the
            rows differ: then ``into`` is dropped.
    """
    source, new = quoted(*parse_table(table)), quoted(*parse_table(into))
    with moment_file(target) as path:
        restore(path)
        given = {
            "database_path": path,
            "temp_directory": path.with_name("temp"),
            "max_statement_timeout": _DEADLINE_SECONDS,
        }
        moment = Target(None, given=target.settings.model_copy(update=given))
        columns = _rows(moment, f"DESCRIBE {source}")
        names = ", ".join(quoted(name) for name, *_ in columns)
        types = ", ".join(f"{quoted(name)} {type_}" for name, type_, *_ in columns)
        rows = path.with_name("rows.parquet")
        with rows.open("wb") as sink:
            body = {"query": f"SELECT {names} FROM {source}"}
            ask(moment, body, "parquet", sink)
        expected = _digest(moment, source)
        _rows(target, f"CREATE TABLE {new} ({types})")
        try:
            asyncio.run(_load(target, rows, into))
            found = _digest(target, new)
            if found != expected:
                raise LoadError(
                    f"{into} has {found[0]:,} rows: not the {expected[0]:,} that {table} had, or not "
                    "their values",
                    hint="Restore the whole moment into a file: --output FILE instead of --table.",
                )
        except BaseException:
            _rows(target, f"DROP TABLE {new}")
            raise
    return RestoredTable(new, expected[0])


def _digest(target: Target, table: str) -> tuple[int, str]:
    """Return the number of rows and a sum over all values, whatever the order of the rows."""
    rows = _rows(target, f"SELECT count(*), sum(hash(t))::VARCHAR FROM {table} t")
    return int(rows[0][0]), str(rows[0][1])


def _rows(target: Target, sql: str) -> list[list[Any]]:
    sink = BytesIO()
    ask(target, {"query": sql}, "json", sink)
    return list(orjson.loads(sink.getvalue())["data"])


async def _load(target: Target, file: Path, table: str) -> None:
    from chronoduck.assembly import DuckDBService  # noqa: PLC0415 - half of a command's start

    wish = LoadWish(table, FileFormat.PARQUET, LoadOptions(create=False), once=False)
    with file.open("rb") as source:
        if target.service is not None:
            await _finish(remote_events(target.service, source, file.name, wish, None))
            return
        async with DuckDBService(target.own_settings) as service:
            loader = (await service.parts()).loader
            place = Place(file.name, file.name, lambda on_bytes: source)
            await _finish(local_events(loader, source, place, wish, None))


async def _finish(events: Any) -> None:
    async for event in events:
        if isinstance(event, LoadSummary):
            return
    raise LoadError("the copy of the table broke off", hint="Try again; nothing was kept.")
