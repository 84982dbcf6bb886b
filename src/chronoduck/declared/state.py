"""What is known of each piece of work, in a table of the served database: a backup has it, too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Generic, Protocol, Self, TypeVar

import orjson

from chronoduck.own_schema import OWN_SCHEMA

__all__ = ["RunState", "StateSession", "StateTable"]


class StateSession(Protocol):
    """Runs statements inside a transaction."""

    def execute(
        self, sql: str, params: Sequence[object] | Mapping[str, object] | None = None
    ) -> list[tuple[Any, ...]]: ...


@dataclass(frozen=True)
class RunState:
    """How the runs of one piece of work went. Times are ISO texts in UTC."""

    name: str
    last_run_at: str | None = None
    last_success_at: str | None = None
    last_seconds: float = 0.0
    runs: int = 0
    failures: int = 0
    """Runs that failed since the last success."""
    total_failures: int = 0
    error: dict[str, str] | None = None
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, fields: dict[str, Any]) -> Self:
        """Return it from what the table holds, of another version, too."""
        kept = {name: value for name, value in fields.items() if name in cls.__dataclass_fields__}
        for name, value in kept.items():
            if isinstance(value, list):
                kept[name] = tuple(value)
        return cls(**kept)

    def failed(self, error: dict[str, str], now: str) -> Self:
        """Return it after a failure."""
        return replace(
            self,
            last_run_at=now,
            runs=self.runs + 1,
            failures=self.failures + 1,
            total_failures=self.total_failures + 1,
            error=error,
        )


S = TypeVar("S", bound=RunState)


class StateTable(Generic[S]):
    """One table of states by name; every call is inside a transaction of its caller's."""

    def __init__(self, table: str, kind: type[S]) -> None:
        """``kind`` is a dataclass of values that JSON can hold; lists of it are tuples."""
        self._table = table
        self._name = f"{OWN_SCHEMA}.{table}"
        self._kind = kind

    def prepare(self, session: StateSession) -> None:
        """Make the table."""
        session.execute(f"CREATE SCHEMA IF NOT EXISTS {OWN_SCHEMA}")
        session.execute(f"CREATE TABLE IF NOT EXISTS {self._name} (name VARCHAR, facts VARCHAR)")

    def read(self, session: StateSession) -> dict[str, S]:
        """Return all that is known, by name; nothing in a database that never held any."""
        known = session.execute(
            "SELECT 1 FROM duckdb_tables() WHERE database_name = current_database() "
            "AND schema_name = $schema AND table_name = $table",
            {"schema": OWN_SCHEMA, "table": self._table},
        )
        if not known:
            return {}
        return {
            str(name): self._kind.of(orjson.loads(facts))
            for name, facts in session.execute(self._select)
        }

    @property
    def _select(self) -> str:
        return f"SELECT name, facts FROM {self._name}"

    def save(self, session: StateSession, state: S) -> None:
        """Put it in the place of what was known."""
        session.execute(f"DELETE FROM {self._name} WHERE name = $name", {"name": state.name})
        session.execute(
            f"INSERT INTO {self._name} VALUES ($name, $facts)",
            {"name": state.name, "facts": orjson.dumps(asdict(state)).decode()},
        )

    def forget(self, session: StateSession, name: str) -> None:
        """Remove all that is known of one."""
        session.execute(f"DELETE FROM {self._name} WHERE name = $name", {"name": name})
