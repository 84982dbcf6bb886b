"""What was used and who waits, in a file beside the database: a restart must not forgive anything."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from chronoduck.errors.system import reason_of
from chronoduck.logs import get_logger
from chronoduck.service.penalties import EXEMPT, Penalties
from chronoduck.service.quotas import Quotas
from chronoduck.storage.durable_write import write_durably

__all__ = ["UsageFile"]

_VERSION = 1
_INTERVAL_SECONDS = 1.0
_ENGINE_SECONDS = 3600.0
"""What was used longer ago counts no more."""
_REMEMBERED = 1_000
"""Principals in the file, the ones seen last."""
_MOST_BYTES = 32_000_000
_NOT_OF_THAT_FORM = (ValueError, TypeError, KeyError, AttributeError)


class UsageFile:
    """Written at most once a second, when something changed: to a temporary name, synced, renamed.

    So a crash forgets one second of use at most. A file that cannot be read, or written, stops nothing.
    For one event loop.
    """

    def __init__(
        self,
        path: Path,
        quotas: Quotas,
        penalties: Penalties,
        *,
        clock: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        """``steady`` is the clock of the penalties."""
        self._path = path
        self._quotas = quotas
        self._penalties = penalties
        self._clock = clock
        self._steady = steady
        self._accounts: OrderedDict[str, tuple[float, list[list[list[float]]]]] = OrderedDict()
        """When each principal's use was noted, and what it was."""
        self._saved_changes = 0
        """Of the box: what it had changed when the file was last written whole."""
        self._has_unsaved_accounts = False
        self._task: asyncio.Task[None] | None = None
        self._writing: asyncio.Task[None] | None = None
        self._one_at_a_time = asyncio.Lock()
        self._failure: OSError | None = None
        """Why the last write failed, until one succeeds."""
        self._log = get_logger("service")

    def load(self) -> None:
        """Take in what an earlier process wrote; blocks. Nothing that is there can make a start fail."""
        try:
            if self._path.stat().st_size > _MOST_BYTES:
                raise ValueError("it is too long")
            told = orjson.loads(self._path.read_bytes())
            if told["version"] != _VERSION:
                raise ValueError("it is of another version")
            now = self._clock()
            box = told["box"]
            accounts = {
                str(name): (float(at), state) for name, (at, state) in told["accounts"].items()
            }
            self._penalties.box.restore(self._steady() - max(0.0, now - float(box["at"])), box)
        except FileNotFoundError:
            return
        except (OSError, *_NOT_OF_THAT_FORM) as error:
            self._log.warning("usage_not_read", reason=str(error)[:200])
            return
        names = told.get("names", {})
        self._penalties.names.update({party: str(names[party]) for party in names})
        self._accounts = OrderedDict(accounts)
        self._quotas.restore(
            {name: (state, max(0.0, now - at)) for name, (at, state) in accounts.items()}
        )

    def start(self) -> None:
        """Begin to write once a second."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """Write for the last time; idempotent."""
        task, self._task = self._task, None
        if task is None:
            return
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await self.save()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(_INTERVAL_SECONDS)
            await self.save()

    async def save(self) -> OSError | None:
        """Write if anything changed; when it returns, all that was known at its call is written.

        Returns why it is not. What could not be written, or was not waited for, is written by the
        next call.
        """
        async with self._one_at_a_time:
            await self._save()
            return self._failure

    async def _save(self) -> None:
        if self._writing is not None:  # of a call that was cancelled: it must not come last
            await asyncio.wait([self._writing])
        changed = self._quotas.changes()
        now = self._clock()
        for name, state in changed.items():
            if name not in EXEMPT:
                self._accounts[name] = (now, state)
                self._accounts.move_to_end(name)
                self._has_unsaved_accounts = True
        box = self._penalties.box
        if box.changes == self._saved_changes and not self._has_unsaved_accounts:
            return
        self._forget(now)
        box.tidy(self._steady())
        told = {
            "version": _VERSION,
            "box": {"at": now, **box.state(self._steady())},
            "names": dict(self._penalties.names),
            "accounts": dict(self._accounts),
        }
        # Until it is written nothing counts as saved: whoever waits for it may be cancelled.
        self._writing = asyncio.ensure_future(self._write_all(told, box.changes))
        await asyncio.shield(self._writing)

    async def _write_all(self, told: dict[str, Any], changes: int) -> None:
        try:
            await asyncio.to_thread(self._write, told)
        except OSError as error:
            if self._failure is None:
                self._log.warning("usage_not_saved", reason=reason_of(error))
            self._failure = error
        else:
            self._failure = None
            # One write at a time: no account has changed since in ``_accounts``.
            self._saved_changes, self._has_unsaved_accounts = changes, False

    def _forget(self, now: float) -> None:
        accounts = self._accounts
        while accounts:
            name, (at, _) = next(iter(accounts.items()))
            if len(accounts) <= _REMEMBERED and now - at < _ENGINE_SECONDS:
                return
            del accounts[name]

    def _write(self, told: dict[str, Any]) -> None:
        write_durably(self._path, [orjson.dumps(told)], 0o600)
