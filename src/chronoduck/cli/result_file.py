"""The file for a result: its format by its ending, whole or not there, and nobody's file is replaced."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum
from pathlib import Path
from typing import IO

import typer

from chronoduck.errors import DuckDBException, InvalidRequestError
from chronoduck.errors.system import reason_of

__all__ = ["OutputExistsError", "OutputFormat", "chosen_format", "opened"]


class OutputFormat(StrEnum):
    """How the result is printed."""

    TABLE = "table"
    JSON = "json"
    NDJSON = "ndjson"
    CSV = "csv"
    ARROW = "arrow"
    PARQUET = "parquet"


_OF_WRITING = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""Of errors that name no file when it is written to."""
_ENDINGS = {
    **{f".{each}": each for each in OutputFormat if each is not OutputFormat.TABLE},
    ".jsonl": OutputFormat.NDJSON,
}


class OutputExistsError(DuckDBException):
    """The file for the result is there already."""

    code = "output_exists"
    title = "Output exists"
    exit_code = 73


def chosen_format(given: OutputFormat | None, output: Path | None) -> OutputFormat:
    """Return the format that was asked for, else that of the file's ending.

    Raises:
        InvalidRequestError: the ending is none of those that are written, or a table is to be a file.
        IsADirectoryError: it is a directory.
    """
    if output is None:
        return given or (OutputFormat.TABLE if sys.stdout.isatty() else OutputFormat.JSON)
    if output.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(output))
    known = ", ".join(_ENDINGS)
    if given is OutputFormat.TABLE:
        raise InvalidRequestError(
            "a table is for a terminal and not for a file",
            hint=f"Leave --format out, and let the file end in one of {known}.",
        )
    chosen = given or _ENDINGS.get(output.suffix.lower())
    if chosen is None:
        raise InvalidRequestError(
            f"{output}: no result is written as {output.suffix or 'a file without an ending'}",
            hint=f"Let the file end in one of {known}, or add --format.",
        )
    return chosen


@contextmanager
def opened(output: Path | None, *, force: bool) -> Iterator[IO[bytes]]:
    """Enter the stream that a result is written to; a file is complete or not there.

    Raises:
        OutputExistsError: the file is there, and ``force`` does not allow to replace it.
        OSError: it cannot be written; names the file that was asked for.
    """
    if output is None:
        with _standard_output() as stream:
            yield stream
        return
    if output.exists() and not output.is_file():
        with output.open("wb") as device:  # a pipe or /dev/null is written to, and never replaced
            yield device
        return
    asked, output = output, output.resolve()
    if output.exists() and not force:
        raise OutputExistsError(
            f"{output} is there already", hint="Name another file, or add --force to replace it."
        )
    from chronoduck.storage.durable_write import replace_finished  # noqa: PLC0415 - for files only

    part = output.with_name(output.name + ".part")
    try:
        with part.open("wb") as file:
            yield file
        replace_finished(part, output)
    except OSError as error:
        named = error.filename
        is_ours = (
            error.errno in _OF_WRITING if named is None else Path(str(named)) in (part, output)
        )
        if is_ours:
            raise OSError(error.errno, reason_of(error), str(asked)) from error
        raise
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


@contextmanager
def _standard_output() -> Iterator[IO[bytes]]:
    try:
        yield sys.stdout.buffer
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader has had enough (`| head`); nothing is wrong, and nothing is left to flush.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit from None
