"""The table that a sync goes into: what to do before rows can come, decided from what is there."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from chronoduck.sync.columns import SourceColumn
from chronoduck.sync.declaration import SyncDeclaration
from chronoduck.sync.failures import SyncDriftError
from chronoduck.sync.fitting import Fit, fit
from chronoduck.sync.source import quoted

__all__ = ["TargetColumn", "TargetPlan", "plan_target", "split_name"]

_CONSTANT_TYPES = {str: "VARCHAR", bool: "BOOLEAN", int: "BIGINT", float: "DOUBLE"}
_TYPE = re.compile(r"[A-Za-z][A-Za-z0-9_ ]*(\(\d+(, ?\d+)?\))?(\[\])*")


@dataclass(frozen=True)
class TargetColumn:
    """A column that rows bring: ``source`` names it in the files; ``type`` is the target's."""

    name: str
    type: str
    source: str


@dataclass(frozen=True)
class TargetPlan:
    """How rows get into the table."""

    schema: str
    table: str
    columns: tuple[TargetColumn, ...]
    key: tuple[TargetColumn, ...]
    constants: tuple[tuple[str, object], ...]
    create: str | None
    """The statement that makes the table; None: it is there."""
    added: tuple[TargetColumn, ...]
    """Columns of the source that are new and have to be added to the table first."""
    notes: tuple[str, ...]

    @property
    def alters(self) -> tuple[str, ...]:
        """The statements that add what is new; each is run alone."""
        return tuple(
            f"ALTER TABLE {self.name} ADD COLUMN IF NOT EXISTS {quoted(each.name)} {each.type}"
            for each in self.added
        )

    @property
    def name(self) -> str:
        """The table as SQL; the schema alone could be taken for a catalogue's name."""
        return f"{quoted(self.schema)}.{quoted(self.table)}"


def split_name(target: str) -> tuple[str, str]:
    """Return schema and table."""
    schema, _, table = target.rpartition(".")
    return schema or "main", table


def plan_target(
    declared: SyncDeclaration,
    source: Sequence[SourceColumn],
    existing: Sequence[tuple[str, str]] | None,
    known: Sequence[str] | None,
) -> TargetPlan:
    """Decide from the source's columns, the table's (None: there is none) and those of the last run.

    Raises:
        SyncDriftError: they do not fit together; names every column and what to do.
    """
    names = {**{each.name: each.name for each in source}, **declared.rename, **declared.columns}
    types = {name.lower(): kind for name, kind in existing or ()}
    spelled = {name.lower(): name for name, _ in existing or ()}
    problems, notes, columns, added = [], [], [], []
    for each in source:
        name = spelled.get(names[each.name].lower(), names[each.name])
        present = types.get(name.lower())
        column = TargetColumn(name, present or _wanted(declared, each), each.name)
        how, loss = fit(each.type, column.type, is_decimal_text=each.is_decimal_text)
        if how is Fit.NONE and (present is not None or each.name in declared.types):
            problems.append(f"{each.name} is {each.source_type} and {name} is {column.type}")
        if loss:
            notes.append(f"{name} ({column.type}) {loss}")
        elif each.note and column.type == each.type:
            notes.append(each.note)
        columns.append(column)
        if existing is not None and present is None:
            added.append(column)
    _check_names(columns, declared, problems)
    gone = [name for name in known or () if name not in {each.name for each in source}]
    problems += [
        f"{name} is no longer in the source" for name in gone if name not in declared.exclude
    ]
    if problems:
        raise SyncDriftError(
            f"sync {declared.name}: {'; '.join(problems)}",
            hint=f"Change the column in {declared.target} (ALTER TABLE), or leave it out of the sync "
            "(exclude, columns). Nothing was written.",
        )
    schema, table = split_name(declared.target)
    by_source = {column.source: column for column in columns}
    constants = tuple(
        (spelled.get(name.lower(), name), value) for name, value in declared.constants.items()
    )
    return TargetPlan(
        schema,
        table,
        tuple(columns),
        tuple(by_source[name] for name in declared.key),
        constants,
        _create(schema, table, columns, constants) if existing is None else None,
        (*added, *_new_constants(constants, types, existing)),
        tuple(notes),
    )


def _wanted(declared: SyncDeclaration, column: SourceColumn) -> str:
    kind = declared.types.get(column.name, column.type)
    if not _TYPE.fullmatch(kind):
        raise SyncDriftError(
            f"sync {declared.name}: {kind!r} is not a type that a column can be made with",
            hint="Write one of DuckDB's: DOUBLE, DECIMAL(18,4), TIMESTAMP, VARCHAR[].",
        )
    return re.sub(r", ?", ",", kind.upper()) if column.name in declared.types else kind


def _check_names(
    columns: Sequence[TargetColumn], declared: SyncDeclaration, problems: list[str]
) -> None:
    names = [each.name.lower() for each in columns]
    names += [name.lower() for name in declared.constants]
    twice = sorted({name for name in names if names.count(name) > 1})
    problems += [f"two columns go into {name}" for name in twice]
    problems += [] if columns else ["the source has no columns that are taken"]


def _new_constants(
    constants: Sequence[tuple[str, object]],
    types: dict[str, str],
    existing: Sequence[tuple[str, str]] | None,
) -> tuple[TargetColumn, ...]:
    return tuple(
        TargetColumn(name, _CONSTANT_TYPES[type(value)], "")
        for name, value in constants
        if existing is not None and name.lower() not in types
    )


def _create(
    schema: str,
    table: str,
    columns: Sequence[TargetColumn],
    constants: Sequence[tuple[str, object]],
) -> str:
    items = [f"{quoted(each.name)} {each.type}" for each in columns]
    items += [f"{quoted(name)} {_CONSTANT_TYPES[type(value)]}" for name, value in constants]
    return f"CREATE TABLE {quoted(schema)}.{quoted(table)} ({', '.join(items)})"
