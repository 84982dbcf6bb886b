"""The service's side of its shadow: starts the process, asks it for proofs, restarts it when it dies."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import orjson

from chronoduck.engine.memory import shadow_memory
from chronoduck.engine.proving import Absence, Proof, Verdict, WalPosition
from chronoduck.logs import get_logger
from chronoduck.settings import Settings
from chronoduck.shadow import owned_directory
from chronoduck.shadow.messages import Orders, ShadowState, ShadowStatus, to_line

__all__ = ["ShadowLink"]

_COMMAND = (sys.executable, "-P", "-m", "chronoduck.shadow")
_RESTART_SECONDS = (0.1, 1.0, 5.0, 15.0, 60.0)
_LIVED_SECONDS = 120.0
"""A process that lived so long is started again at once when it dies."""
_STOP_SECONDS = 5.0
_LINE_BYTES = 1_000_000
_SILENT_SECONDS = 60.0
"""A process that tells nothing for so long is stopped or hangs, and is replaced."""

_STOPS = "the service stops"

OnLevel = Callable[[str, WalPosition], None]
OnRefuted = Callable[[str], None]


class ShadowSilentError(Exception):
    """The process is there and tells nothing."""


@dataclass
class _Question:
    until: WalPosition
    answer: asyncio.Future[Proof]


class ShadowLink:
    """Runs on the event loop from ``begin`` (once the database is open) to ``stop``.

    Implements ``engine.proving.Prover``. Any error here counts as a failed attempt: the link starts
    the shadow again, and until then nothing is judged.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        on_level: OnLevel = lambda level, until: None,
        on_refuted: OnRefuted = lambda reason: None,
        command: Sequence[str] = _COMMAND,
        silent_seconds: float = _SILENT_SECONDS,
    ) -> None:
        """``on_level`` is called for each level reached, ``on_refuted`` for each state that was refuted.

        ``command``: what is run; tests name a shadow with a fault of their own.
        """
        self._settings = settings
        self._on_level = on_level
        self._on_refuted = on_refuted
        self._command = tuple(command)
        self._silent_seconds = silent_seconds
        self._process: asyncio.subprocess.Process | None = None
        self._task: asyncio.Task[None] | None = None
        self._is_stopping = False
        self._wakes = asyncio.Event()
        """Ends the pause before the process is started again."""
        self._numbers = itertools.count(1)
        self._questions: dict[int, _Question] = {}
        self._said: tuple[str, str, str] = ("", "", "")
        self._refuted: tuple[int, int] | None = None
        self._log = get_logger("shadow")
        self.status = ShadowStatus()
        self.restarts = 0
        if not settings.shadow.enabled:
            self.status.state = ShadowState.OFF
            self.status.reason = "DUCKDB_SHADOW_ENABLED is off"

    # --- life ---------------------------------------------------------------------------------

    def begin(self) -> None:
        """Start the process and supervise it; does not wait for it."""
        self._is_stopping = False
        self._wakes.clear()
        self._task = asyncio.get_running_loop().create_task(self._supervise())

    async def stop(self) -> None:
        """End the process; its copy is gone afterwards."""
        self._is_stopping = True
        if self._task is None:
            return
        self._send("stop")
        self._wakes.set()
        await asyncio.wait([self._task], timeout=_STOP_SECONDS)
        if not self._task.done():
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._kill()  # a task that was canceled with its loop has not waited for the process
        await asyncio.to_thread(self._remove_copy)
        self.status.state = ShadowState.STOPPED
        self._answer_all()

    def _remove_copy(self) -> None:
        """Remove what a shadow left that was killed, or is switched off now."""
        owned_directory.remove(self._settings.shadow_path)

    async def _kill(self) -> None:
        process = self._process
        if process is None:
            return
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        # To the end of its output: asyncio keeps its pipes until then, and complains when it finds
        # them after the loop.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_STOP_SECONDS):
                await process.communicate()

    @property
    def pid(self) -> int | None:
        """The process."""
        return None if self._process is None else self._process.pid

    async def _supervise(self) -> None:
        failures = 0
        if not self._settings.shadow.enabled:
            await asyncio.to_thread(self._remove_copy)
            return
        while not self._is_stopping:
            started = time.monotonic()
            reason = ""
            try:
                await self._run_once()
            except Exception as error:  # noqa: BLE001 - a failed attempt, never the end of this task
                reason = f"{type(error).__name__}: {error}"
            await self._kill()
            if self._is_stopping:
                return
            failures = 0 if time.monotonic() - started > _LIVED_SECONDS else failures
            wait = _RESTART_SECONDS[min(failures, len(_RESTART_SECONDS) - 1)]
            failures += 1
            self.restarts += 1
            code = None if self._process is None else self._process.returncode
            self._log.error("shadow_died", code=code, reason=reason, retry=wait)
            self.status.state = ShadowState.FAILING
            if self.status.verdict != Verdict.REFUTED:
                self.status.verdict = Verdict.NOT_JUDGED
                self.status.reason = "the shadow died and is started again"
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._wakes.wait()

    async def _run_once(self) -> None:
        settings = self._settings
        self._process = process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,
            limit=_LINE_BYTES,
        )
        assert process.stdin is not None  # noqa: S101 - both were asked for
        assert process.stdout is not None  # noqa: S101
        orders = Orders(
            database=str(settings.database_path),
            directory=str(settings.shadow_path),
            memory_bytes=shadow_memory(settings),
            cpu_share=settings.shadow.cpu_percent / 100,
            floor_bytes=settings.disk_floor,
        )
        process.stdin.write(orjson.dumps(asdict(orders)) + b"\n")
        for number, question in self._questions.items():
            self._ask(number, question.until)
        while (line := await self._read_line(process.stdout)).endswith(b"\n"):
            self._hear(orjson.loads(line))

    async def _read_line(self, output: asyncio.StreamReader) -> bytes:
        try:
            async with asyncio.timeout(self._silent_seconds):
                return await output.readline()
        except TimeoutError:
            raise ShadowSilentError(f"it has told nothing for {self._silent_seconds:g} s") from None

    # --- proofs -------------------------------------------------------------------------------

    async def prove(self, until: WalPosition, timeout: float) -> Proof:
        """Return a verdict on everything up to ``until``, or on more; see ``Prover``."""
        started = time.monotonic()
        if not self._settings.shadow.enabled:
            return _unjudged(until, "the shadow is switched off", Absence.OFF)
        if self._is_stopping:
            return _unjudged(until, _STOPS, Absence.STOPPING)
        if self.status.state == ShadowState.NO_SPACE:
            return _unjudged(until, "the shadow has no space for its copy", Absence.OFF)
        number = next(self._numbers)
        question = _Question(until, asyncio.get_running_loop().create_future())
        self._questions[number] = question
        self._ask(number, until)
        try:
            async with asyncio.timeout(timeout):
                return await question.answer
        except TimeoutError:
            seconds = time.monotonic() - started
            reason = f"the shadow has not come to an end after {seconds:.1f} s"
            return Proof(Verdict.NOT_JUDGED, until, reason, seconds)
        finally:
            del self._questions[number]
            if not question.answer.done() or question.answer.cancelled():
                self._send("forget", id=number)  # else the shadow would try it forever

    def _ask(self, number: int, until: WalPosition) -> None:
        self._send("prove", id=number, iteration=until.iteration, offset=until.offset)

    def _send(self, kind: str, **fields: Any) -> None:
        process = self._process
        if process is None or process.stdin is None or process.returncode is not None:
            return
        with contextlib.suppress(ConnectionError, RuntimeError):
            process.stdin.write(to_line(kind, **fields))

    def _answer_all(self) -> None:
        for question in self._questions.values():
            if not question.answer.done():
                question.answer.set_result(_unjudged(question.until, _STOPS, Absence.STOPPING))

    # --- messages of the shadow ---------------------------------------------------------------

    def _hear(self, message: dict[str, Any]) -> None:
        if message["kind"] == "alive":
            return
        if message["kind"] == "status":
            self.status = ShadowStatus.of(message["status"])
            self._log_change()
        elif message["kind"] == "level":
            position = WalPosition(message["iteration"], message["offset"])
            self._on_level(message["level"], position)
        else:
            question = self._questions.get(message["id"])
            if question is not None and not question.answer.done():
                position = WalPosition(message["iteration"], message["offset"])
                verdict = Verdict(message["verdict"])
                question.answer.set_result(
                    Proof(verdict, position, message["reason"], message["seconds"])
                )

    def _log_change(self) -> None:
        status = self.status
        said = (status.state, status.verdict, status.reason)
        if said != self._said and status.state != ShadowState.COPYING:
            self._said = said
            log = {"refuted": self._log.error, "not_judged": self._log.warning}.get(
                status.verdict, self._log.info
            )
            log("shadow_verdict", state=status.state, verdict=status.verdict, reason=status.reason)
        mark = status.refuted
        refuted = None if mark is None else (mark.iteration, mark.offset)
        if refuted != self._refuted:
            self._refuted = refuted
            if refuted is not None:
                self._on_refuted(status.reason)

    def get_status(self) -> dict[str, Any]:
        """Return the shadow's status as JSON fields, with how often it was started again."""
        return {**self.status.as_dict(), "restarts": self.restarts}


def _unjudged(until: WalPosition, reason: str, absence: Absence) -> Proof:
    return Proof(Verdict.NOT_JUDGED, until, reason, absence=absence)
