"""A statement on a file that no service owns: opened by this process, asked and closed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from chronoduck.assembly import DuckDBService
from chronoduck.cli.asking import print_truncation
from chronoduck.engine.encoding import EncodingOptions, ResultFormat
from chronoduck.engine.inspection import is_untouched
from chronoduck.engine.offline import MetadataCopy, database_files, remove_database
from chronoduck.engine.ownership import DatabaseOwnership
from chronoduck.errors import DuckDBException, NotFoundError
from chronoduck.service.records import Caller
from chronoduck.service.result_encoding import ResultRequest
from chronoduck.settings import Settings
from chronoduck.sql.statements import StatementParser

__all__ = ["run_on_file", "without_empty_file"]


@contextmanager
def without_empty_file(settings: Settings, *, is_trial: bool = False) -> Iterator[None]:
    """Leave no database behind if what is inside fails, made the file, and put nothing into it.

    ``is_trial``: nor if it succeeds.
    """
    database = settings.database_path
    ours = (
        *(database.with_name(database.name + end) for end in (".boot", ".engine")),
        *(MetadataCopy(database).path, settings.audit_path, settings.usage_path),
        *(settings.jobs_path, settings.query_log_path.parent),
    )
    new = [path for path in ours if not path.exists() and path.parent == database.parent]
    had_directory = database.parent.exists()
    if database_files(database) or settings.replica.url:  # which has it, too
        yield
        return
    is_done = False
    try:
        yield
        is_done = not is_trial
    finally:
        if not is_done:
            with suppress(OSError, DuckDBException):
                _remove_untouched(database, new)
                if not had_directory:
                    database.parent.rmdir()


def _remove_untouched(database: Path, beside: Sequence[Path]) -> None:
    if not database.exists():
        return
    ownership = DatabaseOwnership(database)
    ownership.acquire()
    try:
        if not is_untouched(database):
            return
        remove_database(database)
        for path in beside:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        ownership.discard()
    finally:
        ownership.release()


async def run_on_file(settings: Settings, body: dict[str, Any], wire: str, sink: IO[bytes]) -> None:
    """Run the statement and write its result.

    Raises:
        DuckDBException: the statement failed.
        NotFoundError: there is no such file, and the statement writes nothing.
    """
    _check_there(settings.database_path, body["query"])
    with without_empty_file(settings):
        await _run(settings, body, wire, sink)


async def _run(settings: Settings, body: dict[str, Any], wire: str, sink: IO[bytes]) -> None:
    async with DuckDBService(settings) as service:
        request = ResultRequest(
            sql=body["query"],
            params=body.get("params"),
            format=ResultFormat(wire),
            options=EncodingOptions(),
            max_rows=body.get("max_rows"),
            timeout=body.get("timeout_seconds") or settings.max_statement_timeout,
        )
        result = await (await service.parts()).encoded.run(request, Caller("cli"))
        sink.write(result.body)
        if result.rest is not None:
            try:
                async for piece in result.rest:
                    sink.write(piece)
            finally:
                await result.rest.aclose()
        if result.truncated is True:
            print_truncation(body)


def _check_there(database: Path, sql: str) -> None:
    """A statement that only reads makes no database: a name with a typo would become an empty one."""
    if database.exists():
        return
    parser = StatementParser()
    try:
        is_read_only = parser.parse(sql).is_read_only
    finally:
        parser.close()
    if is_read_only:
        raise NotFoundError(
            f"there is no database {database}",
            hint="Check --database or DUCKDB_DATABASE_PATH. CREATE TABLE and `chronoduck load` make one.",
        )
