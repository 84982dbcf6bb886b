"""ENUMs inside of other types, which DuckDB 1.5 cannot read back from Arrow safely."""

from __future__ import annotations

import pyarrow as pa

from chronoduck.errors import DuckDBQueryError

__all__ = ["without_nested_enums"]


def without_nested_enums(table: pa.Table) -> pa.Table:
    """Return the table with strings for the ENUMs (dictionaries) inside of nested columns.

    DuckDB 1.5.5 dereferences null when it reads a dictionary below an empty list, and crashes the
    process for one below a fixed-size list. A direct member of a UNION is read well, and stays.

    Raises:
        DuckDBQueryError: one is deeper inside of a UNION, which Arrow cannot cast.
    """
    for index, field in enumerate(table.schema):
        if pa.types.is_nested(field.type):
            target = _without_dictionaries(field.type, field.name)
            if target != field.type:
                table = table.set_column(index, field.name, table.column(index).cast(target))
    return table


def _without_dictionaries(kind: pa.DataType, name: str) -> pa.DataType:
    """Return the type with strings for ENUMs; ``name``: of the column, for the error."""
    if pa.types.is_dictionary(kind):
        return kind.value_type
    children = [kind.field(index) for index in range(kind.num_fields)]
    plain = [child.with_type(_without_dictionaries(child.type, name)) for child in children]
    if plain == children:
        return kind
    if pa.types.is_union(kind):
        return _checked_union(kind, name)
    if pa.types.is_map(kind):
        entries = plain[0].type
        return pa.map_(entries.field(0).type, entries.field(1).type)
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(plain[0], kind.list_size)
    return pa.struct(plain) if pa.types.is_struct(kind) else pa.list_(plain[0])


def _checked_union(kind: pa.UnionType, name: str) -> pa.UnionType:
    for index in range(kind.num_fields):
        member = kind.field(index).type
        if not pa.types.is_dictionary(member) and _without_dictionaries(member, name) != member:
            raise DuckDBQueryError(
                f"the column {name[:80]} has lists of ENUMs inside of a UNION, which cannot be encoded",
                hint="Cast that column to VARCHAR.",
                category="not_implemented",
            )
    return kind
