"""What a scope's catalogue holds: decided from the scope and a listing of the database's catalogue."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from chronoduck.errors import DuckDBException, InvalidRequestError
from chronoduck.principals import Claims, ClaimValue, Scope, TableGrant
from chronoduck.sql.catalog_copy import quoted
from chronoduck.sql.cutting import view_query
from chronoduck.sql.scopes.claims import Bindings
from chronoduck.sql.scopes.filters import condition
from chronoduck.sql.scopes.names import SYSTEM_SCHEMAS, Syntax, check_names, folded, names_of
from chronoduck.sql.scopes.types import without_enums

__all__ = [
    "CATALOG_PREFIX",
    "Relation",
    "ScopePlan",
    "ScopeView",
    "is_before_barrier",
    "plan_scope",
]

CATALOG_PREFIX = "chronoduck_scope_"
_MORE_ROWS = 1_000_000_000_000
"""More than any table has: the number of rows that the optimizer counts with for a filtered table."""
Key = tuple[str, str]
"""Schema and name, folded."""


@dataclass(frozen=True)
class Relation:
    """A table or view of the database. ``sql``: a view's text. ``columns``: names and types."""

    schema: str
    name: str
    columns: tuple[tuple[str, str], ...]
    sql: str | None = None

    @property
    def key(self) -> Key:
        """By what it is found."""
        return (folded(self.schema), folded(self.name))


@dataclass(frozen=True)
class ScopeView:
    """A view in the scope's catalogue that stands for a table or view of the database."""

    schema: str
    name: str
    select: str
    columns: tuple[tuple[str, str], ...]
    """Names and types as the principal sees them."""
    is_whole: bool
    """Whether every row is seen."""

    def create(self, catalog: str) -> str:
        """Return the statement that makes it."""
        names = ", ".join(quoted(name) for name, _ in self.columns)
        return (
            f"CREATE VIEW {quoted(catalog)}.{quoted(self.schema)}.{quoted(self.name)} ({names}) "
            f"AS {self.select}"
        )


@dataclass(frozen=True)
class ScopePlan:
    """All views of a scope, each after those it reads, and what could not be granted and why."""

    views: tuple[ScopeView, ...] = ()
    schemas: tuple[str, ...] = ()
    """All that the scope names, empty ones too: a name of no schema may be one of a database, and
    a name of both is refused by DuckDB."""
    problems: tuple[str, ...] = field(default=(), compare=False)
    broken: frozenset[Key] = field(default=frozenset(), compare=False)
    """Tables whose row filters do not fit them: they are not there, and asking for one is an error."""
    missing: tuple[str, ...] = field(default=(), compare=False)
    """Claims that filters name and that the principal does not have."""
    variables: tuple[tuple[str, ClaimValue], ...] = ()
    """What the connection must know for the filters; see ``claims``."""

    def find(self, schema: str, name: str) -> ScopeView | None:
        """Return the view that stands for a table or view, if it is seen."""
        return self._by_key.get((folded(schema), folded(name)))

    @cached_property
    def _by_key(self) -> dict[Key, ScopeView]:
        return {(folded(view.schema), folded(view.name)): view for view in reversed(self.views)}


def plan_scope(
    scope: Scope, database: str, relations: Iterable[Relation], syntax: Syntax
) -> ScopePlan:
    """Decide what the scope holds. A grant that cannot be kept is left out and told in ``problems``."""
    known = {relation.key: relation for relation in relations}
    grants, problems = _grants(scope, known)
    done: dict[Key, ScopeView] = {}
    waiting: dict[Key, TableGrant] = {}
    variables: dict[str, ClaimValue] = {}
    adding = _Adding(done, problems, variables, scope.claims, syntax)
    for key, grant in grants.items():
        relation = known[key]
        if relation.sql is not None:
            waiting[key] = grant
            continue
        source = _source(relation, database)
        adding.add(relation, grant, source)
    _add_views(adding, waiting, known, syntax)
    schemas = {folded(name) for name in (*scope.schemas, *(each.schema for each in scope.tables))}
    return ScopePlan(
        tuple(done.values()),
        tuple(sorted(schemas - {"main"})),
        tuple(problems),
        frozenset(adding.broken),
        tuple(sorted(adding.missing)),
        tuple(sorted(variables.items())),
    )


def _source(relation: Relation, database: str) -> str:
    """Return the table as SQL, to be read as long as it is a table.

    A view has no ``rowid``: one that takes the table's name, and shows what it likes, is not read
    before the scope has been compared with the database again. It costs nothing at run time.
    """
    name = quoted(relation.name)
    source = f"{quoted(database)}.{quoted(relation.schema)}.{name}"
    columns = [column for column, _ in relation.columns]
    if any(folded(column) == "rowid" for column in columns):
        return f"{source} AS {name}"
    names = ", ".join(map(quoted, columns))
    return f"(SELECT rowid, {names} FROM {source}) AS {name}"


def _grants(scope: Scope, known: Mapping[Key, Relation]) -> tuple[dict[Key, TableGrant], list[str]]:
    """Return one grant per relation; a filter on a table wins over the grant of its whole schema."""
    schemas = {folded(name) for name in scope.schemas}
    grants = {
        key: TableGrant(relation.name, relation.schema)
        for key, relation in known.items()
        if key[0] in schemas
    }
    present = {key[0] for key in known} | {"main"}
    problems = [
        f"there is no schema {name} with a table or view"
        for name in scope.schemas
        if folded(name) not in present
    ]
    twice: set[Key] = set()
    seen: set[Key] = set()
    for grant in scope.tables:
        key = (folded(grant.schema), folded(grant.name))
        (twice if key in seen else seen).add(key)
        if key in known:
            grants[key] = grant
        else:
            problems.append(f"there is no table or view {grant.schema}.{grant.name}")
    for key in twice:
        problems.append(f"{'.'.join(key)} is granted twice; which of its filters counts?")
        grants.pop(key, None)
    for schema in {key[0] for key in grants} & SYSTEM_SCHEMAS:
        problems.append(f"{schema} is DuckDB's own schema")
        grants = {key: grant for key, grant in grants.items() if key[0] != schema}
    return grants, problems


@dataclass
class _Adding:
    """What a scope holds so far."""

    done: dict[Key, ScopeView]
    problems: list[str]
    variables: dict[str, ClaimValue]
    claims: Claims
    syntax: Syntax
    broken: set[Key] = field(default_factory=set)
    missing: set[str] = field(default_factory=set)

    def add(self, relation: Relation, grant: TableGrant, source: str) -> None:
        """Add a table or view as its grant shows it."""
        bindings = Bindings(self.claims, grant.values)
        try:
            self.done[relation.key] = _view(relation, grant, source, self.syntax, bindings)
        except DuckDBException as error:
            self.problems.append(f"{relation.schema}.{relation.name}: {error}")
            if grant.row_filter is not None:
                self.broken.add(relation.key)
        self.variables.update(bindings.variables)
        self.missing |= bindings.missing


def _view(
    relation: Relation, grant: TableGrant, source: str, syntax: Syntax, bindings: Bindings
) -> ScopeView:
    """Return the view over ``source`` that shows what the grant says."""
    if grant.row_filter is None:
        names = ", ".join(quoted(name) for name, _ in relation.columns)
        select = f"SELECT {names} FROM {source}"
        return ScopeView(relation.schema, relation.name, select, relation.columns, is_whole=True)
    types = {folded(name): kind for name, kind in relation.columns}
    where = condition(grant.row_filter, types, relation.name, syntax, bindings)
    # An ENUM's type lists the values of all rows, the hidden ones too: its columns become texts.
    columns = tuple((name, without_enums(kind)) for name, kind in relation.columns)
    items = ", ".join(
        _item(name, None if kind == shown else shown)
        for (name, kind), (_, shown) in zip(relation.columns, columns, strict=True)
    )
    # The sample takes every row and keeps the optimizer from moving anything of the user's statement
    # below it: an expression that fails on a hidden row would tell of it. Statistics of columns do
    # pass the sample. `_item` stops those, and `_of_any_size` the number of rows.
    select = (
        f"SELECT * FROM (SELECT {items} FROM {source} WHERE {where}) USING SAMPLE 100% (system)"
    )
    select = _of_any_size(select, len(columns))
    return ScopeView(relation.schema, relation.name, select, columns, is_whole=False)


def _item(name: str, shown: str | None) -> str:
    """Return a column without what the optimizer knows of it, cast to ``shown`` if that is given.

    The statistics of a column (its least and greatest value, its longest text, whether it has a
    NULL) are those of all rows, the hidden ones too. From them the optimizer decides that a
    condition is never true, and leaves out what the condition guards: a statement that fails on a
    row of the scope then fails only if a hidden row has such a value, and asking again and again
    finds the value. DuckDB gives the result of TRY no statistics, and a bare column cannot fail, so
    that TRY changes no value.
    """
    column = quoted(name)
    opaque = f"TRY({column})"
    return f"{opaque if shown is None else f'CAST({opaque} AS {shown})'} AS {column}"


def _of_any_size(select: str, columns: int) -> str:
    """Return the SELECT without what the optimizer knows of the number of its rows.

    By the estimated rows DuckDB decides which side of a join it reads first, and which of two
    expressions fails first tells that decision. A second branch has more rows than any table by the
    estimate, and none when it runs: how many is not known before. The LIMIT cuts what DuckDB makes of
    the branches (1.5 takes the sum, 2 the larger one, but of some joins the table itself) to one
    number. The branch of nothing is the first one: 1.5 takes the number of different values in a
    column, by which it estimates groups, from there.
    """
    nothing = ", ".join(["NULL"] * columns)
    branches = (
        f"(SELECT {nothing} FROM range({_MORE_ROWS}) LIMIT (SELECT 0)) UNION ALL "
        f"SELECT * FROM ({select})"
    )
    return f"SELECT * FROM ({branches}) LIMIT {_MORE_ROWS}"


def is_before_barrier(node: Mapping[str, Any]) -> bool:
    """Whether a node of a plan reads the rows that a filter has left, or the branch of nothing."""
    facts = node.get("extra_info", {})
    if "SAMPLE" in node["name"]:
        return ": 100.0" in str(facts.get("Sample Method"))
    is_range = str(node["name"]).strip() == "RANGE"
    return is_range and facts.get("Estimated Cardinality") == str(_MORE_ROWS)


def _add_views(
    adding: _Adding,
    waiting: dict[Key, TableGrant],
    known: Mapping[Key, Relation],
    syntax: Syntax,
) -> None:
    """Add the users' views whose bodies reach nothing but what is in the scope already."""
    done, problems = adding.done, adding.problems
    bodies: dict[Key, str] = {}
    reached: dict[Key, frozenset[Key]] = {}
    for key in list(waiting):
        relation = known[key]
        try:
            bodies[key], reached[key] = _body(relation, known, syntax)
        except DuckDBException as error:
            problems.append(f"the view {relation.schema}.{relation.name}: {error}")
            del waiting[key]
    while ready := [key for key in waiting if reached[key] <= done.keys()]:
        for key in ready:
            relation = known[key]
            names = ", ".join(quoted(name) for name, _ in relation.columns)
            source = f"({bodies[key]}) AS {quoted(relation.name)} ({names})"
            adding.add(relation, waiting.pop(key), source)
    for key in waiting:
        missing = ", ".join(sorted(".".join(each) for each in reached[key] - done.keys()))
        problems.append(f"the view {'.'.join(key)} reads {missing}, which is not granted")


def _body(
    relation: Relation, known: Mapping[Key, Relation], syntax: Syntax
) -> tuple[str, frozenset[Key]]:
    """Return a view's SELECT and which relations of the database it names."""
    body = view_query(relation.sql or "")
    if body is None:
        raise InvalidRequestError("its text is not understood")
    names = names_of(syntax.facts(body))
    own = folded(relation.schema)

    def is_table(schema: str, name: str) -> bool:
        return any((each, name) in known for each in ([schema] if schema else [own, "main"]))

    check_names(names, syntax, {schema for schema, _ in known} | {"main"}, is_table)
    reached: set[Key] = set()
    for _, schema, name in names.tables:
        if schema:
            reached.add((schema, name))
        elif name not in names.ctes:
            reached.add((own, name) if (own, name) in known else ("main", name))
        elif (own, name) in known or ("main", name) in known:
            raise InvalidRequestError(f"{name} is a table and a name of its WITH clause")
    return body, frozenset(reached)
