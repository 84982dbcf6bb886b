"""What views and macros stand for: their definitions are judged when a statement refers to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from chronoduck.errors import StatementRefusedError
from chronoduck.sql.cutting import view_query
from chronoduck.sql.definitions import Definitions, Expansion, MacroBody, ViewBody
from chronoduck.sql.rules.file_names import folded
from chronoduck.sql.rules.growth import Growth, judge_facts
from chronoduck.sql.rules.lookup import Names
from chronoduck.sql.rules.refusals import RULES, refuse
from chronoduck.sql.scratch import Scratch, builtins

__all__ = ["Expander"]

_MAX_CHAIN = 30
"""Definitions that refer to each other in a chain."""
_UNDERWAY = Expansion(nodes=1, copies=1, depth=0, tables=0)


class Expander(Names):
    """Looks names up in the database's definitions and in DuckDB's own."""

    def __init__(
        self,
        scratch: Scratch,
        definitions: Definitions,
        *,
        may_write: bool,
        may_read_stores: bool = False,
        is_trusted: bool = False,
        trusts_parameters: bool = False,
        knows_tables: bool = True,
    ) -> None:
        """``knows_tables``: else every name may be a table's, and somebody else looks."""
        self._scratch = scratch
        self._definitions = definitions
        self.may_write = may_write
        self.may_read_stores = may_read_stores
        self.is_trusted = is_trusted
        self.trusts_parameters = trusts_parameters
        self._knows_tables = knows_tables
        self.files: set[tuple[str, ...]] = set()
        """Names that could be taken for files', of which it was said that they are tables'."""
        self.hides_writes = False
        """Whether a view or macro that was looked up takes numbers from a sequence."""
        self._underway: set[str] = set()
        self._found: dict[str, Expansion] = {}

    def is_table(self, path: Sequence[str]) -> bool:
        """Whether a name that could be taken for a file's is a table's; remembered in ``files``."""
        schema, name = ("main", *path)[-2:]
        known = self._definitions.files
        is_known = (folded(schema), folded(name)) in known or (
            len(path) == 2 and ("main", folded(name)) in known  # the first part may be the database
        )
        if self._knows_tables and not is_known:
            return False
        self.files.add(tuple(path))
        return True

    def is_builtin(self, name: str) -> bool:
        """Whether DuckDB brings a function of that name."""
        return name in builtins().names

    def macro(self, name: str) -> Expansion | None:
        """Return what a macro stands for; one of the database hides DuckDB's own."""
        bodies = self._definitions.macros.get(name)
        if bodies is not None:
            return self._noted(self._remembered(f"macro {name}", bodies))
        own = builtins().definitions
        if name in own.macros and not self.is_trusted:
            return Expander(self._scratch, own, may_write=False, is_trusted=True).macro(name)
        return None

    def has_macro(self, name: str) -> bool:
        """Whether the database itself, not DuckDB, has a macro of that name."""
        return name in self._definitions.macros

    def view(self, name: str) -> Expansion | None:
        """Return what a view stands for, the largest of those with that name."""
        bodies = self._definitions.views.get(name)
        return None if bodies is None else self._noted(self._remembered(f"view {name}", bodies))

    def _noted(self, expansion: Expansion) -> Expansion:
        self.hides_writes |= expansion.writes
        return expansion

    def _remembered(
        self, label: str, bodies: tuple[MacroBody, ...] | tuple[ViewBody, ...]
    ) -> Expansion:
        key = f"{label} {self.may_write:d}{self.may_read_stores:d}"
        known = self._definitions.expansions.get(key) or self._found.get(label)
        if known is not None:
            self.files |= known.files
            return known
        if label in self._underway:
            if self.is_trusted:
                return _UNDERWAY
            refuse("nesting", f"{label} calls another one of its own name")
        if len(self._underway) >= _MAX_CHAIN:
            refuse("nesting", f"more than {_MAX_CHAIN} views and macros refer to each other")
        self._underway.add(label)
        outside, self.files = self.files, set()
        try:
            expansion = replace(self._largest(label, bodies), files=frozenset(self.files))
        finally:
            self.files |= outside
            self._underway.discard(label)
        self._found[label] = expansion
        if not self._underway:  # inside a chain it may have been refused for the chain's length
            self._definitions.expansions[key] = expansion
        return expansion

    def _largest(
        self, label: str, bodies: tuple[MacroBody, ...] | tuple[ViewBody, ...]
    ) -> Expansion:
        nodes, copies, depth, tables, writes, growth = 1, 1, 0, 0, False, 1.0
        has_lambda = False
        for body in bodies:
            try:
                written = self._growth(body)
            except StatementRefusedError as error:
                refusal = StatementRefusedError(
                    f"{label} is not for statements of users: {error.detail}",
                    hint=error.hint,
                    rule=error.rule,
                )
                return Expansion(1, 1, 0, 0, refusal=refusal)
            nodes = max(nodes, written.nodes)
            depth = max(depth, written.depth)
            tables = max(tables, written.tables)
            writes |= written.writes
            growth = max(growth, written.growth)
            has_lambda |= written.has_lambda
            if isinstance(body, MacroBody):
                copies = max([copies, *(written.columns[name] for name in body.parameters)])
        return Expansion(nodes, copies, depth, tables, writes, growth, has_lambda)

    def judge_body(self, body: MacroBody | ViewBody) -> None:
        """Refuse a definition, as DuckDB writes it, that a user may not make.

        Raises:
            StatementRefusedError: a rule refuses what it does.
        """
        self._growth(body)

    def _growth(self, body: MacroBody | ViewBody) -> Growth:
        if isinstance(body, ViewBody):
            query = view_query(body.sql)
        else:
            query = body.body if body.is_table else f"SELECT ({body.body}\n)"
        facts = None if query is None else self._scratch.facts(query)
        if facts is None:
            if self.is_trusted:
                return Growth(nodes=1)
            raise StatementRefusedError(
                "its definition cannot be read", hint=RULES["unreadable"], rule="unreadable"
            )
        return judge_facts(facts, self)
