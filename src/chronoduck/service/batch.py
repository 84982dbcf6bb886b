"""Several statements in order on one connection, all or nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import TypeVar

from chronoduck.engine.database import Connection
from chronoduck.engine.execution import Params, transaction
from chronoduck.errors import BatchError, DuckDBException, StatementRefusedError
from chronoduck.service.records import Caller
from chronoduck.service.runner import StatementRunner
from chronoduck.service.session import Session
from chronoduck.sql.engine_errors import EngineFailure
from chronoduck.sql.guard import Pending
from chronoduck.sql.statements import MAX_STATEMENT_BYTES, Statement, query_hash

__all__ = ["Query", "RunOne", "refuse_inside", "run_batch"]

R = TypeVar("R")
Query = str | tuple[str, Params]
"""A statement, or a statement with its parameters."""
RunOne = Callable[[Connection, Statement, Params, Session], R]
"""Runs one statement on the connection, in a worker thread, and returns what the caller wants."""


async def run_batch(
    runner: StatementRunner,
    queries: Sequence[Query],
    run_one: RunOne[R],
    *,
    use_transaction: bool,
    timeout: float | None,
    caller: Caller,
) -> list[R]:
    """Run the statements; without a transaction the first failure ends the batch.

    All are parsed before the first one runs: a typo in the last one changes nothing.

    Raises:
        BatchError: names the failing statement by index and text, and says what was kept.
    """
    parsed = await _parse(runner, queries, caller)
    if not parsed:
        return []
    text = ";\n".join(statement.text for statement, _ in parsed)
    label = Statement(
        text=text,
        kind="batch",
        parameter_names=frozenset(),
        query_hash=query_hash(text[:MAX_STATEMENT_BYTES]),
        leaves_state=True,
        is_read_only=all(statement.is_read_only for statement, _ in parsed),
        is_label=True,
        is_alter=any(statement.is_alter for statement, _ in parsed),
    )
    for index, (statement, _) in enumerate(parsed):
        try:
            runner.writes.check(statement, caller)
        except DuckDBException as error:
            runner.record_refusal(label, caller, error)
            raise BatchError(index, statement.text, error, rolled_back=True) from error

    # Readers' statements get one read-only transaction together, or one each.
    read_only = all(statement.in_read_only_transaction for statement, _ in parsed)
    if use_transaction:
        parsed = [
            (replace(statement, in_read_only_transaction=False), params)
            for statement, params in parsed
        ]

    def step(connection: Connection) -> list[R]:
        results = []
        with (
            transaction(connection, session.token, session.commits, read_only=read_only)
            if use_transaction
            else nullcontext()
        ):
            for index, (statement, params) in enumerate(parsed):
                try:
                    results.append(run_one(connection, statement, params, session))
                except EngineFailure:
                    raise
                except DuckDBException as error:
                    if session.commits.is_uncertain:
                        raise
                    raise BatchError(
                        index, statement.text, error, rolled_back=use_transaction
                    ) from error
        return results

    async with runner.session(label, caller, timeout) as session:
        return await session.run(step)


def refuse_inside(statement: Statement) -> None:
    """Refuse what cannot be part of a batch or a transaction.

    Raises:
        StatementRefusedError: it is a checkpoint, which is run under a lock of its own.
    """
    if statement.kind == "checkpoint":
        raise StatementRefusedError(
            "CHECKPOINT is not run inside a batch or transaction", hint="Send it on its own."
        )


async def _parse(
    runner: StatementRunner, queries: Sequence[Query], caller: Caller
) -> list[tuple[Statement, Params]]:
    parsed: list[tuple[Statement, Params]] = []
    pending = Pending()
    for index, query in enumerate(queries):
        sql, params = (query, None) if isinstance(query, str) else query
        try:
            statement = await runner.parse(sql, caller, pending=pending)
            try:
                refuse_inside(statement)
            except DuckDBException as error:
                runner.record_refusal(statement, caller, error)
                raise
            parsed.append((statement, params))
        except DuckDBException as error:
            raise BatchError(index, sql, error, rolled_back=True) from error
    return parsed
