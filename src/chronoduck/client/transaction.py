"""Statements that are collected to be sent together."""

from __future__ import annotations

from dataclasses import dataclass, field

from chronoduck.client.calls import Params, Statement
from chronoduck.client.result import Result

__all__ = ["Transaction"]


@dataclass
class Transaction:
    """What a block of ``Client.transaction`` collects."""

    statements: list[Statement] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)
    """In the order of the statements, once they were run."""

    def execute(self, sql: str, params: Params = None) -> None:
        """Add a statement; it is run at the end of the block."""
        self.statements.append((sql, params))
