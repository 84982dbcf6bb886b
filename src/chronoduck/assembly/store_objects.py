"""Objects of S3 for statements, on an engine without httpfs: fetched whole by a process of their own."""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import replace
from pathlib import Path

from chronoduck.errors import (
    DiskFullError,
    DuckDBException,
    DuckDBQueryError,
    StatementTimeoutError,
)
from chronoduck.errors.system import reason_of
from chronoduck.resilience.thread_handover import opened_in_thread
from chronoduck.settings import Settings
from chronoduck.sql.statements import Statement
from chronoduck.sql.store_reads import (
    FetchedObjects,
    defines_what_stays,
    store_addresses,
)
from chronoduck.tasks.process import run_task

__all__ = ["StoreObjects"]

_AT_ONCE = 2


class StoreObjects:
    """Puts files in place of the objects that a statement names. For one event loop."""

    def __init__(self, settings: Settings, spool: Path) -> None:
        self._settings = settings
        self._spool = spool
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def __call__(self, statement: Statement) -> Statement:
        """Return the statement that the engine can run; the same one if it reads no objects.

        Raises:
            DuckDBQueryError: an object cannot be read, or the statement would keep its address.
            StatementTimeoutError: they had not come within ``DUCKDB_MAX_STATEMENT_TIMEOUT``.
        """
        if "s3://" not in statement.text:
            return statement
        # Both read every token: 100 KB would hold the event loop for 0.1 s.
        addresses = await asyncio.to_thread(store_addresses, statement.text)
        if not addresses:
            return statement
        if await asyncio.to_thread(defines_what_stays, statement.text):
            raise DuckDBQueryError(
                "a view or macro over objects of S3 needs the httpfs extension, which is not loaded",
                hint="Set DUCKDB_ALLOW_EXTENSION_DOWNLOAD=true, or CREATE TABLE ... AS SELECT.",
                category="store",
            )
        objects = await opened_in_thread(self._directory, FetchedObjects.remove)
        try:
            objects.files = await self._fetch(addresses, objects.directory)
        except BaseException:
            objects.remove()
            raise
        return replace(statement, fetched_objects=objects)

    def _directory(self) -> FetchedObjects:
        try:
            return FetchedObjects(Path(tempfile.mkdtemp(prefix="objects-", dir=self._spool)))
        except OSError as error:
            raise DiskFullError(
                f"there is no place to fetch the objects to: {reason_of(error)}",
                hint="Look at the volume of DUCKDB_TEMP_DIRECTORY.",
                operator_detail=str(error),
            ) from error

    async def _fetch(self, addresses: tuple[str, ...], directory: Path) -> dict[str, list[Path]]:
        seconds = self._settings.max_statement_timeout
        try:
            async with asyncio.timeout(seconds), self._turns:
                found = await run_task(
                    self._settings,
                    "fetch_objects",
                    _relay,
                    addresses=list(addresses),
                    directory=str(directory),
                )
        except TimeoutError:
            raise StatementTimeoutError(
                f"the objects had not been read after {seconds:g} s",
                hint="Load them with `chronoduck load`, which has no deadline.",
            ) from None
        except DuckDBException as error:
            raise DuckDBQueryError(
                error.operator_detail, hint=error.hint, category="store"
            ) from error
        return {
            address: [Path(name) for name in names] for address, names in found["files"].items()
        }


async def _relay(step: str, done: int, total: int) -> None:
    return None
