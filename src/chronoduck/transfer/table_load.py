"""One file into one table, in the transaction that it is called in: everything or nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
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
from chronoduck.transfer.bad_lines import BadRow
from chronoduck.transfer.bad_rows import Inspection
from chronoduck.transfer.captures.table_rows import add_captures, holds_captures
from chronoduck.transfer.options import LoadMode, LoadOptions, OnError
from chronoduck.transfer.sql import SqlSession, quote_name, quote_table, split_table
from chronoduck.transfer.table_columns import (
    Filled,
    TableColumn,
    columns_of,
    create_statement,
    match_columns,
)
from chronoduck.transfer.table_source import TableSource
from chronoduck.transfer.value_checks import check_target

__all__ = ["TableOutcome", "load_table"]

T = TypeVar("T")
_STAGED = "temp.main._chronoduck_staged"
_HIDES = "SELECT 1 FROM duckdb_views() WHERE internal AND lower(view_name) = lower($name)"
_NOTHING = "Nothing was loaded."
_PREVIEWED_ROWS = 10
_SHOWN_CHARACTERS = 60
_PREVIEWED_CHARACTERS = 200
_LONGEST_KIND = 30
"""Characters of "Invalid Input" and the like, by which the engine's messages begin."""
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
    duplicates: int = 0
    """Captures that the table had already."""
    read_as: dict[str, str] = field(default_factory=dict)
    """What was guessed of the file."""
    preview: tuple[tuple[str | None, ...], ...] = ()
    """The first rows of a dry run."""


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
            "`on_error=skip` is understood with NDJSON and CSV alone",
            hint="Rows of other formats have types: leave it out.",
        )
    if options.on_error is OnError.REPAIR:
        raise InvalidRequestError(
            "`on_error=repair` is understood with captures alone",
            hint="It repairs lines of CDX, CDXJ and CDX server JSON.",
        )
    if prepare is not None:
        prepare(session)
    load = _Load(session, source, table, options)
    try:
        outcome = load.run()
    except _GuessFailedError:
        # Types that the first rows have do not fit all of them: those are found, and it begins again.
        session.execute("ROLLBACK")
        session.execute("BEGIN TRANSACTION")
        if prepare is not None:
            prepare(session)
        outcome = load.run(whole=True)
    if options.dry_run:
        session.execute("ROLLBACK")
        session.execute("BEGIN TRANSACTION")  # for the COMMIT that follows
    elif keep is not None:
        keep(session, outcome)
    return outcome


class _GuessFailedError(Exception):
    """A value is not of the type that was guessed for its column."""


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
        self._table_columns: Sequence[TableColumn] = ()
        self._known = 0
        """Captures that the table had already."""

    def run(self, *, whole: bool = False) -> TableOutcome:
        """Load; ``whole``: what types a new table's columns have is found from all rows."""
        existing = columns_of(self._session, self._table)
        self._read(lambda: self._source.settle(self._session, [each.name for each in existing]))
        whole = whole or self._options.on_error is OnError.SKIP
        columns, is_created = self._columns(existing, whole=whole)
        if not columns:
            return TableOutcome(0, 0, 0, (), (), False)
        self._table_columns = columns
        check_target(columns, self._table)
        names = matched = self._read(lambda: self._source.names(self._session))
        if self._options.on_error is OnError.SKIP:  # a name that is unknown makes a row bad
            known = {column.name.lower() for column in columns}
            matched = [name for name in names if name.lower() in known]
        filled = match_columns(matched, columns, self._table, self._source.name)
        if not filled and names:
            raise LoadError(f"{self._source.name} has no column of {self._table}", hint=_NOTHING)
        key = self._key(filled) if filled else []
        last_row = 0
        if self._options.dry_run:
            last_row = self._count(f"SELECT coalesce(max(rowid), -1) FROM {self._quoted}")
        if not filled:
            outcome = self._empty()
        elif self._options.on_error is OnError.SKIP:
            outcome = self._skipping(filled, columns, key)
        else:
            is_sure = whole or not (is_created and self._source.is_guessed)
            outcome = self._all_or_nothing(filled, columns, key, is_sure=is_sure)
        return replace(
            outcome,
            columns=tuple(columns),
            is_created=is_created,
            duplicates=self._known,
            read_as=dict(self._source.guesses),
            preview=self._preview(last_row) if self._options.dry_run else (),
        )

    def _preview(self, last_row: int) -> tuple[tuple[str | None, ...], ...]:
        """Return the first of the rows that came behind the last one, as texts."""
        rows = self._session.execute(
            f"SELECT COLUMNS(*)::VARCHAR FROM {self._quoted} WHERE rowid > {last_row} "
            f"ORDER BY rowid LIMIT {_PREVIEWED_ROWS}"
        )
        return tuple(
            tuple(None if each is None else str(each)[:_PREVIEWED_CHARACTERS] for each in row)
            for row in rows
        )

    def _empty(self) -> TableOutcome:
        """Load a file that has neither rows nor names, such as the JSON of an empty result."""
        removed = 0
        if self._options.mode is LoadMode.REPLACE:
            removed = self._count(f"DELETE FROM {self._quoted}")
        return TableOutcome(0, removed, 0, (), (), False)

    def _columns(
        self, existing: list[TableColumn], *, whole: bool
    ) -> tuple[list[TableColumn], bool]:
        """Return the table's columns, and whether it had to be made; none: nothing says what they are."""
        if existing:
            return existing, False
        if not self._options.create:
            raise LoadError(
                f"there is no table {self._table}",
                hint="Make it first, or load with `create=true`.",
            )
        name = split_table(self._table)[1]
        if self._session.execute(_HIDES, {"name": name}):
            refuse("builtin-name", f"DuckDB has a view {name} of its own")
        lenient = self._options.on_error is OnError.SKIP
        columns = self._read(
            lambda: self._source.columns(self._session, lenient=lenient, whole=whole)
        )
        if not columns:
            return [], False
        self._session.execute(create_statement(self._quoted, columns))
        return columns_of(self._session, self._table), True  # with types as DuckDB writes them

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
        self,
        filled: Sequence[Filled],
        columns: Sequence[TableColumn],
        key: Sequence[str],
        *,
        is_sure: bool,
    ) -> TableOutcome:
        if self._read(lambda: self._source.misfits(self._session, filled)):
            error = LoadError("a row has more in it than its column can take", hint=_NOTHING)
            raise self._explained(error, filled, columns, key)
        rows = self._read(lambda: self._source.select(self._session, filled))
        try:
            added, removed = self._write(rows, filled, key)
        except _NOT_THE_FILE:
            raise
        except DuckDBQueryError as error:
            if not is_sure:
                raise _GuessFailedError from error
            raise self._explained(error, filled, columns, key) from error
        return TableOutcome(added, removed, 0, (), (), False)

    def _write(self, rows: str, filled: Sequence[Filled], key: Sequence[str]) -> tuple[int, int]:
        """Put the rows into the table; return how many, and how many went for them."""
        listed = [each.column.name for each in filled]
        names = ", ".join(map(quote_name, listed))
        removed = 0
        if self._options.mode is LoadMode.APPEND and holds_captures(
            self._table, self._table_columns, listed
        ):
            added, self._known = add_captures(self._session, rows, self._table_columns, listed)
            return added, 0
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
        advice = self._source.flaw_hint if bad[0].is_flaw else self._source.hint
        hint = f"{_NOTHING} {advice}".strip()
        return LoadError(f"{self._source.place} {bad[0].number}: {bad[0].reason}", hint=hint)

    def _unexplained(self, error: DuckDBException) -> DuckDBException:
        """Return the error with the line that the reader stopped at, or at least with the file's name."""
        self._session.execute("ROLLBACK")
        self._session.execute("BEGIN TRANSACTION")
        try:
            flaw = self._source.first_flaw(self._session)
        except (DuckDBQueryError, LoadError):
            flaw = None
        if flaw is not None:
            shown = f" ({flaw.text[:_SHOWN_CHARACTERS]})" if flaw.text else ""
            return LoadError(
                f"{self._source.place} {flaw.number}: {flaw.reason}{shown}",
                hint=f"{_NOTHING} {self._source.flaw_hint}".strip(),
            )
        # The engine names its own copy of the file, which says nothing to the caller.
        detail = error.detail.partition("\nPossible fixes:")[0].partition("\n\n")[0]
        detail = detail.replace(str(self._source.path), self._source.name)
        kind, is_said, rest = detail.partition(" Error: ")
        if is_said and len(kind) < _LONGEST_KIND and "\n" not in kind:
            detail = rest  # "Invalid Input Error: " says nothing of the file
        return LoadError(detail, hint=_NOTHING)

    def _read(self, read: Callable[[], T]) -> T:
        try:
            return read()
        except _NOT_THE_FILE:
            raise
        except DuckDBQueryError as error:
            raise self._unexplained(error) from error
