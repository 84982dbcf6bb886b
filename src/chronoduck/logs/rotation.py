"""The log file: rotated by size, the old ones compressed in the background."""

from __future__ import annotations

import gzip
import logging.handlers
import os
import shutil
import threading
from contextlib import suppress
from pathlib import Path

__all__ = ["LogFile"]


class LogFile(logging.handlers.RotatingFileHandler):
    """Writes ``path``; what is full becomes ``path.1.gz``, ``path.2.gz`` ..., newest first.

    The line that fills the file waits for a rename only: 50 MB take half a second to compress.
    """

    def __init__(self, path: Path, max_bytes: int, backups: int) -> None:
        super().__init__(path, maxBytes=max_bytes, backupCount=backups, encoding="utf-8")
        self._waiting = path.with_name(path.name + ".1")
        """Rotated and not compressed yet; also what a process that died left there."""
        self._compressor: threading.Thread | None = None
        self._begin()

    def rotation_filename(self, default_name: str) -> str:
        """Return the name of an old log."""
        return f"{default_name}.gz"

    def doRollover(self) -> None:  # noqa: N802 - the name of the standard library
        """Move the old ones on and begin a new file."""
        self.wait()  # the last one must have its name before that is moved on
        super().doRollover()

    def rotate(self, source: str, dest: str) -> None:
        """Set the full file aside; called with the handler's lock, when ``dest`` is free."""
        Path(source).replace(self._waiting)
        self._begin()

    def _begin(self) -> None:
        if self._waiting.exists():
            # Not a daemon: a process that ends in good order finishes it.
            self._compressor = threading.Thread(target=self._compress, name="log-compressor")
            self._compressor.start()

    def wait(self) -> None:
        """Wait until the old log is compressed."""
        if self._compressor is not None:
            self._compressor.join()
            self._compressor = None

    def _compress(self) -> None:
        target = Path(self.rotation_filename(str(self._waiting)))
        part = target.with_name(target.name + ".part")
        # On a full disk it stays as it is until the next rotation; nothing is lost for that.
        with suppress(OSError):
            with (
                self._waiting.open("rb") as plain,
                gzip.open(part, "wb", compresslevel=6) as packed,
            ):
                shutil.copyfileobj(plain, packed, 1 << 20)
            _sync(part)
            part.replace(target)
            _sync(target.parent)  # before the plain one goes
            self._waiting.unlink()

    def reopen(self) -> None:
        """Write to a new file if another program moved the old one away."""
        with self.lock:  # type: ignore[union-attr] # createLock() made it
            if self.stream is not None:
                self.stream.close()
            self.stream = self._open()


def _sync(path: Path) -> None:
    """Bring a file or a directory onto the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
