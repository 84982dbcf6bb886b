"""Views and macros as the guard sees them: what they stand for, and how large that is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from chronoduck.errors import StatementRefusedError
from chronoduck.sql.catalog_copy import CatalogCopy
from chronoduck.sql.rules.file_names import Table

__all__ = [
    "EMPTY",
    "CatalogWantedError",
    "DefinitionSource",
    "Definitions",
    "Expansion",
    "MacroBody",
    "Macros",
    "ViewBody",
]


@dataclass(frozen=True, slots=True)
class MacroBody:
    """One overload of a macro; ``body`` is an expression, or a query of a table macro."""

    name: str
    parameters: tuple[str, ...]
    body: str
    is_table: bool


@dataclass(frozen=True, slots=True)
class ViewBody:
    """A view; ``sql`` is the CREATE VIEW that makes it."""

    name: str
    sql: str


@dataclass(frozen=True, slots=True)
class Expansion:
    """What a name stands for once DuckDB has put its definition in its place.

    ``nodes``: size. ``copies``: how often at most an argument is repeated in it. ``depth``: how deep
    the constructs nest that repeat their operands. ``tables``: relations that are read. ``growth``: how
    much larger its value is than its arguments. ``has_lambda``: a lambda is in it.
    """

    nodes: int
    copies: int
    depth: int
    tables: int
    writes: bool = False
    growth: float = 1.0
    has_lambda: bool = False
    refusal: StatementRefusedError | None = None
    files: frozenset[tuple[str, ...]] = frozenset()
    """Names of tables in it that could be taken for files', as they are written."""


Macros = Mapping[str, tuple[MacroBody, ...]]


@dataclass(frozen=True)
class Definitions:
    """The macros and views of one moment, by lower-case name whatever their schema.

    Judged when they are referenced for the first time; the outcome is kept in ``expansions``.
    """

    macros: Macros = field(default_factory=dict)
    views: Mapping[str, tuple[ViewBody, ...]] = field(default_factory=dict)
    files: frozenset[Table] = frozenset()
    """Tables and views whose names could be taken for files'."""
    expansions: dict[str, Expansion] = field(default_factory=dict, compare=False)

    def plus(
        self, created: tuple[MacroBody | ViewBody, ...], files: Iterable[Table] = ()
    ) -> Definitions:
        """Return these and the ones that a statement creates, for those that follow it in a batch.

        ``files``: what it makes with names like files'.
        """
        known = self.files.union(files)
        if not created and known == self.files:
            return self
        macros, views = dict(self.macros), dict(self.views)
        for item in created:
            if isinstance(item, MacroBody):
                macros[item.name] = (*macros.get(item.name, ()), item)
            else:
                views[item.name] = (*views.get(item.name, ()), item)
        return Definitions(macros, views, known)


class DefinitionSource(Protocol):
    """Knows the macros and views of a database."""

    def current(self) -> Definitions: ...

    def catalog(self, *, anew: bool = False) -> CatalogCopy:
        """Return all definitions, tables too; ``anew``: what it knows may be old.

        Raises:
            CatalogWantedError: they have to be handed over first.
        """
        ...


class CatalogWantedError(Exception):
    """A statement can be judged only by somebody who knows the tables."""


EMPTY = Definitions()
