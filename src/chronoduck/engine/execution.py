"""Running one statement on one connection, in a worker thread, and reading its result."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Literal, TypeVar

import duckdb
import pyarrow as pa

from chronoduck.engine.cancellation import CancelToken
from chronoduck.engine.commits import Commits
from chronoduck.engine.database import Connection
from chronoduck.engine.definition_budget import check_definitions
from chronoduck.engine.parameters import Params, bound
from chronoduck.engine.profiling import peak_memory_bytes
from chronoduck.engine.renaming import refuse_rename_of_parent
from chronoduck.engine.tables_like_files import check_tables
from chronoduck.engine.type_names import type_name
from chronoduck.errors import DuckDBQueryError
from chronoduck.sql.engine_errors import EngineFailure, translate
from chronoduck.sql.judged_text import JudgedText, check_judged, own_text

__all__ = [
    "FetchMode",
    "Params",
    "Rows",
    "RunningResult",
    "SqlSession",
    "begin",
    "commit",
    "execute",
    "transaction",
]

FetchMode = Literal["all", "one", "many", "none"]
Rows = list[tuple[Any, ...]]

T = TypeVar("T")
# DuckDB 2.0 reads the whole result of ``execute`` into memory before it gives the first Arrow batch.
# Its relations stream, see _stream; what is small (counts, EXPLAIN) may be copied.
warnings.filterwarnings("ignore", message="Arrow output on a DB-API result")
_ENGINE_ERRORS = (duckdb.Error, OSError, RuntimeError, ValueError, TypeError, MemoryError)
"""What DuckDB's client and pyarrow raise while a statement runs."""

_BATCH_ROWS = 16_384
_BEGIN = own_text("BEGIN TRANSACTION")
_BEGIN_READ_ONLY = own_text("BEGIN TRANSACTION READ ONLY")
_COMMIT = own_text("COMMIT")
_IS_VERSION_1 = duckdb.__version__.startswith("1.")
_CATALOG_WORDS = frozenset({"CREATE", "DROP", "ALTER"})


def in_engine(
    connection: Connection, sql: str, token: CancelToken | None, call: Callable[[], T]
) -> T:
    """Run ``call`` on the connection so that the token can interrupt it; translate its errors.

    After an interrupt every error means "cancelled": DuckDB reports it as an InterruptException, an
    OSError while a stream is read, or an InvalidInputException in a window function. Without a token
    nothing interrupts it.
    """
    if token is None:
        try:
            return call()
        except _ENGINE_ERRORS as error:
            raise translate(error, sql) from error
    token.bind(connection)
    try:
        return call()
    except _ENGINE_ERRORS as error:
        # The instance may fail in the same moment: that is no answer to the interrupt.
        if token.reason is not None and not isinstance(error, duckdb.FatalException):
            raise token.error() from error
        raise translate(error, sql) from error
    finally:
        token.unbind()


def execute(
    connection: Connection, sql: JudgedText, params: Params, token: CancelToken | None
) -> None:
    """Run the statement; its result is then pending on the connection.

    Raises:
        TypeError: the text was not judged.
        EngineFailure: the instance failed. It had no effect if the instance refused to begin it.
    """

    check_judged(sql)
    given = bound(params)

    def run() -> Connection:
        refuse_rename_of_parent(connection, sql)
        return connection.execute(sql, given) if given else connection.execute(sql)

    with _telling_refusals(connection):
        in_engine(connection, sql, token, run)


@contextmanager
def _telling_refusals(connection: Connection) -> Iterator[None]:
    """Have an EngineFailure say whether the instance refused to do anything at all."""
    try:
        yield
    except EngineFailure as failure:
        failure.had_no_effect |= _refuses_all(connection, failure.__cause__)
        raise


def _refuses_all(connection: Connection, error: BaseException | None) -> bool:
    """Whether ``error`` is what the instance answers to every statement, before it looks at it.

    DuckDB checks first of all whether its instance is valid. The error of a statement that made the
    instance invalid is another one: the refusal only quotes it.
    """
    if not isinstance(error, duckdb.FatalException | duckdb.ConnectionException):
        return False
    try:
        connection.execute("SELECT 1")
    except duckdb.Error as refusal:
        return type(refusal) is type(error) and str(refusal) == str(error)
    return False


def commit(connection: Connection, token: CancelToken, commits: Commits) -> None:
    """Commit unless somebody asked to stop before; what comes later does not interrupt it.

    Otherwise a caller could be told "interrupted" of a transaction that is on disk.

    Raises:
        StatementRefusedError: it would make the catalog too long for everybody.
    """
    token.check()
    if commits.in_transaction:
        if commits.changes_catalog:
            in_engine(connection, "", token, lambda: check_definitions(connection))
            token.check()
        with commits.committing():
            execute(connection, _COMMIT, None, None)
    else:
        execute(connection, _COMMIT, None, None)
    commits.in_transaction = False


def begin(
    connection: Connection, token: CancelToken, commits: Commits, *, read_only: bool = False
) -> None:
    """Begin a transaction; in a read-only one DuckDB refuses every change of the database."""
    execute(connection, _BEGIN_READ_ONLY if read_only else _BEGIN, None, token)
    commits.in_transaction, commits.changes_catalog = not read_only, False


@contextmanager
def transaction(
    connection: Connection, token: CancelToken, commits: Commits, *, read_only: bool = False
) -> Iterator[None]:
    """Run the block between BEGIN and COMMIT, or ROLLBACK after any error.

    An interrupt inside a transaction makes a later COMMIT report success although the rows are gone,
    so COMMIT is sent only when nothing failed and nobody asked to stop.
    """
    begin(connection, token, commits, read_only=read_only)
    try:
        yield
        commit(connection, token, commits)
    except BaseException:
        commits.in_transaction = False
        # The transaction may be gone already; the connection is thrown away after an error anyway.
        with suppress(duckdb.Error):
            connection.execute("ROLLBACK")
        raise


class SqlSession:
    """Runs statements of our own on one connection, in a worker thread, and returns their rows."""

    def __init__(self, connection: Connection, token: CancelToken, commits: Commits) -> None:
        self._connection = connection
        self._token = token
        self._commits = commits

    def execute(self, sql: str, params: Params = None) -> Rows:
        """Run one statement and return all its rows."""
        self._commits.changes_catalog |= sql.split(None, 1)[0].upper() in _CATALOG_WORDS
        text = sql if isinstance(sql, JudgedText) else own_text(sql)
        return RunningResult(self._connection, text, params, self._token).fetch("all")[0]

    def scan(self, name: str, rows: pa.RecordBatchReader | pa.Table) -> None:
        """Have ``name`` stand for Arrow rows; a reader's can be read once, by one thread."""
        in_engine(self._connection, "", self._token, lambda: self._connection.register(name, rows))


def _described(connection: Connection) -> tuple[Sequence[Any], Sequence[Any]]:
    description = connection.description or []
    return [column[0] for column in description], [column[1] for column in description]


def _without_form(
    error: DuckDBQueryError, columns: Sequence[str], types: Sequence[str]
) -> DuckDBQueryError:
    """Return the error with the columns that DuckDB 1.5 cannot give as Arrow, and what to do."""
    found = [name for name, kind in zip(columns, types, strict=True) if "VARIANT" in kind]
    if not found:
        return error
    named = ", ".join(found)[:200]
    return DuckDBQueryError(
        f"VARIANT has no form in results (columns: {named})",
        hint=f"Cast to text: CAST({found[0][:80]} AS VARCHAR).",
        operator_detail=error.operator_detail,
        category="encoding",
    )


class RunningResult:
    """A statement whose result is being read: columns first, then rows or Arrow batches."""

    def __init__(
        self,
        connection: Connection,
        sql: JudgedText,
        params: Params,
        token: CancelToken,
        *,
        as_rows: bool = True,
        in_read_only_transaction: bool = False,
        batch_rows: int = _BATCH_ROWS,
        tables_like_files: Sequence[tuple[str, ...]] = (),
    ) -> None:
        """Execute the statement; blocks until the first rows are there.

        ``as_rows``: it will be asked for Python values (``fetch``), else for Arrow (``next_batch``).

        ``in_read_only_transaction``: it gets a transaction of its own, which ``finish`` ends; a
        connection that is closed instead ends it too. ``tables_like_files``: see ``Statement``.

        ``batch_rows``: rows of each Arrow batch, but for the last one. A statement that may write is
        not run here but in ``engine/writing.py``.

        Raises:
            TypeError: the text was not judged.
        """
        check_judged(sql)
        self._batch_rows = batch_rows
        self._connection = connection
        self._sql = sql
        started = time.perf_counter()
        self._in_transaction = in_read_only_transaction
        if in_read_only_transaction:
            execute(connection, _BEGIN_READ_ONLY, None, token)
        check_tables(connection, tables_like_files)
        self._token = token
        self._reader: pa.RecordBatchReader | None = None
        if as_rows or _IS_VERSION_1:
            execute(connection, sql, params, token)
            names, types = _described(connection)
        else:
            names, types = self._stream(params)
        self.columns = tuple(str(name) for name in names)
        self.column_types = tuple(types)
        """DuckDB's types (``DuckDBPyType``), one per column."""
        self.types = tuple(map(type_name, self.column_types))
        """The types as DuckDB writes them."""
        self.engine_seconds = time.perf_counter() - started
        """Time spent in the engine so far: executing and producing rows."""

    def _stream(self, params: Params) -> tuple[Sequence[Any], Sequence[Any]]:
        """Begin to stream by a relation; return the names and types of its columns."""
        connection = self._connection
        params = bound(params)

        def bind() -> duckdb.DuckDBPyRelation | None:
            try:
                return connection.sql(self._sql, params=params or None)
            except (duckdb.BinderException, duckdb.CatalogException):
                # They lack the position in the statement, which execute() reports of the same error.
                connection.execute(self._sql, params) if params else connection.execute(self._sql)
                raise

        def begin() -> tuple[Sequence[Any], Sequence[Any]]:
            relation = bind()
            if relation is None:  # a statement without a result
                return (), ()
            self._reader = relation.to_arrow_reader(self._batch_rows)
            return relation.columns, relation.types

        with _telling_refusals(connection):
            return in_engine(connection, self._sql, self._token, begin)

    def fetch(self, mode: FetchMode, max_rows: int | None = None) -> tuple[Rows, bool]:
        """Return rows as Python values and whether there were more than ``max_rows``."""
        if not self.columns or mode == "none":
            return [], False
        rows = self._timed(lambda: self._fetch(mode, max_rows))
        if max_rows is not None and len(rows) > max_rows:
            return rows[:max_rows], True
        return rows, False

    def _fetch(self, mode: FetchMode, max_rows: int | None) -> Rows:
        if mode == "one":
            row = self._connection.fetchone()
            return [] if row is None else [row]
        if max_rows is None:
            return self._connection.fetchall()
        return self._connection.fetchmany(max_rows + 1)

    @property
    def arrow_schema(self) -> pa.Schema:
        """The Arrow schema of the batches.

        Raises:
            DuckDBQueryError: a column has a type that Arrow lacks.
        """
        try:
            return self._timed(self._open_reader).schema
        except DuckDBQueryError as error:
            raise _without_form(error, self.columns, self.types) from error

    def _open_reader(self) -> pa.RecordBatchReader:
        if self._reader is None:
            self._reader = self._connection.to_arrow_reader(self._batch_rows)
        return self._reader

    def next_batch(self) -> pa.RecordBatch | None:
        """Return the next Arrow batch, None at the end; memory stays flat whatever the size."""
        return self._timed(self._read_batch) if self.columns else None

    def _read_batch(self) -> pa.RecordBatch | None:
        try:
            return self._open_reader().read_next_batch()
        except StopIteration:
            return None

    def _timed(self, call: Callable[[], T]) -> T:
        started = time.perf_counter()
        try:
            with _telling_refusals(self._connection):  # a read has no effect in any case
                return in_engine(self._connection, self._sql, self._token, call)
        finally:
            self.engine_seconds += time.perf_counter() - started

    def release(self) -> None:
        """Let go of the engine: no result may be left of an instance that is closed."""
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.close()

    def finish(self) -> float:
        """End the statement's transaction and return the instance's peak memory in MB while it ran.

        0 when it is not told.
        """
        peak_mb = round(peak_memory_bytes(self._connection) / 1e6, 3)
        # DuckDB 2.0 refuses the connection's next statement while a result is half read.
        self.release()
        if self._in_transaction:
            self._in_transaction = False
            in_engine(
                self._connection, self._sql, None, lambda: self._connection.execute("ROLLBACK")
            )
        return peak_mb
