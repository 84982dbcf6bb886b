"""DuckDB's exceptions to the service's errors: the one boundary where they are told apart.

The class of an exception and DuckDB's own facts decide (see ``error_facts``), never words that a user can
write. Where they do not tell whose fault it is, the error is only *suspected* to be the engine's: it
carries what it is ``otherwise``, and a measurement decides (see ``failure_judge``).
"""

from __future__ import annotations

import contextlib
import errno
from difflib import SequenceMatcher, get_close_matches

import duckdb
import orjson

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
from chronoduck.sql.error_facts import ErrorFacts, read_facts
from chronoduck.table_names import sql_name

__all__ = [
    "FULL_ERRNOS",
    "DamagedFileError",
    "EngineFailure",
    "FatalBugError",
    "WriteLostError",
    "disk_is_full",
    "first_sentence",
    "translate",
]

FULL_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""Numbers of the operating system that mean: no space."""

# Beginnings of DuckDB's own sentences. Behind them stand names and keys of users, before them nothing.
_CHECKPOINT = "Cannot CHECKPOINT"
_FAILED_COMMIT = "Failed to commit"
_CONFLICTS = (
    "Conflict on ",
    "Transaction conflict",
    "Catalog write-write conflict",
    "Attempting to modify table",
    "Could not commit creation of dependency",
)
_SPILL_LIMIT = "max_temp_directory_size"
"""A setting's name in messages of ``OutOfMemoryException``, which quote nothing of users."""
_LOCKED_SETTINGS = "Cannot change configuration option"
_BINDINGS = "\nCandidate bindings: "
_OWN_NAMES = ("pg_", "sqlite_", "duckdb_", "information_schema.", "pg_catalog.")
"""Of views in every catalog, which nobody means by a wrong name."""
_HINTS = {
    "Map keys must be unique.": "Keep one value for each key, such as the last one: group by the key "
    "and take max_by(value, position) before you make the map; or make a list of pairs.",
    "Map keys can not be NULL.": "Leave rows without a key out (WHERE key IS NOT NULL), or make a list "
    "of pairs.",
}
"""Of whole sentences of DuckDB that say nothing of what to do."""
_IO_DETAIL = "the database file could not be read or written"


class EngineFailure(DatabaseFailedError):
    """The instance failed, or is suspected to have failed.

    ``is_fatal``: it must be reopened. ``had_no_effect``: it was dead before this statement began, so
    that running the statement again is safe whatever it does; only what executes statements can know
    that (see ``execution.execute``). ``otherwise``: what it is when a measurement refutes that anything
    failed. ``is_confirmed``: a measurement has shown the failure; without it the breaker takes no note.
    """

    def __init__(
        self,
        detail: str,
        *,
        operator_detail: str,
        is_fatal: bool,
        had_no_effect: bool = False,
        otherwise: DuckDBException | None = None,
    ) -> None:
        super().__init__(detail, operator_detail=operator_detail)
        self.is_fatal = is_fatal
        self.had_no_effect = had_no_effect
        self.otherwise = otherwise
        self.is_confirmed = False
        self.is_statements_fault = False
        """Whether this one statement has ended the instance, by an internal error of DuckDB."""
        self.retry_after_seconds: float | None = 1.0


class FatalBugError(EngineBugError, EngineFailure):
    """An internal error of DuckDB that has ended the instance: one statement's fault, and its alone."""

    retryable = False

    def __init__(self, bug: EngineBugError) -> None:
        EngineFailure.__init__(self, bug.detail, operator_detail=bug.operator_detail, is_fatal=True)
        self.hint = bug.hint
        self.retry_after_seconds = None
        self.is_statements_fault = True


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


def first_sentence(error: BaseException) -> str:
    """Return the first line of what DuckDB says, also of an error that it wraps as JSON in another.

    For people: nothing is decided by it.
    """
    message = read_facts(error).message
    before, start, inner = message.partition('{"exception_type"')
    if start:
        with contextlib.suppress(orjson.JSONDecodeError, KeyError, TypeError):
            message = before + str(orjson.loads(start + inner)["exception_message"])
    return (message.splitlines() or ["no reason given"])[0]


def translate(error: BaseException, sql: str | None = None) -> DuckDBException:
    """Return the service's error for one of DuckDB's; chain it with ``raise ... from``."""
    if isinstance(error, DuckDBException):
        return error
    if isinstance(error, MemoryError):
        return OutOfMemoryError(
            "the result did not fit into memory", hint="Add a LIMIT or stream it."
        )
    if isinstance(error, OSError) and error.errno in FULL_ERRNOS:
        return disk_is_full(str(error))
    if isinstance(
        error, duckdb.Error | OSError | RuntimeError | ValueError | TypeError | OverflowError
    ):
        return _by_type(read_facts(error), sql)
    return EngineBugError(
        "an unexpected error ended this statement",
        operator_detail=f"{type(error).__name__}: {error}",
    )


def _by_type(facts: ErrorFacts, sql: str | None) -> DuckDBException:
    """Decide by DuckDB's type of the error. For errors of a stream it is what pyarrow has left of it."""
    message = facts.message
    match facts.type:
        case "FATAL":
            return EngineFailure(
                "the database engine stopped after a fatal error",
                operator_detail=message,
                is_fatal=True,
            )
        case "INTERRUPT":
            # Nobody asked this statement to stop: the instance is being reopened.
            return EngineFailure(
                "the database engine stopped while the statement ran",
                operator_detail="interrupted while the instance was reopened",
                is_fatal=False,
            )
        case "Connection":
            return EngineFailure("the database was closed", operator_detail=message, is_fatal=True)
        case "INTERNAL":
            return EngineBugError(
                "DuckDB met an internal error in this statement",
                hint="Rewrite the statement another way; the operator finds the details in the log.",
                operator_detail=message,
            )
        case "Out of Memory":
            return _out_of_memory(message)
        case "TransactionContext":
            return _of_transaction(facts, sql)
        case "IO":
            return _of_files(facts, sql)
        case "HTTP":
            return _of_remote(message)
        case "Serialization" | "Data Corruption":
            return _suspected(facts, sql)
        case "Permission":
            return StatementRefusedError(
                "the statement may not touch files or networks outside the allowed directories",
                hint="List a directory in DUCKDB_ALLOWED_DIRECTORIES to let statements use it.",
                operator_detail=message,
                rule="files",
            )
        case _:
            return _users_fault(facts, sql)


def _of_transaction(facts: ErrorFacts, sql: str | None) -> DuckDBException:
    message = facts.message
    if message.startswith(_CHECKPOINT):
        return TransactionConflictError(
            "the log cannot be folded now: a transaction is open that still needs what it holds",
            hint="The service folds it by itself later; or send CHECKPOINT again in a moment.",
            operator_detail=message,
        )
    if message.startswith(_FAILED_COMMIT):
        # A key that another transaction took, or a disk that is full or dead: no type tells them apart.
        return EngineFailure(
            _IO_DETAIL,
            operator_detail=message,
            is_fatal=False,
            otherwise=TransactionConflictError(message),
        )
    if message.startswith(_CONFLICTS):
        return TransactionConflictError(message)
    return _users_fault(facts, sql)


def _of_files(facts: ErrorFacts, sql: str | None) -> DuckDBException:
    """Tell a file that the statement names, here or far away, from the database's own."""
    if facts.errno in FULL_ERRNOS:
        return disk_is_full(facts.message)
    if facts.position is not None:
        return _of_named_file(facts, sql)
    return _suspected(facts, sql)


def _suspected(facts: ErrorFacts, sql: str | None) -> EngineFailure:
    return EngineFailure(
        _IO_DETAIL,
        operator_detail=facts.message,
        is_fatal=False,
        otherwise=_of_named_file(facts, sql),
    )


def _of_named_file(facts: ErrorFacts, sql: str | None) -> DuckDBQueryError:
    """Return the statement's own error; what it names far away gets the hint for that."""
    if sql is not None and "://" in sql:
        return _of_remote(facts.message)
    return _users_fault(facts, sql)


def _users_fault(facts: ErrorFacts, sql: str | None) -> DuckDBQueryError:
    line = column = None
    if sql is not None and facts.position is not None:
        # The parser counts characters, and bytes since DuckDB 2.0; the binder counts bytes.
        if facts.type == "Parser" and duckdb.__version__ < "2":
            before = sql[: facts.position]
        else:
            before = sql.encode()[: facts.position].decode(errors="replace")
        line = before.count("\n") + 1
        column = len(before) - (before.rfind("\n") + 1) + 1
    hint = None
    if facts.candidates:
        hint = _suggestion(facts)
    elif facts.message in _HINTS:
        hint = _HINTS[facts.message]
    elif facts.message.startswith(_LOCKED_SETTINGS):
        hint = "Settings are fixed when the service starts; see `chronoduck help configuration`."
    failed = DuckDBQueryError(
        _without_suggestion(facts), hint=hint, category=facts.category, line=line, column=column
    )
    if facts.subtype == "MISSING_ENTRY":
        failed.missing = (facts.subject_type, facts.subject)
    return failed


def _suggestion(facts: ErrorFacts) -> str:
    """Return what was meant, as SQL, of the user's own names: DuckDB also searches its own views."""
    if facts.subject_type == "configuration parameter":  # DuckDB lists all that there are
        near = get_close_matches(facts.subject, facts.candidates.split(", "), n=3)
        return f"Did you mean: {', '.join(near)}?" if near else ""
    near = [facts.candidates]  # one name, which may have commas in it
    if facts.subtype == "COLUMN_NOT_FOUND":
        quoted = facts.message.rpartition(_BINDINGS)[2]
        near = quoted[1:-1].split('", "') if quoted.startswith('"') else near
    if facts.subject_type == "Table":
        near = [name for name in near if not name.startswith(_OWN_NAMES)]
        if not near:
            return "SHOW TABLES lists the tables."
    return f"Did you mean: {', '.join(_as_sql(name, facts.subject) for name in near)}?"


def _as_sql(found: str, wanted: str) -> str:
    """Return a candidate as SQL: DuckDB joins schema and name by a point, and a name may have points.

    The name is the part that is most like the one that was looked for: it was found by that.
    """
    parts = found.split(".")
    readings = [
        (".".join(parts[:count]), ".".join(parts[count:])) for count in range(min(len(parts), 3))
    ]
    before, name = max(
        readings,
        key=lambda each: SequenceMatcher(None, each[1].lower(), wanted.lower()).ratio(),
    )
    return f"{sql_name(before)}.{sql_name(name)}" if before else sql_name(name)


def _without_suggestion(facts: ErrorFacts) -> str:
    """Return the message without what DuckDB adds about other names: the hint says it."""
    if not facts.candidates:
        return facts.message
    told = facts.message.removesuffix(f'\nDid you mean "{facts.candidates}"?')
    if facts.subtype == "COLUMN_NOT_FOUND":
        told = told.rpartition(_BINDINGS)[0] or told
    return told


def _out_of_memory(message: str) -> DuckDBException:
    first_line = message.splitlines()[0] if message else "out of memory"
    if _SPILL_LIMIT in message:
        return DiskFullError(
            "the statement needed more space for spill files than it may use",
            hint="Narrow the statement. Operators: raise DUCKDB_MAX_TEMP_SIZE, or free space on the "
            "volume, where spill files leave twice DUCKDB_DISK_FLOOR free; then restart the service: the "
            "limit is measured when the database is opened.",
            operator_detail=message,
        )
    return OutOfMemoryError(
        f"the statement needed more memory than the limit: {first_line}",
        hint="Narrow the statement (fewer columns, a WHERE, a LIMIT), or raise DUCKDB_MEMORY_LIMIT.",
    )


def disk_is_full(message: str) -> DiskFullError:
    """Return the error of a statement that found no space; ``message`` is for the operator."""
    return DiskFullError(
        "the disk is full; nothing of this statement was kept",
        hint="Free space on the volume of the database; writes go on by themselves then.",
        operator_detail=message,
    )


def _of_remote(message: str) -> DuckDBQueryError:
    return DuckDBQueryError(
        message,
        hint="Check the address, the keys (AWS_ACCESS_KEY_ID, AWS_DEFAULT_REGION) and the network.",
        category="remote_file",
    )
