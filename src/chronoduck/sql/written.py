"""What a statement of a writer changes, by its words and by DuckDB's tree: the names, as it writes them.

This is read for principals that may write a part of the database. What is not understood is said to be
so (``is_known``), and then such a principal may not send it. Where the names lead is decided in the
statement's own transaction (``engine/write_walls.py``), which also compares the catalog before and
after: a change that this module misses is found there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import duckdb

from chronoduck.own_schema import OWN_SCHEMA, PRODUCT_NAMES
from chronoduck.principals import WriteGrants
from chronoduck.sql.facts import Part, StatementFacts
from chronoduck.sql.rules.file_names import folded
from chronoduck.sql.scratch import Scratch
from chronoduck.sql.tokens import Token, closing, read_tokens
from chronoduck.table_names import parse_table_name

__all__ = ["Path", "WriteWall", "Written", "written_by", "written_by_bulk"]

Path = tuple[str, ...]
"""The parts of a name, folded: ``("t",)``, ``("s", "t")``, ``("db", "s", "t")``."""


@dataclass(frozen=True)
class Written:
    """What a statement changes. ``is_known``: that is all of it."""

    rows: tuple[Path, ...] = ()
    """Tables whose rows it changes."""
    objects: tuple[Path, ...] = ()
    """Tables, views, types, ... that it makes, alters or drops, and tables that it indexes."""
    schemas: tuple[Path, ...] = ()
    """Schemas that it makes or drops."""
    sequences: tuple[Path, ...] = ()
    """Sequences that it takes numbers from."""
    is_known: bool = True

    @property
    def is_nothing(self) -> bool:
        """Whether it changes nothing."""
        return self == _NOTHING


@dataclass(frozen=True)
class WriteWall:
    """What one statement writes, and what its principal may; ``grants``: None of one without."""

    written: Written
    grants: WriteGrants | None
    watches_catalog: bool

    def allows(self, schema: str, name: str, *, rows: bool = False) -> bool:
        """Whether the principal may change an object, or only the rows of it; names folded."""
        if self.grants is None:
            return True
        if schema in _SYSTEM_SCHEMAS:
            return False
        is_whole = schema in map(folded, self.grants.schemas)
        granted = {(folded(each), folded(table)) for each, table in self.grants.tables}
        return is_whole or (rows and (schema, name) in granted)


_NOTHING = Written()
_SYSTEM_SCHEMAS = frozenset({"information_schema", "pg_catalog", "temp", "system", OWN_SCHEMA})
_HAS_TREES_OF_WRITES = not duckdb.__version__.startswith("1.")
_HEAD_CHARACTERS = 20_000
_ROW_KINDS = frozenset({"insert", "update", "delete"})
_WRITING_NODES = frozenset({"INSERT_QUERY_NODE", "UPDATE_QUERY_NODE", "DELETE_QUERY_NODE"})
_WRITING_WORDS = frozenset("insert update delete truncate merge copy".split())
_BEFORE_STATEMENTS = frozenset({"(", ")", "as"})
_SEQUENCE_FUNCTIONS = frozenset({"nextval", "setval", "currval"})
_NO_NAMES = frozenset("only table if as set values select default from using on".split())
"""Words that no unquoted table is called by here: behind them the grammar may go on in another way."""
_MADE = frozenset("table view sequence macro function type".split())
_ALTERED = frozenset({"table", "view", "sequence"})
_COMMENTED = _MADE | {"column", "index"}
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_.")


class _NotUnderstoodError(Exception):
    """The words do not stand as this module knows them."""


def written_by(kind: str, text: str, tokens: Sequence[Token], scratch: Scratch) -> Written:
    """Return what a statement of that kind changes; it is no EXPLAIN."""
    try:
        found = _by_kind(kind, text, tokens, scratch)
        return replace(found, sequences=tuple(_sequences(tokens)))
    except _NotUnderstoodError:
        # Who may write everything else is held by the names of the product's tables alone.
        rows = tuple((name,) for name in sorted(PRODUCT_NAMES) if _mentions(tokens, name))
        return Written(rows=rows, is_known=False)


def written_by_bulk(text: str) -> Written:
    """Return what an INSERT of literals changes: its head has no literal and no comment."""
    tokens = read_tokens(text[:_HEAD_CHARACTERS].partition("'")[0])
    try:
        return Written(rows=(_row_target(tokens, 0),))
    except _NotUnderstoodError:
        return Written(is_known=False)


def _by_kind(kind: str, text: str, tokens: Sequence[Token], scratch: Scratch) -> Written:
    if kind in _ROW_KINDS:
        target = _row_target(tokens, _behind_with(tokens))
        whole = text.rstrip("; \t\r\n")
        facts = scratch.facts(f"WITH chronoduck_whole AS (\n{whole}\n) SELECT 1")
        if facts is None:
            if _HAS_TREES_OF_WRITES:
                raise _NotUnderstoodError
            return Written(rows=(target,))  # of 1.5, where no statement inside of it writes
        rows = _by_tree(facts)
        if target not in rows:
            raise _NotUnderstoodError
        return Written(rows=rows)
    if kind == "select":
        facts = scratch.facts(text)
        if facts is None:  # a PIVOT without a list, which holds no other statement
            if _may_hold_writes(tokens):
                raise _NotUnderstoodError
            return _NOTHING
        return Written(rows=_by_tree(facts))
    if kind == "merge_into":
        return Written(rows=(_merge_target(tokens),))
    if kind in ("create", "alter", "drop"):
        if _may_hold_writes(tokens):
            raise _NotUnderstoodError
        return _DDL[kind](tokens)
    raise _NotUnderstoodError


def _may_hold_writes(tokens: Sequence[Token], head: int = -1) -> bool:
    """Whether a word that writes stands where a statement may begin, but for the one at ``head``."""
    return any(
        token.kind == "word"
        and token.text in _WRITING_WORDS
        and index != head
        and tokens[index - 1].text in _BEFORE_STATEMENTS
        for index, token in enumerate(tokens)
        if index
    )


def _mentions(tokens: Sequence[Token], name: str) -> bool:
    """Whether a name stands there; DuckDB 2.0 takes literals for names."""
    return any(
        folded(token.name) == name if token.is_name else name in folded(token.text)
        for token in tokens
        if token.is_name or token.kind == "string"
    )


# --- by DuckDB's tree ---------------------------------------------------------------------------


def _by_tree(facts: StatementFacts) -> tuple[Path, ...]:
    found: set[Path] = set()
    for index in facts.queries:
        part = facts.parts[index]
        if part.is_reading:
            continue
        if part.kind not in _WRITING_NODES:
            raise _NotUnderstoodError
        found.add(_target_of(part))
    return tuple(sorted(found))


def _target_of(part: Part) -> Path:
    """Return the table of an INSERT, UPDATE or DELETE in a tree, which names it in two ways."""
    node = part.node
    if part.kind == "INSERT_QUERY_NODE":
        given = [node.get("catalog"), node.get("schema"), node.get("table")]
    else:
        node = node.get("table") or {}
        if node.get("type") != "BASE_TABLE":
            raise _NotUnderstoodError
        given = [node.get("catalog_name"), node.get("schema_name"), node.get("table_name")]
    names = [str(each) for each in given if each]
    if not names or list((node.get("qualified_name") or {}).get("path") or names) != names:
        raise _NotUnderstoodError
    return tuple(map(folded, names))


# --- by words -----------------------------------------------------------------------------------


def _words(tokens: Sequence[Token], index: int, *words: str) -> bool:
    """Whether these plain words stand there."""
    here = tokens[index : index + len(words)]
    return [token.text if token.kind == "word" else "" for token in here] == list(words)


def _skip(tokens: Sequence[Token], index: int, *words: str) -> int:
    return index + len(words) if _words(tokens, index, *words) else index


def _one_of(tokens: Sequence[Token], index: int, words: frozenset[str]) -> str:
    if index >= len(tokens) or tokens[index].kind != "word" or tokens[index].text not in words:
        raise _NotUnderstoodError
    return tokens[index].text


def _path(tokens: Sequence[Token], index: int) -> tuple[Path, int]:
    """Return the name at ``index``, folded, and the index behind it."""
    parts: list[str] = []
    while index < len(tokens) and tokens[index].is_name:
        token = tokens[index]
        if not token.name or (token.kind == "word" and token.text in _NO_NAMES):
            break
        parts.append(folded(token.name))
        if index + 1 >= len(tokens) or tokens[index + 1].text != ".":
            return tuple(parts), index + 1
        index += 2
    raise _NotUnderstoodError


def _behind_with(tokens: Sequence[Token]) -> int:
    """Return where the statement behind its WITH clause begins; 0 without one."""
    if not _words(tokens, 0, "with"):
        return 0
    index = _skip(tokens, 1, "recursive")
    while True:
        if index >= len(tokens) or not tokens[index].is_name:
            raise _NotUnderstoodError
        index += 1
        if index < len(tokens) and tokens[index].text == "(":
            index = closing(tokens, index) + 1
        if not _words(tokens, index, "as"):
            raise _NotUnderstoodError
        index = _skip(tokens, _skip(tokens, index + 1, "not"), "materialized")
        if index >= len(tokens) or (tokens[index].kind, tokens[index].text) != ("operator", "("):
            raise _NotUnderstoodError
        index = closing(tokens, index) + 1
        if index >= len(tokens) or tokens[index].text != ",":
            return index
        index += 1


def _row_target(tokens: Sequence[Token], index: int) -> Path:
    """Return the table of an INSERT, UPDATE, DELETE or TRUNCATE that begins at ``index``."""
    if _words(tokens, index, "insert"):
        index = _skip(tokens, _skip(tokens, index + 1, "or", "replace"), "or", "ignore")
        if not _words(tokens, index, "into"):
            raise _NotUnderstoodError
        return _path(tokens, index + 1)[0]
    if _words(tokens, index, "update"):
        return _path(tokens, index + 1)[0]
    if _words(tokens, index, "delete", "from"):
        return _path(tokens, index + 2)[0]
    if _words(tokens, index, "truncate"):
        return _path(tokens, _skip(tokens, index + 1, "table"))[0]
    raise _NotUnderstoodError


def _merge_target(tokens: Sequence[Token]) -> Path:
    index = _behind_with(tokens)
    if not _words(tokens, index, "merge", "into"):
        raise _NotUnderstoodError
    if _may_hold_writes(tokens, index):  # its own actions stand behind THEN
        raise _NotUnderstoodError
    return _path(tokens, index + 2)[0]


def _created(tokens: Sequence[Token]) -> Written:
    index = _skip(tokens, _skip(tokens, 1, "or", "replace"), "recursive")
    if _words(tokens, index, "schema"):
        path, _ = _path(tokens, _skip(tokens, index + 1, "if", "not", "exists"))
        return Written(schemas=(path,))
    unique = _skip(tokens, index, "unique")
    if _words(tokens, unique, "index"):
        index = _skip(tokens, unique + 1, "if", "not", "exists")
        if not _words(tokens, index, "on"):
            index += 1  # its name, which is of one part
        if not _words(tokens, index, "on"):
            raise _NotUnderstoodError
        return Written(objects=(_path(tokens, index + 1)[0],))
    _one_of(tokens, index, _MADE)
    path, _ = _path(tokens, _skip(tokens, index + 1, "if", "not", "exists"))
    return Written(objects=(path,))


def _dropped(tokens: Sequence[Token]) -> Written:
    made = _one_of(tokens, 1, _MADE | {"index", "schema"})
    index = _skip(tokens, 2, "table") if made in ("macro", "function") else 2
    path, index = _path(tokens, _skip(tokens, index, "if", "exists"))
    index = _skip(tokens, _skip(tokens, index, "cascade"), "restrict")
    if any(token.text != ";" for token in tokens[index:]):
        raise _NotUnderstoodError
    return Written(schemas=(path,)) if made == "schema" else Written(objects=(path,))


def _altered(tokens: Sequence[Token]) -> Written:
    if _words(tokens, 0, "comment", "on"):
        made = _one_of(tokens, 2, _COMMENTED)
        path, _ = _path(tokens, 3)
        return Written(objects=(path[:-1] if made == "column" else path,))
    _one_of(tokens, 1, _ALTERED)
    path, index = _path(tokens, _skip(tokens, 2, "if", "exists"))
    if any(token.text == "owned" for token in tokens[index:]):  # it ties two objects together
        raise _NotUnderstoodError
    return Written(objects=(path,))


_DDL = {"create": _created, "drop": _dropped, "alter": _altered}


def _sequences(tokens: Sequence[Token]) -> list[Path]:
    """Return the sequences that the words take numbers from; each is named by a literal."""
    found = []
    for index, token in enumerate(tokens[:-2]):
        if not token.is_name or token.text not in _SEQUENCE_FUNCTIONS:
            continue
        if tokens[index + 1].text != "(":
            continue
        name = tokens[index + 2]
        text = folded(name.text)
        if name.kind != "string" or not text or not _PLAIN.issuperset(text):
            raise _NotUnderstoodError
        try:
            found.append(parse_table_name(text))
        except ValueError:
            raise _NotUnderstoodError from None
    return found
