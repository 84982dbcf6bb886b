"""Transactions that the service runs itself: loads, keys, exports."""

from __future__ import annotations

import asyncio
import threading
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
_LOOK_SECONDS = 0.01


class _Taken:
    """What a step returns when it is not its turn."""


class OwnTransactions:
    """Runs functions of several statements, each in one transaction and one entry of the list."""

    def __init__(
        self,
        runner: StatementRunner,
        caller: Caller,
        *,
        leaves_state: bool = True,
        is_group: bool = False,
    ) -> None:
        """``leaves_state``: the functions leave temporary tables behind, or may do so.

        ``is_group``: each carries several requests of the caller, which count as its statements; it
        has the deadline of a statement, not the longest one.
        """
        self._runner = runner
        self._caller = caller
        self._leaves_state = leaves_state
        self._is_group = is_group

    async def __call__(
        self, work: Callable[[SqlSession], T], /, turn: threading.Lock | None = None
    ) -> T:
        """Run one; of all that are given the same ``turn`` only one runs at a time."""
        timeout = None if self._is_group else self._runner.settings.max_statement_timeout
        async with self._runner.session(
            _LOAD, self._caller, timeout, is_counted=not self._is_group
        ) as session:

            def step(connection: Connection) -> T:
                with transaction(connection, session.token, session.commits):
                    return work(SqlSession(connection, session.token, session.commits))

            if turn is None:
                result = await session.run(step)
            else:
                # Taken in the worker: who waits for a worker has nothing that others wait for.
                while isinstance(found := await session.run(_in_turn(step, turn)), _Taken):
                    while turn.locked() and session.remaining_seconds > 0:  # noqa: ASYNC110 - freed in a thread
                        await asyncio.sleep(_LOOK_SECONDS)
                result = found
            if not self._leaves_state:
                session.mark_clean()
            return result


def _in_turn(
    step: Callable[[Connection], T], turn: threading.Lock
) -> Callable[[Connection], T | _Taken]:
    """Return the step as one that does nothing while the turn is another's: no worker waits for it."""

    def run(connection: Connection) -> T | _Taken:
        if not turn.acquire(blocking=False):
            return _Taken()
        try:
            return step(connection)
        finally:
            turn.release()

    return run
