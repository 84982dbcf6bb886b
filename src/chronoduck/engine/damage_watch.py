"""What this process knows of damage in its database file: found by failed statements and checkpoints."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import duckdb

from chronoduck.engine.file_damage import Damage, confirm, find_damage_in, points_at_file
from chronoduck.engine.paths import find_descriptor
from chronoduck.errors import BatchError, DuckDBException, DuckDBQueryError, EngineBugError
from chronoduck.logs import get_logger
from chronoduck.sql.engine_errors import DamagedFileError, EngineFailure

__all__ = ["DamageWatch"]

_OF_THE_ENGINE = (
    duckdb.IOException,
    duckdb.FatalException,
    duckdb.InternalException,
    duckdb.SerializationException,
    duckdb.TransactionException,
    OSError,  # pyarrow wraps the engine's errors while a result streams
)
_log = get_logger("engine")


class _OpenFile:
    """The database file through DuckDB's own descriptor: closing another one would drop its lock."""

    def __init__(self, path: Path) -> None:
        descriptor = find_descriptor(path)
        if descriptor is None:
            raise FileNotFoundError(path)
        self._path, self._descriptor = path, descriptor

    def read(self, offset: int, count: int) -> bytes:
        data = os.pread(self._descriptor, count, offset)
        self._check()
        return data

    def size(self) -> int:
        return self._check().st_size

    def _check(self) -> os.stat_result:
        """Refuse a number that stands for another file since the instance was closed."""
        facts = os.fstat(self._descriptor)
        if not os.path.samestat(facts, self._path.stat()):
            raise FileNotFoundError(self._path)
        return facts


class DamageWatch:
    """Belongs to one open database; call it in threads."""

    def __init__(self, database: Path) -> None:
        self._database = database
        self._lock = threading.Lock()
        self.found = Damage()

    def judge(self, error: DuckDBException) -> DuckDBException:
        """Return the error, or another one in its place when the file shows damage where it points.

        What DuckDB raised is the error's cause.
        """
        if isinstance(error, BatchError):
            inner = self.judge(error.cause)
            if inner is error.cause:
                return error
            return BatchError(error.index, error.sql, inner, rolled_back=error.rolled_back)
        cause = error.__cause__
        if cause is None or not _may_be_damage(error, cause):
            return error
        damage = self.look(str(cause))
        if not damage:
            return error
        failure = error if isinstance(error, EngineFailure) else None
        return DamagedFileError(
            f"the database file is damaged: {damage}",
            operator_detail=f"{self._database} is damaged: {damage} ({error.operator_detail})",
            is_fatal=failure is not None and failure.is_fatal,
        )

    def look(self, text: str) -> Damage:
        """Return, and remember, the damage that an error points at if the file shows it."""
        if not points_at_file(text):
            return Damage()
        try:
            damage = confirm(text, _OpenFile(self._database))
        except OSError:
            return Damage()  # it is closed, or replaced
        self._note(damage)
        return damage

    def _note(self, damage: Damage) -> None:
        with self._lock:
            is_new = bool(damage) and self.found | damage != self.found
            self.found |= damage
        if is_new:
            _log.error(
                "database_file_damaged",
                damage=str(damage),
                file=str(self._database),
                next="chronoduck runbook database-corrupt",
            )

    def recheck(self) -> None:
        """Forget what is not damaged any more: a block that nothing uses since a checkpoint."""
        if not self.found:
            return
        try:
            found = find_damage_in(_OpenFile(self._database), self.found.blocks)
        except OSError:
            return
        with self._lock:
            self.found = found

    def get_status(self) -> dict[str, Any]:
        """Return how many blocks are damaged or missing, and a sentence; for health."""
        found = self.found
        return {"blocks": len(found.blocks | found.missing), "sentence": str(found)}


def _may_be_damage(error: DuckDBException, cause: BaseException) -> bool:
    """Whether the engine, and not the words of a statement, can be behind an error."""
    if isinstance(error, EngineFailure):
        return not error.had_no_effect
    if not isinstance(error, EngineBugError) and type(error) is not DuckDBQueryError:
        return False
    # DuckDB 2 raises its base class for damage; what statements do wrong has classes of its own.
    return type(cause) is duckdb.Error or isinstance(cause, _OF_THE_ENGINE)
