"""Judging a statement again when a definition changed between its judgement and its run."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from chronoduck.engine.analyzers.analysis import Analysis
from chronoduck.engine.database import Connection
from chronoduck.engine.live_definitions import LiveDefinitions
from chronoduck.errors import TransactionConflictError
from chronoduck.principals import Principal
from chronoduck.sql.definitions import Definitions, MacroBody, ViewBody
from chronoduck.sql.guard import Origin, Pending
from chronoduck.sql.statements import Statement

__all__ = ["Rejudging"]

_TIMES = 3
_PATIENCE_SECONDS = 30.0
"""How long a worker waits for a judgement; a deadline of the statement ends it before."""


@dataclass
class Rejudging:
    """Looks, in a worker thread, whether the judgement of a statement still holds.

    A view or macro may become another one while the statement waits. What a committed transaction
    changed is counted before and after its COMMIT, so that a statement that saw no change runs with
    the definitions that it was judged by. Costs nothing until one changes, then 5-20 ms once.
    """

    analysis: Analysis
    live: LiveDefinitions
    loop: asyncio.AbstractEventLoop
    statement: Statement
    principal: Principal
    origin: Origin
    definitions: Definitions
    created: tuple[MacroBody | ViewBody, ...] = ()
    """What the statements before it in its batch define."""
    statements: tuple[str, ...] = ()

    def __call__(self, connection: Connection) -> None:
        """Return when the statement may run on the connection.

        Raises:
            DuckDBQueryError: it may not, with the definitions that there are now.
            TransactionConflictError: they change again and again, or the statement is another one now.
        """
        for _ in range(_TIMES):
            if self.live.is_settled(self.definitions):
                return
            # A batch sees definitions of its own; what others committed is looked at elsewhere.
            is_in_batch = bool(self.created or self.statements)
            if self.live.settle(self.definitions, None if is_in_batch else connection):
                return
            self._judge()
        raise TransactionConflictError("views or macros keep changing while the statement waits")

    def _judge(self) -> None:
        pending = None
        if self.created or self.statements:
            pending = Pending()
            pending.created, pending.statements = self.created, self.statements
        again = asyncio.run_coroutine_threadsafe(
            self.analysis.judge(self.statement.text, self.principal, self.origin, pending),
            self.loop,
        )
        try:
            verdict = again.result(_PATIENCE_SECONDS)
        except TimeoutError as error:
            again.cancel()
            raise TransactionConflictError(
                "a view or macro changed, and the statement could not be judged again in time"
            ) from error
        if verdict.statement != self.statement or verdict.definitions is None:
            raise TransactionConflictError("a view or macro changed while the statement waited")
        self.definitions = verdict.definitions
