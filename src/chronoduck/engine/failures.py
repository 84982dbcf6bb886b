"""DuckDB's exceptions to the service's errors: the one boundary where they are told apart.

The instance runs with ``errors_as_json``, so an exception tells its class, sentence and position in
the statement; nothing here reads DuckDB's prose but to tell a user's wrong file name from a dead disk.
"""

from __future__ import annotations

import contextlib
import errno
import re
from typing import Any

import duckdb
import orjson

from chronoduck.engine.error_text import without_stack_trace
from chronoduck.errors import (
    DatabaseCorruptError,
    DatabaseFailedError,
    DiskFullError,
    DuckDBException,
    DuckDBQueryError,
    EngineBugError,
    OutOfMemoryError,
    StatementRefusedError,
    TransactionConflictError,
    WriteOutcomeUnknownError,
)

__all__ = [
    "DamagedFileError",
    "EngineFailure",
    "WriteLostError",
    "first_sentence",
    "parse_message",
    "translate",
]

_NO_SPACE = re.compile(
    r"No space left|File too large|Disk quota exceeded|max_temp_directory_size", re.IGNORECASE
)
_CHECKPOINT = re.compile(r"Cannot CHECKPOINT", re.IGNORECASE)
_CONFLICT = re.compile(r"conflict|write-write|cannot delete twice", re.IGNORECASE)
_USERS_FILE = re.compile(
    r"No files found|Cannot open file|No magic bytes|too small to be a Parquet|is a directory",
    re.IGNORECASE,
)
_REMOTE = re.compile(
    r"\bHTTP (?:GET|HEAD|PUT|POST|DELETE)\b|\b(?:https?|s3[an]?)://", re.IGNORECASE
)


class EngineFailure(DatabaseFailedError):
    """The instance failed. ``is_fatal``: it must be reopened. ``had_no_effect``: it was dead before
    this statement began, so that running the statement again is safe whatever it does; only what
    executes statements can know that (see ``execution.execute``)."""

    def __init__(
        self, detail: str, *, operator_detail: str, is_fatal: bool, had_no_effect: bool = False
    ) -> None:
        super().__init__(detail, operator_detail=operator_detail)
        self.is_fatal = is_fatal
        self.had_no_effect = had_no_effect
        self.retry_after_seconds: float | None = 1.0


class WriteLostError(WriteOutcomeUnknownError, EngineFailure):
    """The instance failed while, or after, a write was committed."""

    def __init__(self, detail: str, *, operator_detail: str, is_fatal: bool) -> None:
        super().__init__(detail, operator_detail=operator_detail, is_fatal=is_fatal)
        self.retry_after_seconds = None


class DamagedFileError(DatabaseCorruptError, EngineFailure):
    """A statement, or a checkpoint, met damage in the file. ``is_fatal``: it has ended the instance."""

    def __init__(self, detail: str, *, operator_detail: str, is_fatal: bool) -> None:
        super().__init__(detail, operator_detail=operator_detail, is_fatal=is_fatal)
        self.retry_after_seconds = None


def parse_message(error: BaseException) -> dict[str, Any]:
    """Return DuckDB's JSON of an error (``exception_type``, ``exception_message``, ``position``).

    Errors raised by the Python client itself are plain text; they become the message alone.
    """
    if isinstance(error, UnicodeDecodeError):  # DuckDB quotes names of its own that are not UTF-8
        text = error.object.decode(errors="replace").partition("\n\nLINE ")[0]
    else:
        text = str(error)
    start = text.find("{")
    if start >= 0:
        try:
            parsed = orjson.loads(text[start:])
        except orjson.JSONDecodeError:
            parsed = None
        if isinstance(parsed, dict) and "exception_message" in parsed:
            return parsed
    prefix, colon, rest = text.partition(" Error: ")
    return (
        {"exception_type": prefix, "exception_message": rest}
        if colon
        else {
            "exception_type": type(error).__name__.removesuffix("Exception"),
            "exception_message": text,
        }
    )


def first_sentence(error: BaseException) -> str:
    """Return the first line of what DuckDB says, also of an error that it wraps as JSON in another."""
    message = str(parse_message(error)["exception_message"])
    before, start, inner = message.partition('{"exception_type"')
    if start:
        with contextlib.suppress(orjson.JSONDecodeError, KeyError):
            message = before + orjson.loads(start + inner)["exception_message"]
    return (message.splitlines() or ["no reason given"])[0]


def translate(error: BaseException, sql: str | None = None) -> DuckDBException:
    """Return the service's error for one of DuckDB's; chain it with ``raise ... from``."""
    if isinstance(error, DuckDBException):
        return error
    facts = parse_message(error)
    message = without_stack_trace(str(facts["exception_message"]))
    if isinstance(error, duckdb.FatalException):
        return EngineFailure(
            "the database engine stopped after a fatal error",
            operator_detail=message,
            is_fatal=True,
        )
    if isinstance(error, duckdb.InterruptException):
        # Nobody asked this statement to stop: the instance is being reopened.
        return EngineFailure(
            "the database engine stopped while the statement ran",
            operator_detail="interrupted while the instance was reopened",
            is_fatal=False,
        )
    if isinstance(error, duckdb.InternalException):
        return _internal(message)
    if isinstance(error, duckdb.Error | RuntimeError | ValueError | TypeError | OverflowError):
        return _translate_known(error, facts, message, sql)
    if isinstance(error, MemoryError):
        return OutOfMemoryError(
            "the result did not fit into memory", hint="Add a LIMIT or stream it."
        )
    if isinstance(error, OSError):  # pyarrow wraps the engine's errors while a result streams
        return _translate_streamed(error, message, sql)
    return EngineBugError(
        "an unexpected error ended this statement",
        operator_detail=f"{type(error).__name__}: {error}",
    )


def _translate_known(
    error: BaseException, facts: dict[str, Any], message: str, sql: str | None
) -> DuckDBException:
    if isinstance(error, duckdb.OutOfMemoryException):
        return _out_of_memory(message)
    if isinstance(error, duckdb.ConnectionException) and "closed" in message:
        return EngineFailure("the database was closed", operator_detail=message, is_fatal=True)
    if isinstance(error, duckdb.TransactionException):
        if _NO_SPACE.search(message):
            return _disk_full(message)
        if _CHECKPOINT.search(message):
            return TransactionConflictError(
                "the log cannot be folded now: a transaction is open that still needs what it holds",
                hint="The service folds it by itself later; or send CHECKPOINT again in a moment.",
                operator_detail=message,
            )
        if _CONFLICT.search(message):
            return TransactionConflictError(message)
        if re.search(r"Could not (write|read|fsync)|I/O|IO Error", message):
            return _io_failure(message)
    if isinstance(error, duckdb.IOException):
        return _translate_io(error, facts, message, sql)
    if isinstance(error, duckdb.SerializationException):
        return _io_failure(message)
    if isinstance(error, duckdb.PermissionException):
        return StatementRefusedError(
            "the statement may not touch files or networks outside the allowed directories",
            hint="List a directory in DUCKDB_ALLOWED_DIRECTORIES to let statements use it.",
            operator_detail=message,
            rule="files",
        )
    return _users_fault(facts, message, sql)


def _translate_io(
    error: duckdb.IOException, facts: dict[str, Any], message: str, sql: str | None
) -> DuckDBException:
    """Tell a file that the statement names, here or far away, from the database's own."""
    if isinstance(error, duckdb.HTTPException) or _REMOTE.search(message):
        return _remote_failure(message)
    if _NO_SPACE.search(message):
        return _disk_full(message)
    if "position" in facts or _USERS_FILE.search(message):
        return _users_fault(facts, message, sql)
    return _io_failure(message)


def _users_fault(facts: dict[str, Any], message: str, sql: str | None) -> DuckDBQueryError:
    line = column = None
    position = facts.get("position")
    if sql is not None and position is not None:
        # The parser counts characters, and bytes since DuckDB 2.0; the binder counts bytes.
        if facts["exception_type"] == "Parser" and duckdb.__version__ < "2":
            before = sql[: int(position)]
        else:
            before = sql.encode()[: int(position)].decode(errors="replace")
        line = before.count("\n") + 1
        column = len(before) - (before.rfind("\n") + 1) + 1
    hint = None
    candidates = facts.get("candidates")
    if candidates:
        hint = f"Did you mean: {candidates}?"
    elif "configuration has been locked" in message:
        hint = "Settings are fixed when the service starts; see docs/configuration.md."
    return DuckDBQueryError(
        message,
        hint=hint,
        category=str(facts["exception_type"]).strip().lower().replace(" ", "_"),
        line=line,
        column=column,
    )


def _translate_streamed(error: OSError, message: str, sql: str | None) -> DuckDBException:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) or _NO_SPACE.search(message):
        return _disk_full(message)
    text = str(error)
    if "Out of Memory" in text:
        return _out_of_memory(message)
    if "FATAL" in text:
        return EngineFailure(
            "the database engine stopped while the result was read",
            operator_detail=message,
            is_fatal=True,
        )
    if "INTERNAL" in text:
        return _internal(message)
    if "HTTP Error" in text or _REMOTE.search(text):
        return _remote_failure(message)
    if "IO Error" in text:
        return _io_failure(message)
    return _users_fault(parse_message(error), message, sql)


def _internal(message: str) -> EngineBugError:
    return EngineBugError(
        "DuckDB met an internal error in this statement",
        hint="Rewrite the statement another way; the operator finds the details in the log.",
        operator_detail=message,
    )


def _out_of_memory(message: str) -> DuckDBException:
    first_line = message.splitlines()[0] if message else "out of memory"
    if _NO_SPACE.search(message):
        return DiskFullError(
            "the statement needed more space for spill files than it may use",
            hint="Narrow the statement, or raise DUCKDB_MAX_TEMP_SIZE.",
            operator_detail=message,
        )
    return OutOfMemoryError(
        f"the statement needed more memory than the limit: {first_line}",
        hint="Narrow the statement (fewer columns, a WHERE, a LIMIT), or raise DUCKDB_MEMORY_LIMIT.",
    )


def _disk_full(message: str) -> DiskFullError:
    return DiskFullError(
        "the disk is full; nothing of this statement was kept",
        hint="Free space on the volume of the database; writes go on by themselves then.",
        operator_detail=message,
    )


def _remote_failure(message: str) -> DuckDBQueryError:
    return DuckDBQueryError(
        message,
        hint="Check the address, the keys (AWS_ACCESS_KEY_ID, AWS_DEFAULT_REGION) and the network.",
        category="remote_file",
    )


def _io_failure(message: str) -> EngineFailure:
    return EngineFailure(
        "the database file could not be read or written", operator_detail=message, is_fatal=False
    )
