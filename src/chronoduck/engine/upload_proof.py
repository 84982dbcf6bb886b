"""A first reading of uploaded Parquet files, in a process of its own.

A file that is damaged in the right place is an internal error to DuckDB (1.5.5: one byte in the schema
of a VARIANT column), which ends the instance that meets it, and another one may end the process. So the
served instance reads only what an enclosed process has read to its end. The cost: a quarter of the time
of a load (137 MB: 2.5 s beside 9 s), and 0.3 s for the start of the process.
"""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import NoReturn

from pydantic import BaseModel, ValidationError

from chronoduck.engine.kernel.child import start_child
from chronoduck.engine.kernel.enclosure import KernelWalls
from chronoduck.engine.sheets import SheetReader
from chronoduck.errors import LoadError, OutOfMemoryError, ServiceUnavailableError

__all__ = ["UploadProof"]

_LEAST_MEMORY_BYTES = 256 << 20
_START_SECONDS = 60.0
_MORE_SECONDS = 5.0
"""The process is ended from outside when it does not end itself at its deadline."""
_ANSWER_BYTES = 100_000
_SENTENCE_CHARACTERS = 2_000
_MODULE = "chronoduck.engine.upload_reader"
_INT96_MODULE = "chronoduck.engine.int96_reader"
_DAMAGED = "it is damaged, or of a kind that DuckDB does not read"
_NOTHING_LOADED = "Nothing was loaded."
_WITHOUT_INT96 = (
    "DuckDB reads times of the form INT96 to the microsecond. Write the file with INT64 times (in "
    "pyarrow: use_deprecated_int96_timestamps=False)."
)


class _Request(BaseModel):
    path: str
    seconds: float


class _Answer(BaseModel):
    """What a reader said. It may have been taken over: only its form is believed."""

    verdict: str
    sentence: str


class _LostReaderError(Exception):
    """A reader ended without an answer; ``code``: its exit code."""

    def __init__(self, code: int) -> None:
        super().__init__(f"a reader of uploads ended with {code}")
        self.code = code


class UploadProof:
    """Starts a process for each file that is read at the same time, and keeps one for the next.

    Blocks; for any thread.
    """

    def __init__(
        self,
        directory: Path,
        memory_bytes: int,
        deadline_seconds: float,
        demanded: KernelWalls = KernelWalls.NONE,
    ) -> None:
        """Only files below ``directory`` can be read. No reader works without the ``demanded`` walls."""
        self._directory = directory
        self._memory_bytes = max(_LEAST_MEMORY_BYTES, memory_bytes)
        self._deadline_seconds = deadline_seconds
        self._demanded = demanded
        self.sheets = SheetReader(self._memory_bytes, deadline_seconds, demanded)
        """What reads spreadsheets."""
        self._lock = threading.Lock()
        self._idle: list[_Reader] = []
        self._is_closed = False

    def check(self, path: Path, name: str) -> None:
        """Read every value of the file once.

        Raises:
            LoadError: it cannot be read; the file is at fault, whatever DuckDB calls it.
            OutOfMemoryError: a part of it does not fit into memory.
            ServiceUnavailableError: no process can be started.
        """
        answer = self._read(self._take(), path, name)
        hint = _NOTHING_LOADED
        if answer.verdict == "int96":
            answer = self._read(self._start(reads_int96=True), path, name)
            hint = f"{_NOTHING_LOADED} {_WITHOUT_INT96}"
        sentence = answer.sentence[:_SENTENCE_CHARACTERS].replace(str(path), name)
        if answer.verdict == "memory":
            raise OutOfMemoryError(sentence)
        if answer.verdict != "read":
            raise LoadError(f"{name} cannot be read: {sentence}", hint=hint)

    def _read(self, reader: _Reader, path: Path, name: str) -> _Answer:
        try:
            answer = reader.read(path, self._deadline_seconds)
        except _LostReaderError as lost:
            reader.end()
            self._judge_loss(lost, name)
            raise LoadError(f"{name} cannot be read: {_DAMAGED}", hint=_NOTHING_LOADED) from lost
        self._put_back(reader, answer)
        return answer

    def _judge_loss(self, lost: _LostReaderError, name: str) -> None:
        if -lost.code in (signal.SIGPROF, signal.SIGALRM):
            raise LoadError(
                f"{name} was not read to its end within {self._deadline_seconds:g} s",
                hint=f"{_NOTHING_LOADED} Split it.",
            ) from lost
        # This process did not send it: the kernel has no memory left.
        if -lost.code == signal.SIGKILL:
            raise OutOfMemoryError(f"{name} took more memory to be read than there is") from lost

    def _take(self) -> _Reader:
        with self._lock:
            while self._idle:
                reader = self._idle.pop()
                if reader.is_alive:
                    return reader
                reader.end()
        return self._start()

    def _start(self, *, reads_int96: bool = False) -> _Reader:
        try:
            return _Reader(
                self._directory, self._memory_bytes, self._demanded, reads_int96=reads_int96
            )
        except (OSError, _LostReaderError) as error:
            raise ServiceUnavailableError(
                "the process that reads uploads cannot be started",
                hint="Try again; the server log says why.",
                operator_detail=f"no reader of uploads: {error!r}",
            ) from error

    def _put_back(self, reader: _Reader, answer: _Answer) -> None:
        with self._lock:
            is_wanted = answer.verdict != "internal" and not reader.reads_int96
            if is_wanted and not self._idle and not self._is_closed:
                self._idle.append(reader)
                return
        reader.end()

    def close(self) -> None:
        """End the process that waits; those that read end with their file."""
        with self._lock:
            self._is_closed = True
            readers, self._idle = self._idle, []
        for reader in readers:
            reader.end()


class _Reader:
    """One process; one file at a time. ``end`` must be called in every case."""

    def __init__(
        self,
        directory: Path,
        memory_bytes: int,
        demanded: KernelWalls,
        *,
        reads_int96: bool = False,
    ) -> None:
        """Start it, and wait until it is enclosed.

        Raises:
            OSError: it cannot be started.
            _LostReaderError: it ended at once, or a demanded wall does not stand around it.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            arguments = map(str, (directory, memory_bytes, int(demanded)))
            module = _INT96_MODULE if reads_int96 else _MODULE
            self._process = start_child(module, theirs, *arguments)
        self.reads_int96 = reads_int96
        self._connection = ours
        try:
            self._receive(time.monotonic() + _START_SECONDS, signal.SIGKILL)
        except _LostReaderError:
            self.end()
            raise

    @property
    def is_alive(self) -> bool:
        """Whether it can be asked."""
        return self._process.poll() is None

    def read(self, path: Path, seconds: float) -> _Answer:
        """Have it read a file.

        Raises:
            _LostReaderError: it ended; also when it took too long, or answered no answer.
        """
        request = _Request(path=str(path), seconds=seconds).model_dump_json().encode()
        with contextlib.suppress(OSError):  # it is dead: that shows below
            self._connection.sendall(request + b"\n")
        line = self._receive(time.monotonic() + seconds + _MORE_SECONDS, signal.SIGALRM)
        try:
            return _Answer.model_validate_json(line)
        except ValidationError:
            self._lose(signal.SIGTERM)
            raise

    def _receive(self, until: float, late: signal.Signals) -> bytes:
        """Return a line; ``late``: the signal that ends the process if it does not come until then."""
        data = bytearray()
        while not data.endswith(b"\n"):
            self._connection.settimeout(max(0.001, until - time.monotonic()))
            try:
                piece = self._connection.recv(_ANSWER_BYTES)
            except TimeoutError:
                self._lose(late)
            except OSError:
                piece = b""
            if not piece or len(data) > _ANSWER_BYTES:
                self._lose(signal.SIGTERM)
            data += piece
        return bytes(data)

    def _lose(self, number: signal.Signals) -> NoReturn:
        with contextlib.suppress(subprocess.TimeoutExpired):
            # One that has just died closes its end before it can be waited for.
            raise _LostReaderError(self._process.wait(0.0 if number is signal.SIGALRM else 0.5))
        self._process.send_signal(number)
        raise _LostReaderError(self._process.wait())

    def end(self) -> None:
        """End it whatever it does."""
        self._connection.close()
        self._process.kill()
        self._process.wait()
