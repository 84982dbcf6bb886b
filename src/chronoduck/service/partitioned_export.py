"""An export whose files are in folders by the values of some columns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from chronoduck.engine.database import Connection
from chronoduck.engine.encoding import PartitionedRows, ResultSchema
from chronoduck.errors import DiskFullError, InvalidRequestError
from chronoduck.errors.system import reason_of
from chronoduck.resilience.space_budget import SpaceClaim
from chronoduck.service.opened_result import open_result
from chronoduck.service.records import Caller
from chronoduck.service.result_encoding import ResultRequest
from chronoduck.service.runner import StatementRunner
from chronoduck.service.scan_limit import check_scan
from chronoduck.service.session import Session
from chronoduck.sql.statements import Statement

__all__ = ["PartitionFiles", "write_partitions"]


class PartitionFiles:
    """One file in each folder below a directory; every byte is claimed before it is written."""

    def __init__(self, directory: Path, suffix: str, claim: SpaceClaim) -> None:
        self._directory = directory
        self._name = f"data_0.{suffix}"
        self._claim = claim
        self._known: set[str] = set()

    def append(self, folder: str, data: bytes) -> None:
        """Write the data to the end of the folder's file.

        Raises:
            DiskFullError: the disk has no space for it.
            DuckDBException: the budget has none.
        """
        self._claim.take(len(data))
        path = self._directory / folder
        try:
            if folder not in self._known:
                path.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._known.add(folder)
            # Not kept open: there may be more partitions than files that a process may open.
            with (path / self._name).open("ab") as file:
                file.write(data)
        except OSError as error:
            raise DiskFullError(
                f"the export cannot be written: {reason_of(error)}",
                hint="Free space on the volume of the database, or ask for less.",
            ) from error


async def write_partitions(
    runner: StatementRunner,
    request: ResultRequest,
    statement: Statement,
    caller: Caller,
    files: PartitionFiles,
    watch: Callable[[Session], None],
    *,
    by: Sequence[str],
    most: int,
) -> dict[str, Any]:
    """Run the statement as a job, write its rows into at most ``most`` folders, and describe it.

    Raises:
        InvalidRequestError: the principal's results are cut at a limit.
        LimitExceededError: there are more folders than may be.
        DuckDBQueryError: the statement, or a column of the folders, is at fault.
    """
    opened = runner.open(statement, caller, request.timeout, is_job=True)
    session = opened.session
    running = session.running

    def step(connection: Connection) -> None:
        check_scan(connection, statement, request.params, session)
        result = open_result(
            connection,
            statement,
            request.params,
            session,
            as_rows=False,
            batch_rows=request.format.batch_rows,
        )
        session.attach(result)
        schema = ResultSchema.of(result.columns, result.column_types, result.arrow_schema)
        rows = PartitionedRows(
            schema,
            by,
            request.format,
            request.options,
            files.append,
            most=most,
            check=session.token.check,
        )
        while (batch := result.next_batch()) is not None:
            rows.add(batch)
            running.rows = rows.rows
        rows.finish()
        running.memory_mb = result.finish()

    try:
        if session.limits.max_rows or session.limits.max_result_bytes:
            raise InvalidRequestError(
                "results of this principal are cut at a limit, which partitions cannot be",
                hint="Leave partition_by out.",
            )
        watch(session)
        await session.run(runner.routed(statement, step))
    except BaseException as error:
        opened.end(error)
        raise
    opened.end(None)
    return {
        "row_count": running.rows,
        "truncated": False,
        "kind": running.kind,
        "query_hash": running.query_hash,
        "statement_id": running.id,
    }
