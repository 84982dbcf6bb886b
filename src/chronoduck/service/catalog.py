"""What tables there are and how one of them is made."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from chronoduck.engine.execution import Params
from chronoduck.engine.table_blocks import blocks_of
from chronoduck.errors import NotFoundError, RowFilterError
from chronoduck.own_schema import OWN_SCHEMA
from chronoduck.principals import Scope
from chronoduck.service.records import Caller
from chronoduck.service.results import QueryResult
from chronoduck.sql.rules.file_names import folded
from chronoduck.sql.scopes.plan import ScopePlan, ScopeView
from chronoduck.table_names import parse_table_name, written_table_name

__all__ = ["Catalog", "Column", "Table", "quote_identifier"]

_TABLES = f"""
SELECT t.schema_name, t.table_name, 'table' AS kind, t.estimated_size, t.column_count,
  current_database()
FROM duckdb_tables() t
WHERE t.database_name = current_database() AND NOT t.internal AND NOT t.temporary
  AND t.schema_name <> '{OWN_SCHEMA}'
UNION ALL
SELECT v.schema_name, v.view_name, 'view', NULL, v.column_count, current_database()
FROM duckdb_views() v
WHERE v.database_name = current_database() AND NOT v.internal AND NOT v.temporary
ORDER BY 1, 2
"""
_COLUMNS = """
SELECT column_name, data_type, is_nullable, column_default
FROM duckdb_columns()
WHERE database_name = current_database() AND schema_name = $schema AND table_name = $table
ORDER BY column_index
"""
_BLOCK_BYTES = 262_144
"""DuckDB's block size."""
_SAMPLE_ROWS = 5


_Plan = Callable[[Scope], Awaitable[ScopePlan]]


class _Execute(Protocol):
    async def __call__(
        self, sql: str, params: Params = None, *, caller: Caller, is_own_text: bool
    ) -> QueryResult: ...


@dataclass(frozen=True)
class Column:
    """A column of a table; ``type`` is DuckDB's."""

    name: str
    type: str
    nullable: bool
    default: str | None


@dataclass(frozen=True)
class Table:
    """A table or view; ``row_estimate`` and ``size_bytes`` are None for views."""

    schema: str
    name: str
    kind: str
    row_estimate: int | None
    column_count: int
    database: str | None
    """As SQL names it; None: for a scoped principal, who cannot name it."""
    size_bytes: int | None = None
    columns: list[Column] = field(default_factory=list)

    @property
    def qualified_name(self) -> str:
        """The name as SQL, quoted."""
        # Without the database it is ambiguous when the schema is named like the file.
        names = [self.database] if self.database else []
        return ".".join(map(quote_identifier, [*names, self.schema, self.name]))

    @property
    def paths(self) -> list[tuple[str, ...]]:
        """The names that it is found by."""
        whole = (self.schema, self.name)
        return [(self.name,), whole] if self.schema == "main" else [whole]

    @property
    def rows_sql(self) -> str:
        """The statement that reads all of its rows."""
        return f"SELECT * FROM {self.qualified_name}"

    @property
    def sample_sql(self) -> str:
        """The statement that reads a few of its rows."""
        return f"SELECT * FROM {self.qualified_name} LIMIT {_SAMPLE_ROWS}"

    @property
    def texts_sql(self) -> str:
        """The same with every value as a text."""
        names = [quote_identifier(column.name) for column in self.columns]
        texts = ", ".join(f"CAST({name} AS VARCHAR) AS {name}" for name in names)
        return f"SELECT {texts} FROM {self.qualified_name} LIMIT {_SAMPLE_ROWS}"


def quote_identifier(name: str) -> str:
    """Return the name as SQL, whatever it is made of."""
    return '"' + name.replace('"', '""') + '"'


def _as_seen(table: Table, view: ScopeView) -> Table:
    """Return the table as a scoped principal sees it, without what counts hidden rows."""
    estimate = table.row_estimate if view.is_whole else None
    return replace(table, database=None, row_estimate=estimate)


class Catalog:
    """Answers ``GET tables`` and ``GET tables/{name}``, on the account of who asks."""

    def __init__(self, execute: _Execute, plan: _Plan) -> None:
        self._execute = execute
        self._plan = plan

    async def _run(self, sql: str, params: Params, caller: Caller) -> list[Any]:
        return list((await self._execute(sql, params, caller=caller, is_own_text=True)).data)

    async def tables(self, caller: Caller) -> list[Table]:
        """Return all tables and views that the caller sees, by schema and name."""
        scope = caller.principal.scope
        tables = [Table(*row) for row in await self._run(_TABLES, None, caller)]
        if scope is None:
            return tables
        plan = await self._plan(scope)
        return [
            _as_seen(table, view)
            for table in tables
            if (view := plan.find(table.schema, table.name)) is not None
        ]

    async def table(self, name: str, caller: Caller) -> Table:
        """Return one table with columns and size on disk.

        ``name`` is ``table`` or ``schema.table``, parts with other signs in double quotes; the bare
        name of a table that is there is understood, too, whatever it is made of.

        Raises:
            NotFoundError: no table or view of that name.
            RowFilterError: the caller's row filter does not fit it.
        """
        scope = caller.principal.scope
        plan = None if scope is None else await self._plan(scope)
        if plan is not None and not plan.broken.isdisjoint(_keys(name)):
            raise RowFilterError.because(plan.problems)
        found = self._find(await self.tables(caller), name)
        view = None if plan is None else plan.find(found.schema, found.name)
        if view is not None and (found.kind == "view" or not view.is_whole):
            # Sizes, defaults and constraints tell of rows that are hidden, and a view may read a
            # table of which some are hidden.
            return replace(found, columns=[Column(*each, True, None) for each in view.columns])
        params: dict[str, Any] = {"schema": found.schema, "table": found.name}
        columns = [Column(*row) for row in await self._run(_COLUMNS, params, caller)]
        size = None
        if found.kind == "table" and (counting := blocks_of(found.schema, found.name)):
            size = _BLOCK_BYTES * int((await self._run(counting, None, caller))[0][0])
        return Table(
            schema=found.schema,
            name=found.name,
            kind=found.kind,
            row_estimate=found.row_estimate,
            column_count=found.column_count,
            database=found.database,
            size_bytes=size,
            columns=columns,
        )

    @staticmethod
    def _find(tables: list[Table], name: str) -> Table:
        wanted = [*_parsed(name), (name,)]
        by_path = {path: table for table in reversed(tables) for path in table.paths}
        for path in wanted:  # a point in a bare name comes after a schema
            if path in by_path:
                return by_path[path]
        folded_paths = {tuple(map(folded, path)): table for path, table in by_path.items()}
        for path in wanted:
            if tuple(map(folded, path)) in folded_paths:
                return folded_paths[tuple(map(folded, path))]
        known = ", ".join(written_table_name(each.schema, each.name) for each in tables[:10])
        raise NotFoundError(
            f"there is no table or view {name}",
            hint=f"GET tables lists them; there are: {known or 'none yet'}.",
        )


def _keys(name: str) -> list[tuple[str, str]]:
    """Return schema and name, folded, of all tables that a name may mean."""
    paths = [path if len(path) == 2 else ("main", *path) for path in [*_parsed(name), (name,)]]
    return [(folded(path[0]), folded(path[1])) for path in paths if len(path) == 2]


def _parsed(name: str) -> list[tuple[str, ...]]:
    try:
        return [parse_table_name(name)]
    except ValueError:
        return []
