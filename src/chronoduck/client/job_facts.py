"""What is known of a job, for both clients."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from chronoduck.client.problems import error_of
from chronoduck.errors import DuckDBException, InvalidRequestError, StatementCancelledError

__all__ = ["JobFacts", "OnProgress", "finish", "pauses", "target_of"]

OnProgress = Callable[[Mapping[str, Any]], None]
"""Is called with a job's ``progress`` whenever something of it changed."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 2.0


class JobFacts:
    """A job as the service told of it last."""

    def __init__(self, fields: dict[str, Any]) -> None:
        self.fields = fields

    @property
    def id(self) -> str:
        """What it is asked for by."""
        return str(self.fields["id"])

    @property
    def state(self) -> str:
        """``running``, ``succeeded``, ``failed``, ``cancelled`` or ``interrupted``."""
        return str(self.fields["state"])

    @property
    def has_ended(self) -> bool:
        """Whether nothing of it will change."""
        return self.state != "running"

    @property
    def progress(self) -> Mapping[str, Any]:
        """``step``, ``done`` of ``total``, ``fraction``, ``eta_seconds``."""
        progress: Mapping[str, Any] = self.fields["progress"]
        return progress

    @property
    def summary(self) -> Mapping[str, Any] | None:
        """What came of it: ``row_count``, or the ``files`` of an export; None until it succeeded."""
        summary: Mapping[str, Any] | None = self.fields["result"]
        return summary

    @property
    def files(self) -> list[Mapping[str, Any]]:
        """The files of an export, each with ``name`` and ``bytes``."""
        return list((self.summary or {}).get("files", ()))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} {self.state}>"

    def error(self) -> DuckDBException | None:
        """Return why it has no result; None when it has one, or runs."""
        if self.state in ("running", "succeeded"):
            return None
        told = self.fields["error"]
        if told:
            return error_of(told)
        return StatementCancelledError(f"job {self.id} was {self.state}")


def pauses(timeout: float | None, job_id: str) -> Iterator[float]:
    """Yield how long to wait until a job is looked at again.

    Raises:
        TimeoutError: ``timeout`` seconds are over; the job goes on.
    """
    end = None if timeout is None else time.monotonic() + timeout
    pause = _FIRST_PAUSE
    while True:
        left = pause if end is None else end - time.monotonic()
        if left <= 0:
            raise TimeoutError(f"job {job_id} has not ended after {timeout} s; it goes on")
        yield min(pause, left)
        pause = min(1.5 * pause, _LONGEST_PAUSE)


def target_of(directory: Path, name: str) -> Path:
    """Return where a file of an export is written to.

    Raises:
        InvalidRequestError: its name leads out of the directory.
    """
    parts = PurePosixPath(name).parts
    if not parts or ".." in parts or PurePosixPath(name).is_absolute():
        raise InvalidRequestError(f"the service names a file {name!r}, which is no place in here")
    return directory.joinpath(*parts)


def finish(part: Path, target: Path) -> None:
    """Give a downloaded file its name, so that a power cut leaves it whole or not there."""
    _sync(part)
    part.replace(target)
    _sync(target.parent)


def _sync(path: Path) -> None:
    if os.name != "posix":  # a directory is no file there
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
