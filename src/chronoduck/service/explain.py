"""A statement's plan, measured or not."""

from __future__ import annotations

import time
from dataclasses import dataclass

from chronoduck.engine.database import Connection
from chronoduck.engine.execution import Params, SqlSession, begin
from chronoduck.engine.profiling import MEASURE_OPERATORS
from chronoduck.engine.scopes.registry import has_filters
from chronoduck.engine.tables_like_files import check_tables
from chronoduck.errors import StatementRefusedError
from chronoduck.service.records import Caller
from chronoduck.service.runner import StatementRunner
from chronoduck.service.scan_limit import check_scan
from chronoduck.sql.judged_text import explained

__all__ = ["Plan", "explain_statement"]


@dataclass(frozen=True)
class Plan:
    """The plan as DuckDB writes it (text or JSON), and the seconds it took to make it."""

    text: str
    execution_time: float
    query_hash: str


async def explain_statement(
    runner: StatementRunner,
    sql: str,
    params: Params,
    *,
    analyze: bool,
    as_json: bool,
    timeout: float | None,
    caller: Caller,
) -> Plan:
    """Return the plan; with ``analyze`` the statement is run and its operators are measured.

    Raises:
        StatementRefusedError: ``analyze`` would run a write.
        DuckDBQueryError: the statement is at fault.
    """
    scope = caller.principal.scope
    if scope is not None and has_filters(scope):
        raise StatementRefusedError(
            "this key sees only some rows, and a plan's estimates count them all",
            hint="Keys without row filters may ask for plans.",
            rule="scope",
        )
    statement = await runner.parse(sql, caller)
    if analyze and not statement.is_read_only:
        refusal = StatementRefusedError(
            f"EXPLAIN ANALYZE would run this {statement.kind.upper()}",
            hint="Leave analyze out to see the plan without running it.",
        )
        runner.record_refusal(statement, caller, refusal)
        raise refusal
    options = [*(["ANALYZE"] if analyze else []), "FORMAT JSON" if as_json else "FORMAT TEXT"]

    def step(connection: Connection) -> Plan:
        if analyze:
            check_scan(connection, statement, params, session)
        if statement.recheck is not None:
            statement.recheck(connection)
        own = SqlSession(connection, session.token, session.commits)
        own.execute(MEASURE_OPERATORS)
        started = time.perf_counter()
        if statement.in_read_only_transaction:
            begin(connection, session.token, session.commits, read_only=True)
        check_tables(connection, statement.tables_like_files)
        text = "\n".join(
            str(row[1]) for row in own.execute(explained(statement.judged, *options), params)
        )
        return Plan(text, round(time.perf_counter() - started, 6), statement.query_hash)

    # Not marked clean: the next user gets a connection that measures as all do.
    async with runner.session(statement, caller, timeout) as session:
        return await session.run(runner.routed(statement, step))
