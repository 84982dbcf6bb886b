"""A statement on a file that no service owns: opened by this process, asked and closed."""

from __future__ import annotations

from pathlib import Path
from typing import IO, Any

from chronoduck.assembly import DuckDBService
from chronoduck.cli.asking import print_truncation
from chronoduck.engine.encoding import EncodingOptions, ResultFormat
from chronoduck.errors import NotFoundError
from chronoduck.service.records import Caller
from chronoduck.service.result_encoding import ResultRequest
from chronoduck.settings import Settings
from chronoduck.sql.statements import StatementParser

__all__ = ["run_on_file"]


async def run_on_file(settings: Settings, body: dict[str, Any], wire: str, sink: IO[bytes]) -> None:
    """Run the statement and write its result.

    Raises:
        DuckDBException: the statement failed.
        NotFoundError: there is no such file, and the statement writes nothing.
    """
    _check_there(settings.database_path, body["query"])
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
