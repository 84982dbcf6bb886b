"""MAPs as lists of their entries, in which a key may stand twice.

A table may hold a MAP with a key twice: Parquet files and DuckDB before 2.0 made some. DuckDB writes it
to Arrow as it is, but refuses to read it back from there as a MAP.
"""

from __future__ import annotations

import pyarrow as pa
from duckdb.sqltypes import DuckDBPyType

from chronoduck.engine.encoding.contract import member_types

__all__ = ["as_map", "holds_map", "keeps_maps", "without_maps"]

_NESTED = frozenset({"list", "array", "struct", "tuple", "map", "union"})


def keeps_maps(kind: DuckDBPyType) -> bool:
    """Whether the MAPs in a column stay MAPs: Arrow casts nothing inside of a UNION."""
    if kind.id not in _NESTED:
        return False
    inner = [child for _, child in member_types(kind)]
    return any(map(holds_map if kind.id == "union" else keeps_maps, inner))


def holds_map(kind: DuckDBPyType) -> bool:
    """Whether a type is or contains a MAP."""
    if kind.id not in _NESTED:
        return False
    return kind.id == "map" or any(holds_map(child) for _, child in member_types(kind))


def without_maps(table: pa.Table) -> pa.Table:
    """Return the table with lists of STRUCTs (key, value) for its MAPs, but for ``keeps_maps``."""
    for index, field in enumerate(table.schema):
        if pa.types.is_nested(field.type) and not _keeps(field.type):
            target = _entries(field.type)
            if target != field.type:
                column = pa.field(field.name, target, metadata=field.metadata)
                table = table.set_column(index, column, table.column(index).cast(target))
    return table


def as_map(array: pa.Array, kind: DuckDBPyType) -> pa.Array:
    """Return an array in which lists of entries are MAPs again, where ``kind`` has some."""
    if not holds_map(kind):
        return array
    members = [child for _, child in member_types(kind)]
    if kind.id == "map":
        # Whoever reads the offsets of a sliced list gets those of its part, and all values.
        entries = as_map_entries(array.values, members)
        key, value = (_retyped(array.values.type.field(n), entries[n]) for n in range(2))
        target = pa.map_(key.with_nullable(False), value)
        return pa.MapArray.from_arrays(_offsets(array), *entries, target)
    if kind.id == "list":
        values = as_map(array.values, members[0])
        target = pa.list_(_retyped(array.type.value_field, values))
        return pa.ListArray.from_arrays(_offsets(array), values, target)
    if kind.id == "array":
        size = array.type.list_size
        values = as_map(array.values.slice(array.offset * size, len(array) * size), members[0])
        target = pa.list_(_retyped(array.type.value_field, values), size)
        return pa.FixedSizeListArray.from_arrays(values, type=target, mask=array.is_null())
    parts = [as_map(array.field(n), member) for n, member in enumerate(members)]
    if array.offset or array.null_count:
        parts = [each.slice(0, len(array)) for each in parts]
    fields = [_retyped(array.type.field(n), part) for n, part in enumerate(parts)]
    return pa.StructArray.from_arrays(parts, fields=fields, mask=array.is_null())


def _retyped(field: pa.Field, array: pa.Array) -> pa.Field:
    """Return the field with the array's type; what it carries (it is GEOMETRY) stays."""
    return field.with_type(array.type)


def as_map_entries(entries: pa.StructArray, members: list[DuckDBPyType]) -> list[pa.Array]:
    """Return the keys and the values of all entries."""
    return [as_map(entries.field(n), member) for n, member in enumerate(members)]


def _offsets(array: pa.ListArray) -> pa.Array:
    """Return the offsets of a list; null where a list is, which the constructors understand."""
    if not array.null_count:
        return array.offsets
    is_null = pa.concat_arrays([array.is_null(), pa.array([False])])
    return pa.array(array.offsets.to_numpy(zero_copy_only=False), mask=is_null.to_numpy(False))


def _keeps(kind: pa.DataType) -> bool:
    children = [kind.field(index).type for index in range(kind.num_fields)]
    return any(map(_holds if pa.types.is_union(kind) else _keeps, children))


def _holds(kind: pa.DataType) -> bool:
    if pa.types.is_map(kind):
        return True
    return any(_holds(kind.field(index).type) for index in range(kind.num_fields))


def _entries(kind: pa.DataType) -> pa.DataType:
    children = [kind.field(index) for index in range(kind.num_fields)]
    plain = [child.with_type(_entries(child.type)) for child in children]
    if pa.types.is_map(kind):
        # DuckDB calls the fields so; what they carry says which of its types their bytes are.
        return pa.list_(plain[0].type)
    if plain == children:
        return kind
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(plain[0], kind.list_size)
    return pa.struct(plain) if pa.types.is_struct(kind) else pa.list_(plain[0])
