"""The file that malformed lines go into."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import IO, Self

__all__ = ["RejectFile"]


class RejectFile:
    """Tab-separated ``line_number``, ``reason``, ``line``; made when the first line is rejected."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.count = 0
        self._file: IO[str] | None = None

    def write(self, line_number: int, reason: str, text: str) -> None:
        """Add a line; tabs and line ends in the reason would break the format and are replaced."""
        if self._file is None:
            self._file = self.path.open("w", encoding="utf-8")
            self._file.write("line_number\treason\tline\n")
        self._file.write(f"{line_number}\t{' '.join(reason.split())}\t{text}\n")
        self.count += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._file is not None:
            self._file.close()
