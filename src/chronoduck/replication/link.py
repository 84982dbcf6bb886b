"""The service's side of its replicator: starts the process, hears of its status, stops it."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from typing import Any

import orjson

from chronoduck.engine.proving import WalPosition
from chronoduck.errors import DuckDBConnectionError, DuckDBException
from chronoduck.logs import get_logger
from chronoduck.replication.failures import LeaseHeldError, ReplicaMismatchError
from chronoduck.replication.messages import ReplicaState, ReplicaStatus, to_line
from chronoduck.settings import Settings, reveal

__all__ = ["ReplicatorLink", "refusal"]

_START_SECONDS = 120.0
"""A start that takes over from a dead holder of the lease waits 30 s for it."""
_KILL_SECONDS = 5.0
_RESTART_SECONDS = (0.1, 1.0, 5.0, 15.0)
_REFUSALS: dict[str, type[DuckDBException]] = {
    error.code: error for error in (LeaseHeldError, ReplicaMismatchError)
}


def refusal(code: str, detail: str, hint: str) -> DuckDBException:
    """Return the error with which a start ends that the replicator refuses."""
    return _REFUSALS.get(code, DuckDBConnectionError)(detail, hint=hint)


class ReplicatorLink:
    """Lives on the event loop, from ``prepare`` (before the database is opened) to ``stop``.

    A replicator that dies is started again, whatever goes wrong meanwhile: each error is one failed
    attempt. What it had not shipped is still in the files.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._process: asyncio.subprocess.Process | None = None
        self._task: asyncio.Task[None] | None = None
        self._is_stopping = False
        self._is_restarting = False
        self._log = get_logger("replication")
        self._said: tuple[str, str] = ("", "")
        self.status = ReplicaStatus()
        self.restarts = 0

    async def prepare(
        self, *, adopt: bool = False, is_patient: bool = False, is_running: bool = False
    ) -> None:
        """Start the process and have it compare the files with the replica.

        A store that does not answer within a few seconds is not waited for, unless ``is_patient``:
        the comparison is then made when it answers. ``is_running``: the database is open; a lease that
        another service holds is told by the status, and watched.

        Raises:
            LeaseHeldError: another service writes to the replica.
            ReplicaMismatchError: the local files lack commits that the replica holds.
            DuckDBConnectionError: the process does not come up.
        """
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "chronoduck.replication"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        self._send(
            "settings",
            settings=reveal(self._settings),
            adopt=adopt,
            is_patient=is_patient,
            is_running=is_running,
        )
        try:
            async with asyncio.timeout(None if is_patient else _START_SECONDS):
                message = await self._receive()
        except TimeoutError:
            message = None
        except BaseException:
            self._kill()
            raise
        if message is None:
            self._kill()
            raise DuckDBConnectionError(
                "the replicator did not start",
                hint="Its error is in the log; chronoduck doctor checks the settings.",
            )
        if message["kind"] == "refused":
            await self._process.wait()
            raise refusal(message["code"], message["detail"], message["hint"])
        self.status = ReplicaStatus(**message["status"])

    async def begin_anew(self) -> None:
        """Start again after ``stop``, with the files as they are now.

        Raises:
            DuckDBConnectionError: the process does not come up; the status says so too.
        """
        self._is_stopping = False
        try:
            await self.prepare(adopt=True, is_running=True)
        except DuckDBException as error:
            self.status.state, self.status.error = ReplicaState.REFUSED, error.detail
            self.status.hint = error.hint
            raise
        self.begin()

    def begin(self) -> None:
        """Have it ship; call it once the database is open."""
        self._send("go")
        self._task = asyncio.get_running_loop().create_task(self._listen())

    async def stop(self, seconds: float, *, insists: bool = True) -> None:
        """Have it ship the rest within the time and end; call it once the database is closed.

        Unless it ``insists``, it ends at the first failure of the store: the rest is in the files.
        """
        self._is_stopping = True
        process = self._process
        if process is None:
            return
        if self._is_restarting and self._task is not None:
            # There is none that could ship the rest, which is in the files.
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            return
        self._send("stop", seconds=seconds, insists=insists)
        try:
            async with asyncio.timeout(seconds + 5.0):
                await process.wait()
        except TimeoutError:
            self._log.warning("replicator_killed", unshipped_bytes=self.status.unshipped_bytes)
            await self._end_process()
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)
        await self._end_process()

    def ship(self) -> None:
        """Have it ship now instead of at the next interval."""
        self._send("ship")

    def note_proof(self, level: str, until: WalPosition) -> None:
        """Have the replica note that everything up to ``until`` was replayed, or proven, on a copy."""
        self._send("proof", level=level, iteration=until.iteration, offset=until.offset)

    @property
    def has_ended(self) -> bool:
        """Whether ``stop`` was called, and nothing follows the files."""
        return self._is_stopping

    @property
    def pid(self) -> int | None:
        """The process."""
        return None if self._process is None else self._process.pid

    @property
    def may_checkpoint(self) -> bool:
        """Whether a checkpoint now would not break off the shipping of a generation.

        A store that fails is not waited for: the next generation then tells all that changed.
        """
        return self.status.is_base_complete or self.status.state in (
            ReplicaState.FAILING,
            ReplicaState.REFUSED,
        )

    def get_status(self) -> dict[str, Any]:
        """Return the replicator's status as JSON fields, with how often it was started again."""
        return {**self.status.as_dict(), "restarts": self.restarts}

    # --- the conversation ---------------------------------------------------------------------

    def _send(self, kind: str, **fields: Any) -> None:
        process = self._process
        if process is None or process.stdin is None or process.returncode is not None:
            return
        with contextlib.suppress(ConnectionError, RuntimeError):
            process.stdin.write(to_line(kind, **fields))

    async def _receive(self) -> dict[str, Any] | None:
        assert self._process is not None  # noqa: S101 - called while there is one
        assert self._process.stdout is not None  # noqa: S101 - it was asked for
        line = await self._process.stdout.readline()
        message: dict[str, Any] | None = orjson.loads(line) if line.endswith(b"\n") else None
        return message

    async def _listen(self) -> None:
        """Follow the process, and replace it when it ends; only ``stop`` ends this."""
        is_running = True  # prepare() has just succeeded
        while True:
            try:
                if not is_running:
                    await self._restart()
                is_running = False
                await self._follow()
            except Exception as error:  # noqa: BLE001 - one failed attempt, whatever it is
                self._note_failure(error)
                await self._end_process()
            if self._is_stopping:
                return

    async def _follow(self) -> None:
        while (message := await self._receive()) is not None:
            self.status = ReplicaStatus(**message["status"])
            self._log_change()

    def _note_failure(self, error: Exception) -> None:
        detail = error.detail if isinstance(error, DuckDBException) else repr(error)
        self.status.state, self.status.error = ReplicaState.FAILING, detail
        self.status.hint = "The service starts its replicator again by itself."
        self._log.error("replicator_failed", error=repr(error), restarts=self.restarts)

    def _kill(self) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):  # it has ended by itself
                self._process.kill()

    async def _end_process(self) -> None:
        """Kill the process; one that the kernel does not let go of is not waited for."""
        self._kill()
        if self._process is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_KILL_SECONDS):
                    # To the end of its output: asyncio keeps its pipes until then.
                    await self._process.communicate()

    def _log_change(self) -> None:
        status = self.status
        said = (status.state, status.error)
        if said == self._said:
            return
        self._said = said
        if status.error:
            self._log.warning("replica_state", state=status.state, error=status.error)
        else:
            self._log.info("replica_state", state=status.state, generation=status.generation)

    async def _restart(self) -> None:
        assert self._process is not None  # noqa: S101 - there was one before
        await self._end_process()
        code = self._process.returncode
        self._log.error("replicator_died", code=code, restarts=self.restarts)
        self.status.state = ReplicaState.FAILING
        self.status.error = "the replicator died and is started again"
        self._is_restarting = True
        while True:
            wait = _RESTART_SECONDS[min(self.restarts, len(_RESTART_SECONDS) - 1)]
            self.restarts += 1
            await asyncio.sleep(wait)
            try:
                await self.prepare(is_running=True)
            except (LeaseHeldError, ReplicaMismatchError) as error:  # what refuses it may go away
                self.status.state, self.status.error = ReplicaState.REFUSED, error.detail
                self.status.hint = error.hint
                self._log.error("replicator_refused", error=error.operator_detail)
            except Exception as error:  # noqa: BLE001 - one failed attempt, whatever it is
                self._note_failure(error)
            else:
                self._is_restarting = False
                self._send("go")
                return
