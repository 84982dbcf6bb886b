"""A statement's result, opened the way that its kind of statement needs."""

from __future__ import annotations

from chronoduck.engine.database import Connection
from chronoduck.engine.execution import Params, RunningResult
from chronoduck.engine.writing import WrittenResult
from chronoduck.service.session import Session
from chronoduck.sql.autocommit import Autocommit
from chronoduck.sql.statements import Statement

__all__ = ["Result", "open_result"]

Result = RunningResult | WrittenResult


def open_result(
    connection: Connection,
    statement: Statement,
    params: Params,
    session: Session,
    *,
    as_rows: bool,
    batch_rows: int = 16_384,
) -> Result:
    """Run the statement and return its result; for a worker thread.

    A statement that only reads streams. One that may write has done so when this returns, unless
    the session is in a transaction. ``as_rows``: it will be asked for Python values, else for Arrow.
    """
    if statement.recheck is not None:
        statement.recheck(connection)
    if statement.is_read_only or statement.autocommit is Autocommit.NEVER:
        return RunningResult(
            connection,
            statement.judged,
            params,
            session.token,
            as_rows=as_rows,
            in_read_only_transaction=statement.in_read_only_transaction,
            batch_rows=batch_rows,
            tables_like_files=statement.tables_like_files,
        )
    return WrittenResult(
        connection,
        statement.judged,
        params,
        session.token,
        session.commits,
        statement.autocommit,
        changes_catalog=statement.changes_catalog,
        keeps_own_schema=statement.keeps_own_schema,
        write_wall=statement.write_wall,
        as_rows=as_rows,
        batch_rows=batch_rows,
        tables_like_files=statement.tables_like_files,
    )
