"""One file into one table, in the transaction that it is called in: everything or nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from chronoduck.errors import (
    DuckDBException,
    DuckDBQueryError,
    InvalidRequestError,
    LoadError,
    StatementCancelledError,
    StatementTimeoutError,
    TransactionConflictError,
)
from chronoduck.sql.rules.refusals import refuse
from chronoduck.transfer.bad_rows import BadRow, Inspection
from chronoduck.transfer.options import LoadMode, LoadOptions, OnError
from chronoduck.transfer.sources import TableSource
from chronoduck.transfer.sql import SqlSession, quote_name, quote_table, split_table
from chronoduck.transfer.table_columns import (
    Filled,
    TableColumn,
    columns_of,
    create_statement,
    match_columns,
)
from chronoduck.transfer.value_checks import check_target

__all__ = ["TableOutcome", "load_table"]

T = TypeVar("T")
_STAGED = "temp._chronoduck_staged"
_HIDES = "SELECT 1 FROM duckdb_views() WHERE internal AND lower(view_name) = lower($name)"
_NOTHING = "Nothing was loaded."
_NOT_THE_FILE = (StatementTimeoutError, StatementCancelledError, TransactionConflictError)


@dataclass(frozen=True)
class TableOutcome:
    """What a load did, or would do."""

    rows_added: int
    rows_removed: int
    """Replaced by others, or removed for them."""
    rejected: int
    bad_rows: tuple[BadRow, ...]
    """The first of those rejected."""
    columns: tuple[TableColumn, ...]
    """Of the table, as it is then."""
    is_created: bool
    lines: int = 0


def load_table(
    session: SqlSession,
    source: TableSource,
    table: str,
    options: LoadOptions,
    *,
    prepare: Callable[[SqlSession], None] | None = None,
    keep: Callable[[SqlSession, TableOutcome], None] | None = None,
) -> TableOutcome:
    """Load the file; a dry run is undone at its end.

    ``prepare`` is called first and ``keep`` last, in the same transaction.

    Raises:
        LoadError: the file does not fit the table; says the line or row. Nothing of it was loaded.
    """
    if options.on_error is OnError.SKIP and not source.can_skip:
        raise InvalidRequestError(
            "on_error=skip is understood with NDJSON and CSV alone",
            hint="Rows of other formats have types: leave it out.",
        )
    if prepare is not None:
        prepare(session)
    outcome = _Load(session, source, table, options).run()
    if options.dry_run:
        session.execute("ROLLBACK")
        session.execute("BEGIN TRANSACTION")  # for the COMMIT that follows
    elif keep is not None:
        keep(session, outcome)
    return outcome


class _Load:
    def __init__(
        self, session: SqlSession, source: TableSource, table: str, options: LoadOptions
    ) -> None:
        self._session = session
        self._source = source
        self._table = table
        self._options = options
        database = str(session.execute("SELECT current_database()")[0][0])
        self._quoted = quote_table(table, database)

    def run(self) -> TableOutcome:
        self._read(lambda: self._source.check(self._session))
        columns, is_created = self._columns()
        check_target(columns, self._table)
        names = self._read(lambda: self._source.names(self._session))
        if self._options.on_error is OnError.SKIP:  # a name that is unknown makes a row bad
            known = {column.name.lower() for column in columns}
            names = [name for name in names if name.lower() in known]
        filled = match_columns(names, columns, self._table, self._source.name)
        if not filled:
            raise LoadError(f"{self._source.name} has no column of {self._table}", hint=_NOTHING)
        key = self._key(filled)
        if self._options.on_error is OnError.SKIP:
            outcome = self._skipping(filled, columns, key)
        else:
            outcome = self._all_or_nothing(filled, columns, key)
        return replace(outcome, columns=tuple(columns), is_created=is_created)

    def _columns(self) -> tuple[list[TableColumn], bool]:
        """Return the table's columns, and whether it had to be made."""
        columns = columns_of(self._session, self._table)
        if columns:
            return columns, False
        if not self._options.create:
            raise LoadError(
                f"there is no table {self._table}",
                hint="Make it first, or load with create=true.",
            )
        name = split_table(self._table)[1]
        if self._session.execute(_HIDES, {"name": name}):
            refuse("builtin-name", f"DuckDB has a view {name} of its own")
        lenient = self._options.on_error is OnError.SKIP
        columns = self._read(lambda: self._source.columns(self._session, lenient=lenient))
        self._session.execute(create_statement(self._quoted, columns))
        return columns, True

    def _key(self, filled: Sequence[Filled]) -> list[str]:
        """Return the key's columns as the table spells them."""
        spelled = {each.column.name.lower(): each.column.name for each in filled}
        missing = [name for name in self._options.key if name.lower() not in spelled]
        if missing:
            raise LoadError(
                f"{self._source.name} has no column {', '.join(missing)}, which the key names",
                hint=_NOTHING,
            )
        return [spelled[name.lower()] for name in self._options.key]

    # --- all rows, or none --------------------------------------------------------------------

    def _all_or_nothing(
        self, filled: Sequence[Filled], columns: Sequence[TableColumn], key: Sequence[str]
    ) -> TableOutcome:
        relation = self._read(lambda: self._source.typed(self._session, filled))
        values = ", ".join(
            f"{self._source.value(each)} AS {quote_name(each.column.name)}" for each in filled
        )
        try:
            added, removed = self._write(f"SELECT {values} FROM {relation}", filled, key)
        except _NOT_THE_FILE:
            raise
        except (DuckDBQueryError, LoadError) as error:
            raise self._explained(error, filled, columns, key) from error
        return TableOutcome(added, removed, 0, (), (), False)

    def _write(self, rows: str, filled: Sequence[Filled], key: Sequence[str]) -> tuple[int, int]:
        """Put the rows into the table; return how many, and how many went for them."""
        names = ", ".join(quote_name(each.column.name) for each in filled)
        removed = 0
        if self._options.mode is LoadMode.REPLACE:
            removed = self._count(f"DELETE FROM {self._quoted}")
        elif self._options.mode is LoadMode.UPSERT:
            rows, removed = self._make_room(rows, names, key)
        return self._count(f"INSERT INTO {self._quoted} ({names}) {rows}"), removed

    def _make_room(self, rows: str, names: str, key: Sequence[str]) -> tuple[str, int]:
        """Remove the rows of the same keys; return what to insert and how many were removed."""
        keys = ", ".join(quote_name(name) for name in key)
        self._session.execute(
            f"CREATE TEMP TABLE _chronoduck_staged AS "
            f"SELECT row_number() OVER () AS _chronoduck_n, * FROM ({rows})"
        )
        nulls = " OR ".join(f"{quote_name(name)} IS NULL" for name in key)
        bad = self._session.execute(f"SELECT min(_chronoduck_n) FROM {_STAGED} WHERE {nulls}")[0][0]
        if bad is not None:
            raise LoadError(f"row {bad}: a column of the key is NULL", hint=_NOTHING)
        same = " AND ".join(f"t.{quote_name(name)} = s.{quote_name(name)}" for name in key)
        removed = self._count(
            f"DELETE FROM {self._quoted} AS t USING (SELECT DISTINCT {keys} FROM {_STAGED}) AS s "
            f"WHERE {same}"
        )
        last = f"row_number() OVER (PARTITION BY {keys} ORDER BY _chronoduck_n DESC) = 1"
        return f"SELECT {names} FROM {_STAGED} QUALIFY {last}", removed

    def _count(self, sql: str) -> int:
        return int(str(self._session.execute(sql)[0][0]))

    # --- the good rows ------------------------------------------------------------------------

    def _skipping(
        self, filled: Sequence[Filled], columns: Sequence[TableColumn], key: Sequence[str]
    ) -> TableOutcome:
        known = [column.name for column in columns]
        seen = self._read(lambda: Inspection(self._session, self._source, filled, known, key))
        try:
            added, removed = self._write(seen.good_rows, filled, key)
        except _NOT_THE_FILE:
            raise
        except DuckDBQueryError as error:
            raise self._unexplained(error) from error
        bad = tuple(seen.bad_rows(self._options.max_reported))
        return TableOutcome(added, removed, seen.rejected, bad, (), False, seen.line_count)

    def _explained(
        self,
        error: DuckDBException,
        filled: Sequence[Filled],
        columns: Sequence[TableColumn],
        key: Sequence[str],
    ) -> DuckDBException:
        """Return the error with the line or row that is at fault, if one is."""
        if isinstance(error, LoadError):
            return error
        # Without its transaction, which the error has ended, the file alone is looked at.
        self._session.execute("ROLLBACK")
        self._session.execute("BEGIN TRANSACTION")
        known = [column.name for column in columns]
        try:
            bad = Inspection(self._session, self._source, filled, known, key).bad_rows(1)
        except (DuckDBQueryError, LoadError):
            bad = []
        if not bad:
            return self._unexplained(error)
        return LoadError(f"{self._source.place} {bad[0].number}: {bad[0].reason}", hint=_NOTHING)

    def _unexplained(self, error: DuckDBException) -> DuckDBException:
        # The engine names its own copy of the file, which says nothing to the caller.
        detail = error.detail.replace(str(self._source.path), self._source.name)
        return LoadError(detail, hint=f"{_NOTHING} {error.hint}".strip())

    def _read(self, read: Callable[[], T]) -> T:
        try:
            return read()
        except _NOT_THE_FILE:
            raise
        except DuckDBQueryError as error:
            raise self._unexplained(error) from error
