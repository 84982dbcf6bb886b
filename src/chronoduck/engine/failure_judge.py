"""Whether the engine or the disk has failed: measured, since what an error says may be a user's words."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

from chronoduck.engine.volume_probe import VolumeProbe
from chronoduck.errors import BatchError, DuckDBException, EngineBugError
from chronoduck.logs import get_logger
from chronoduck.sql.engine_errors import (
    DamagedFileError,
    EngineFailure,
    FatalBugError,
    disk_is_full,
)

__all__ = ["FailureJudge", "Measurable"]

_log = get_logger("engine")


class Measurable(Protocol):
    """An instance that can be asked whether it still answers."""

    generation: int

    def is_valid(self) -> bool: ...


class FailureJudge:
    """Turns a suspicion into a fact. Belongs to one instance; call it in worker threads."""

    def __init__(
        self,
        instance: Measurable,
        probe: VolumeProbe,
        places: Callable[[], Iterable[Path | None]] = tuple,
    ) -> None:
        """``places``: directories that no answer may name."""
        self._places = places
        self._instance = instance
        self.probe = probe
        self._lock = threading.Lock()
        self._lost_generation = -1

    def judge(
        self, error: DuckDBException, generation: int, *, is_checkpoint: bool = False
    ) -> DuckDBException:
        """Return the error as measurements show it.

        ``generation``: the opening of the instance that the statement ran in. ``is_checkpoint``: it was
        the engine's own work that failed, and no statement's.
        """
        if isinstance(error, BatchError):
            inner = self.judge(error.cause, generation, is_checkpoint=is_checkpoint)
            if inner is error.cause:
                return error
            return BatchError(error.index, error.sql, inner, rolled_back=error.rolled_back)
        if isinstance(error, EngineBugError) and not isinstance(error, EngineFailure):
            return self._judge_bug(error, generation)
        if not isinstance(error, EngineFailure):
            return error
        if error.is_fatal:
            return self._judge_loss(error, generation, is_checkpoint=is_checkpoint)
        if isinstance(error, DamagedFileError):
            return error  # two looks at the file have shown it
        if error.otherwise is not None:
            return self._judge_disk(error, error.otherwise)
        return error

    def _judge_bug(self, bug: EngineBugError, generation: int) -> DuckDBException:
        """Tell an internal error that ended the instance from one that did not."""
        if self._is_alive(generation):
            return bug
        self._is_first_to_notice(generation)  # whoever notices it later has not caused it
        failure = FatalBugError(bug)
        failure.__cause__ = bug.__cause__
        return failure

    def _judge_loss(
        self, failure: EngineFailure, generation: int, *, is_checkpoint: bool
    ) -> DuckDBException:
        """Close nothing that still answers; and tell who has ended what does not."""
        if self._is_alive(generation):
            failure.is_fatal = False
            if not failure.had_no_effect:
                _log.warning("failure_not_confirmed", said=failure.operator_detail[:500])
            return failure
        if failure.had_no_effect or not self._is_first_to_notice(generation):
            return failure
        if isinstance(failure, DamagedFileError) or is_checkpoint:
            failure.is_confirmed = True
        else:
            found = self.probe.look()
            failure.is_confirmed = found.is_failed or found.is_full
        failure.is_statements_fault = not failure.is_confirmed
        return failure

    def _is_first_to_notice(self, generation: int) -> bool:
        """Whether nobody has noticed yet that this opening of the instance is lost: it counts once."""
        with self._lock:
            is_first = self._lost_generation != generation
            self._lost_generation = generation
        return is_first

    def _judge_disk(self, failure: EngineFailure, otherwise: DuckDBException) -> DuckDBException:
        found = self.probe.look()
        if found.is_full:
            told: DuckDBException = disk_is_full(failure.operator_detail)
        elif found.is_failed:
            failure.is_confirmed = True
            return failure
        else:
            told = otherwise
            told.detail = self._without_places(told.detail)
        told.__cause__ = failure.__cause__
        return told

    def _without_places(self, detail: str) -> str:
        """Keep to ourselves where the database and its spill files are: a user reads this."""
        for place in filter(None, self._places()):
            detail = detail.replace(f"{place}/", "")
        return detail

    def _is_alive(self, generation: int) -> bool:
        """Whether the opening that the statement ran in still answers, or was replaced already."""
        return self._instance.generation != generation or self._instance.is_valid()
