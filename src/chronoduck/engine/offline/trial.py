"""Trying the values of a database that no process serves: a child that dies has found one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from chronoduck.engine.offline.attempt import AttemptFailedError, Budget, Run, attempt
from chronoduck.engine.poisoned_values import TRYING, PoisonedColumn

__all__ = ["Poisoned", "find_poisoned"]

Progress = Callable[[int, int], None]
_MOST_DEATHS = 20


@dataclass(frozen=True)
class Poisoned:
    """Columns whose values DuckDB does not survive, and all names by which they are read."""

    columns: tuple[PoisonedColumn, ...] = ()
    names: tuple[str, ...] = ()
    """Tables, and views and macros that read them; in lower case."""


def find_poisoned(
    path: Path,
    *,
    seconds: float = 120.0,
    memory_limit: str = "1GB",
    run: Run = attempt,
) -> Poisoned:
    """Return the columns that hold values which end DuckDB; never by reading them in this process.

    A child that dies, hangs or reports an internal error is replaced by one that leaves that column out.

    Raises:
        AttemptFailedError: it cannot be opened, or too many columns end a child.
    """
    deadly: list[PoisonedColumn] = []
    while True:
        try:
            found = run(
                "try",
                path,
                Budget.of(path, seconds),
                lambda done, total: None,
                skipped=[column.name for column in deadly],
                dead=[column.table for column in deadly],
                memory_limit=memory_limit,
            )
        except AttemptFailedError as error:
            if not error.stage.startswith(TRYING) or len(deadly) >= _MOST_DEATHS:
                raise
            name = error.stage.removeprefix(TRYING).strip()
            reason = (
                "reading it ends the engine" if error.is_dead else "reading it is an internal error"
            )
            deadly.append(_column_of(name, reason))
            continue
        others = [PoisonedColumn(*fields) for fields in found["columns"]]
        return Poisoned((*deadly, *others), tuple(found["names"]))


def _column_of(name: str, reason: str) -> PoisonedColumn:
    schema, _, rest = name.partition(".")
    table, _, column = rest.partition(".")
    return PoisonedColumn(schema, table, column, "", reason)
