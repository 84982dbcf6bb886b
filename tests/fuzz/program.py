"""What one sequence does: lives of a process, statements, and their effect on a model."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

__all__ = ["BULK_ROWS", "Effect", "Life", "Model", "Program", "Step"]

BULK_ROWS = 122_880
"""One row group: DuckDB writes a statement of so many rows into the file, past the WAL."""


@dataclass(frozen=True)
class Effect:
    """What a statement that succeeds does to a table of ``id`` and ``n``."""

    kind: str
    table: str
    first: int = 0
    """The first id; or the new name's number; or the divisor of an update or delete."""
    count: int = 0
    """How many ids; or the remainder."""
    other: str = ""


@dataclass(frozen=True)
class Step:
    """One statement of one of the two connections."""

    connection: int
    sql: str
    effects: tuple[Effect, ...] = ()

    def as_list(self) -> list[Any]:
        """Return it as JSON can hold it."""
        return [self.connection, self.sql, [list(vars(effect).values()) for effect in self.effects]]


@dataclass(frozen=True)
class Life:
    """What one process does before it ends."""

    steps: tuple[Step, ...]
    is_killed: bool = True
    """Whether it ends without closing; a transaction that is open then never happened."""


@dataclass(frozen=True)
class Program:
    """A whole sequence: one database, some lives."""

    seed: int
    storage: str
    lives: tuple[Life, ...]

    @property
    def has_macros(self) -> bool:
        """Whether one of its statements is about a macro."""
        return any(" MACRO " in step.sql for life in self.lives for step in life.steps)

    @property
    def statements(self) -> int:
        """How many statements it holds."""
        return sum(len(life.steps) for life in self.lives)


Tables = dict[str, dict[int, int]]


@dataclass
class Model:
    """Tables as plain dictionaries of ``id`` to ``n``, independent of any engine.

    The two connections never touch each other's tables, so that each one's transaction is applied at
    its COMMIT, whatever the other did meanwhile.
    """

    tables: Tables = field(default_factory=dict)
    _open: dict[int, list[Effect] | None] = field(default_factory=lambda: {0: None, 1: None})

    def apply(self, step: Step, *, is_ok: bool) -> None:
        """Follow one statement that ended; an error ends its transaction by a ROLLBACK."""
        if not is_ok:
            self._open[step.connection] = None
            return
        word = step.sql.split()[0]
        pending = self._open[step.connection]
        if word == "BEGIN":
            self._open[step.connection] = []
        elif word in ("COMMIT", "ROLLBACK"):
            self._open[step.connection] = None
            if word == "COMMIT":
                for effect in pending or ():
                    self._apply(effect)
        elif pending is not None:
            pending.extend(step.effects)
        else:
            for effect in step.effects:
                self._apply(effect)

    def die(self) -> None:
        """Forget what no COMMIT ended."""
        self._open = {0: None, 1: None}

    def copy(self) -> Model:
        """Return a model of the same state."""
        return Model(
            {name: dict(rows) for name, rows in self.tables.items()},
            {key: None if value is None else list(value) for key, value in self._open.items()},
        )

    def sums(self) -> dict[str, tuple[int, int, int]]:
        """Return rows, sum of ids, sum of ``n`` of each table."""
        return {
            name: (len(rows), sum(rows), sum(rows.values())) for name, rows in self.tables.items()
        }

    def _apply(self, effect: Effect) -> None:
        tables, name = self.tables, effect.table
        if effect.kind == "create":
            tables[name] = {}
        elif effect.kind == "drop":
            tables.pop(name, None)
        elif effect.kind == "rename":
            tables[effect.other] = tables.pop(name)
        elif effect.kind == "copy":
            tables[name] = dict(tables[effect.other])
        elif name in tables:
            tables[name] = _changed(tables[name], effect)


def _changed(rows: dict[int, int], effect: Effect) -> dict[int, int]:
    """Return a table's rows after a statement about them."""
    if effect.kind == "truncate":
        return {}
    if effect.kind == "delete":
        return {i: n for i, n in rows.items() if i % effect.first != effect.count}
    if effect.kind == "update":
        return {i: n + (i % effect.first == effect.count) for i, n in rows.items()}
    assert effect.kind in ("insert", "upsert"), effect.kind
    step = 1000 if effect.kind == "upsert" else 0
    for i in _ids(effect):
        rows[i] = rows[i] + step if i in rows else i % 97
    return rows


def _ids(effect: Effect) -> range:
    return range(effect.first, effect.first + effect.count)
