"""The reaction to a WAL that a start cannot replay, and to a checkpoint that does not end.

Until the data is saved nothing may replace this process: its memory holds the only whole copy.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from chronoduck.engine.checkpoints import Checkpointer
from chronoduck.engine.database import DuckDBInstance
from chronoduck.engine.offline import free_name, remove_database, rename_aside
from chronoduck.engine.rescue_copy import RescueCopy, copy_living_database
from chronoduck.errors import (
    DiskFullError,
    DuckDBException,
    TransactionConflictError,
    WalNotReplayableError,
)
from chronoduck.logs import get_logger
from chronoduck.resilience.write_gate import WritersBusyError
from chronoduck.shadow.link import ShadowLink
from chronoduck.sql.engine_errors import EngineFailure
from chronoduck.storage.durable_write import fsync_directory

__all__ = ["RefutedWal"]

_READERS_SECONDS = 2.0
"""How long older readers may keep the saving checkpoint from running; at most half of its time."""
_TRY_SECONDS = 15.0
"""How long the checkpoint is tried before writes are refused and the copy is made."""
_SLACK_SECONDS = 1.0
_AGAIN_SECONDS = 5.0
_LOOK_SECONDS = 0.1
_FAILED_SECONDS = (0.5, 1.0, 2.0, 5.0, 15.0, 60.0)
"""Waits after one failure behind the other."""
_HARMLESS = 4
"""The waits up to here are for failures that leave the instance alive; others stop all statements."""


class RefutedWal:
    """Lives on the event loop while the database is open."""

    def __init__(
        self,
        instance: DuckDBInstance,
        checkpointer: Checkpointer,
        interrupt_readers: Callable[[float], int],
        is_checkpoint_stuck: Callable[[], bool],
        on_stuck: Callable[[str], None],
        iteration: Callable[[], int | None],
    ) -> None:
        """``interrupt_readers`` ends readers older than so many seconds and returns how many.

        ``is_checkpoint_stuck``: whether a CHECKPOINT that a user sent does not end.
        ``on_stuck`` may begin to replace this process.
        ``iteration`` returns the number of the checkpoint that the WAL follows.
        """
        self._instance = instance
        self._settings = instance.settings
        self._checkpointer = checkpointer
        self._interrupt_readers = interrupt_readers
        self._is_checkpoint_stuck = is_checkpoint_stuck
        self._on_stuck = on_stuck
        self._iteration = iteration
        self._shadow: ShadowLink | None = None
        self._task: asyncio.Task[None] | None = None
        self._log = get_logger("engine")
        self._put_off = ""
        self._failures = 0
        self.refusing = ""
        """Why writes are refused; empty while they are not."""
        self.rescue_file: Path | None = None
        self.last_error = ""

    def watch(self, shadow: ShadowLink) -> None:
        """Ask this shadow what a start would do."""
        self._shadow = shadow

    async def stop(self) -> None:
        """End; what was refused stays refused."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    # --- what others ask ----------------------------------------------------------------------

    def check_write(self) -> None:
        """Refuse a write while one more transaction would only be one more to lose.

        Raises:
            WalNotReplayableError: writes are refused.
        """
        if self.refusing:
            raise WalNotReplayableError(f"writes are refused: {self.refusing}")

    def replace_process(self, reason: str) -> None:
        """Have this process replaced, unless the next one could not open the database."""
        if self._is_checkpoint_stuck() and not self.refusing and not self._is_proven:
            self.note_hanging()
        if self._is_refuted or (self.refusing and not self._is_proven):
            if not self._put_off:
                self._log.error("replacement_put_off", reason=reason, because=self._why())
            self._put_off = reason
            return
        self._on_stuck(reason)

    def get_status(self) -> dict[str, Any]:
        """Return why writes are refused, and where the copy is; for health."""
        return {
            "refusing": self.refusing,
            "hanging_seconds": self._checkpointer.hanging_seconds,
            "is_copied": self.rescue_file is not None,
        }

    @property
    def _is_refuted(self) -> bool:
        return self._shadow is not None and self._shadow.status.refuted is not None

    @property
    def _is_proven(self) -> bool:
        """Whether the shadow has proven everything that the WAL holds now."""
        if self._shadow is None or self._shadow.status.verdict != "proven":
            return False
        proven, size = self._shadow.status.proven, self._checkpointer.look()
        if proven is None:
            return False
        return not size or (proven.offset >= size and proven.iteration == self._iteration())

    def _why(self) -> str:
        return self.refusing or "a start could not replay the WAL"

    # --- what happens -------------------------------------------------------------------------

    def note_refuted(self, reason: str) -> None:
        """Save the data: a start would fail."""
        self._begin(self._save(reason))

    def note_hanging(self) -> None:
        """Refuse writes: a checkpoint does not end, and cannot be interrupted."""
        self.refusing = "a checkpoint does not end"
        self._log.error("checkpoint_hangs", seconds=self._checkpointer.hanging_seconds)
        self._begin(self._wait_for_end())

    def _begin(self, work: Any) -> None:
        if self._task is not None and not self._task.done():
            work.close()
            return
        self._task = asyncio.get_running_loop().create_task(work)

    async def _save(self, reason: str) -> None:
        self._log.error("wal_refuted", reason=reason, action="checkpoint")
        self._failures = 0
        while self._is_refuted:
            running = asyncio.get_running_loop().create_task(self._checkpoint())
            try:
                await asyncio.wait(
                    {running}, timeout=self._settings.checkpoint.timeout + _SLACK_SECONDS
                )
            except asyncio.CancelledError:
                running.cancel()
                raise
            if running.done() and running.result():
                self._log.warning("wal_refuted_checkpointed")
                self._go_on()
                return
            if not self.refusing:
                self.refusing = "a start could not replay the WAL, and CHECKPOINT fails"
                self._log.error("writes_refused", reason=self.refusing, error=self.last_error)
            await self._rescue()
            if not running.done():
                await running  # the end of this process, or of a checkpoint that was only slow
            await asyncio.sleep(max(_AGAIN_SECONDS, self._wait_after_failure))
        self._go_on()

    @property
    def _wait_after_failure(self) -> float:
        """Seconds until the next checkpoint, after one that did not meet another transaction."""
        if not self._failures:
            return _LOOK_SECONDS
        return _FAILED_SECONDS[min(self._failures, len(_FAILED_SECONDS)) - 1]

    async def _checkpoint(self) -> bool:
        """Run a checkpoint; return whether it went well within the time."""
        started = time.monotonic()
        limit = min(_TRY_SECONDS, self._settings.checkpoint.timeout)
        patience = min(_READERS_SECONDS, limit / 2)
        while True:
            try:
                # A CHECKPOINT without a commit before it leaves the WAL as it is.
                await self._checkpointer.checkpoint_something(is_rescue=True)
            except (TransactionConflictError, WritersBusyError) as error:
                # DuckDB refuses after DDL while any older transaction is open, readers included.
                if time.monotonic() - started > patience:
                    count = self._interrupt_readers(patience)
                    if count:
                        self._log.warning("readers_interrupted", count=count)
                self.last_error = error.operator_detail
                self._failures = 0
            except DuckDBException as error:
                self.last_error = error.operator_detail
                self._failures += 1
                if not isinstance(error, EngineFailure):
                    self._failures = min(self._failures, _HARMLESS)
            else:
                self.last_error = ""
                return True
            if time.monotonic() + self._wait_after_failure > started + limit:
                return False
            await asyncio.sleep(self._wait_after_failure)

    async def _wait_for_end(self) -> None:
        """Watch a checkpoint that hangs: it ends after all, or this process is replaced, or neither."""
        while self._checkpointer.hanging_seconds is not None or self._is_checkpoint_stuck():
            if self._is_refuted:
                await self._rescue()
            elif self._is_proven:
                self._on_stuck("a checkpoint does not end")
            await asyncio.sleep(1.0)
        if self._is_refuted:  # it failed in the end
            await self._save("the checkpoint that did not end has not taken the WAL into the file")
        self._go_on()

    def _go_on(self) -> None:
        if self.refusing:
            self._log.warning("writes_go_on", after=self.refusing)
        self.refusing = self._put_off = ""

    async def _rescue(self) -> None:
        """Copy the living database into a new file, once."""
        if self.rescue_file is not None:
            return
        database = self._settings.database_path
        target = free_name(database.with_name(database.stem), "rescue", ".db")
        try:
            copy, target = await asyncio.to_thread(self._copy, target)
        except (DuckDBException, OSError) as error:
            detail = getattr(error, "operator_detail", str(error))
            self._log.error("rescue_copy_failed", error=detail)
            return
        self.rescue_file = target
        self._log.error(
            "rescue_copy_made",
            file=str(target),
            tables=len(copy.tables),
            rows=copy.rows,
            left_out=copy.left_out,
            next="chronoduck runbook wal-not-replayable",
        )

    def _copy(self, target: Path) -> tuple[RescueCopy, Path]:
        path = self._settings.database_path
        free = shutil.disk_usage(path.parent).free
        if free < path.stat().st_size + self._settings.disk_floor:
            raise DiskFullError("the rescue copy does not fit on the volume of the database")
        # The only directory beside the database where the instance may ATTACH a file.
        place = self._settings.rescue_path
        place.mkdir(mode=0o700, exist_ok=True)
        draft = place / f"{target.name}.part"
        connection = self._instance.cursor()
        try:
            copy = copy_living_database(connection, draft)
            draft.chmod(0o640)
            target = rename_aside(draft, target)
        finally:
            remove_database(draft)  # a copy that failed would fill the volume, try by try
            connection.close()
            with contextlib.suppress(OSError):
                place.rmdir()
        fsync_directory(target.parent)
        return copy, target
