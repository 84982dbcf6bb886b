"""Reading a database that no process serves: in a child, and by another way if a plain open fails."""

from __future__ import annotations

import base64
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from chronoduck.engine.inspection import Inspection
from chronoduck.engine.offline.attempt import AttemptFailedError, Budget, Run, attempt
from chronoduck.engine.offline.ways import Opening, open_by_ways

__all__ = ["Reading", "read_database"]

Progress = Callable[[int, int], None]
_READING = "read:"


@dataclass(frozen=True)
class Reading:
    """What is in a database, and how it was opened."""

    inspection: Inspection
    opening: Opening


def read_database(
    path: Path,
    *,
    full: bool,
    checkpoint: bool = False,
    may_shorten: bool = False,
    newer_engine: Path | None = None,
    seconds: float = 120.0,
    memory_limit: str = "1GB",
    on_progress: Progress = lambda done, total: None,
    run: Run = attempt,
) -> Reading:
    """Count the rows, and with ``full`` read and hash every column; never in this process.

    ``checkpoint``: the file is the caller's own copy; its WAL is taken into it, by every way that loses
    nothing (``newer_engine`` is for one of them), and with ``may_shorten`` by the last one, too. Without
    ``checkpoint`` nothing is changed and only a plain read-only open is tried. ``seconds`` is the
    deadline of an empty database; more is allowed for a larger one.

    Raises:
        UnopenableError: no way opens it.
        AttemptFailedError: a table cannot be read, or not within the time.
        DiskFullError: there is no space for the copy that other ways need.
    """

    def inspect(checkpoint: bool) -> Inspection:
        found = run(
            "inspect",
            path,
            Budget.of(path, seconds),
            on_progress,
            full=full,
            checkpoint=checkpoint,
            memory_limit=memory_limit,
        )
        inspection: Inspection = pickle.loads(  # noqa: S301 - our own child wrote it
            base64.b64decode(found["inspection"])
        )
        return inspection

    try:
        return Reading(inspect(checkpoint), Opening())
    except AttemptFailedError as error:
        if not checkpoint or error.stage.startswith(_READING):
            raise
        first = error
    opening = open_by_ways(
        path,
        first.detail,
        checkpoint=True,
        may_shorten=may_shorten,
        skip_again=first.is_timeout,
        newer_engine=newer_engine,
        seconds=seconds,
        memory_limit=memory_limit,
        run=run,
    )
    return Reading(inspect(False), opening)
