"""Errors of a private copy, told as errors of the database that it was made of."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chronoduck.engine.offline.attempt import AttemptFailedError
from chronoduck.engine.offline.ways import UnopenableError
from chronoduck.errors import DuckDBException

__all__ = ["speaking_of"]

_DAMAGED = (
    "Keep the database as it is. Run `chronoduck runbook database-corrupt`, which says what to do."
)
_UNREPLAYABLE = (
    "Do not restart a running service. Run `chronoduck runbook wal-not-replayable`, which says what "
    "to do."
)
_UNDECIDED = (
    "Nothing is known to be wrong with the database. Try again while the machine is less busy, or "
    "raise DUCKDB_DEADLINE_OPENING."
)


@contextmanager
def speaking_of(database: Path, copy: Path) -> Iterator[None]:
    """Have errors inside name the database, which may be served, and not the copy, which is gone then."""
    try:
        yield
    except DuckDBException as error:
        old, new = str(copy), str(database)
        error.detail = error.detail.replace(old, new)
        error.operator_detail = error.operator_detail.replace(old, new)
        error.args = (error.detail,)
        error.hint = _hint(error)
        raise


def _hint(error: DuckDBException) -> str:
    if isinstance(error, UnopenableError):
        return _UNREPLAYABLE if error.lost else _DAMAGED
    if isinstance(error, AttemptFailedError):
        return _UNDECIDED if error.is_timeout else _DAMAGED
    return error.hint
