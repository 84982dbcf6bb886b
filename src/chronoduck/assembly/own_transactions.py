"""Transactions that the service runs itself: loads, keys, exports."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from chronoduck.engine.database import Connection
from chronoduck.engine.execution import SqlSession, transaction
from chronoduck.service.records import Caller
from chronoduck.service.runner import StatementRunner
from chronoduck.sql.statements import Statement

__all__ = ["OwnTransactions"]

T = TypeVar("T")
_LOAD = Statement(
    text="-- load of a file",
    kind="load",
    parameter_names=frozenset(),
    query_hash="",
    leaves_state=True,
    is_label=True,
)


class OwnTransactions:
    """Runs functions of several statements, each in one transaction and one entry of the list."""

    def __init__(
        self, runner: StatementRunner, caller: Caller, *, leaves_state: bool = True
    ) -> None:
        """``leaves_state``: the functions leave temporary tables behind, or may do so."""
        self._runner = runner
        self._caller = caller
        self._leaves_state = leaves_state

    async def __call__(self, work: Callable[[SqlSession], T]) -> T:
        timeout = self._runner.settings.max_statement_timeout
        async with self._runner.session(_LOAD, self._caller, timeout) as session:

            def step(connection: Connection) -> T:
                with transaction(connection, session.token, session.commits):
                    return work(SqlSession(connection, session.token, session.commits))

            result = await session.run(step)
            if not self._leaves_state:
                session.mark_clean()
            return result
