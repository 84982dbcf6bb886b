"""Columns in types that every Arrow reader knows, without DuckDB's extension types."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc
from duckdb.sqltypes import DuckDBPyType

from chronoduck.engine.encoding.contract import ResultSchema, member_types, unique_names
from chronoduck.engine.encoding.json_forms import JsonForms
from chronoduck.engine.encoding.nested_maps import as_map, holds_map, keeps_maps
from chronoduck.engine.encoding.private_engine import BatchQuery

__all__ = ["PortableColumns"]

_AS_TEXT = frozenset(
    {"bit", "time with time zone", "bignum", "uhugeint", "uuid", "enum", "variant"}
)
_NESTED = frozenset({"list", "array", "struct", "tuple", "map", "union"})
_HUGEINT = pa.decimal128(38, 0)

Conversion = Callable[[pa.Array], pa.Array]


def _hugeint(column: pa.Array) -> pa.Array:
    """The same 16 bytes, read as a decimal."""
    bits = column.storage
    return pa.Array.from_buffers(_HUGEINT, len(bits), bits.buffers(), offset=bits.offset)


def _boolean(column: pa.Array) -> pa.Array:
    return pc.cast(column.storage, pa.bool_())


def _json(column: pa.Array) -> pa.Array:
    return column.storage


def _enum(column: pa.Array) -> pa.Array:
    return column.dictionary_decode()


_DIRECT: dict[str, tuple[pa.DataType, Conversion]] = {
    "HUGEINT": (_HUGEINT, _hugeint),
    "BOOLEAN": (pa.bool_(), _boolean),
    "JSON": (pa.string(), _json),
}


class PortableColumns:
    """Converts the batches of one result; ``schema`` is what they will have.

    HUGEINT becomes decimal128(38, 0) with all its bits: some values have 39 digits, which Arrow does
    not promise for that type, but Arrow C++ and DuckDB read them back exactly. UHUGEINT, BIGNUM, BIT,
    TIME WITH TIME ZONE, UUID, ENUM, VARIANT and JSON become strings. Other columns pass without a copy.
    What Parquet has no form for becomes text: JSON of what holds a UNION or a struct without fields.
    """

    def __init__(self, result: ResultSchema, *, for_parquet: bool = False) -> None:
        """``for_parquet``: INTERVAL and UNION, which Parquet lacks, become strings too.

        Raises:
            EngineBugError: a type cannot be converted.
        """
        self._for_parquet = for_parquet
        self._direct: dict[int, Conversion] = {}
        self._by_engine: list[int] = []
        self._maps: dict[int, DuckDBPyType] = {}
        """Columns whose MAPs the engine gets and gives as lists of entries."""
        fields = []
        expressions = []
        names = unique_names(result.columns)
        for index, (kind, field) in enumerate(zip(result.duckdb_types, result.arrow, strict=True)):
            portable = field.with_name(names[index])
            if _holds_variant(kind) or not self._is_portable(field.type):
                direct = (pa.string(), _enum) if kind.id == "enum" else _DIRECT.get(str(kind))
                if direct is not None:
                    portable = pa.field(names[index], direct[0])
                    self._direct[index] = direct[1]
                else:
                    self._by_engine.append(index)
                    if holds_map(kind) and not keeps_maps(kind):
                        self._maps[index] = kind
                    expressions.append(f"{self._expression(kind, f'c{index}')} AS c{index}")
            fields.append(portable)
        if self._by_engine:
            self._query = BatchQuery(", ".join(expressions), large_strings=False)
            answer = self._answer(pa.Table.from_batches([], schema=result.arrow)).schema
            for index, field in zip(self._by_engine, answer, strict=True):
                fields[index] = field.with_name(names[index])
        self.schema = pa.schema(fields)
        self._is_unchanged = self.schema.equals(result.arrow)

    def convert(self, batch: pa.RecordBatch) -> list[pa.RecordBatch]:
        """Return the same rows, in one batch or more."""
        if self._is_unchanged:
            return [batch]
        if batch.num_rows == 0:
            return []
        columns = list(batch.columns)
        for index, conversion in self._direct.items():
            columns[index] = conversion(columns[index])
        if not self._by_engine:
            return [pa.RecordBatch.from_arrays(columns, schema=self.schema)]
        answer = self._answer(pa.Table.from_batches([batch]))
        for index, column in zip(self._by_engine, answer.columns, strict=True):
            columns[index] = column
        return pa.table(columns, schema=self.schema).to_batches()  # type: ignore[no-any-return]

    def _answer(self, table: pa.Table) -> pa.Table:
        answer = self._query.run(table)
        for place, index in enumerate(self._by_engine):
            kind = self._maps.get(index)
            if kind is not None and not pa.types.is_string(answer.schema.field(place).type):
                column = answer.column(place).combine_chunks()
                answer = answer.set_column(place, answer.field(place).name, as_map(column, kind))
        return answer

    def _is_portable(self, arrow_type: pa.DataType) -> bool:
        if isinstance(arrow_type, pa.BaseExtensionType) or pa.types.is_dictionary(arrow_type):
            return False
        if self._for_parquet and (
            pa.types.is_union(arrow_type) or pa.types.is_interval(arrow_type)
        ):
            return False
        if self._for_parquet and pa.types.is_struct(arrow_type) and not arrow_type.num_fields:
            return False
        children = [arrow_type.field(index) for index in range(arrow_type.num_fields)]
        return all(child.name or not pa.types.is_struct(arrow_type) for child in children) and all(
            self._is_portable(child.type) for child in children
        )

    def _expression(self, kind: DuckDBPyType, x: str) -> str:
        # A cast cannot name the type of a struct without fields.
        if _holds_empty_struct(kind) or (self._for_parquet and _holds_union(kind)):
            return JsonForms(safe_numbers=False).of_column(kind, x)
        return f"CAST({x} AS {self._target(kind, keeps=keeps_maps(kind))})"

    def _target(self, kind: DuckDBPyType, *, keeps: bool) -> str:
        """Return the type to cast to; HUGEINT stays, the engine exports it as decimal128.

        ``keeps``: MAPs stay MAPs, as ``keeps_maps`` says of the whole column.
        """
        if kind.id in _AS_TEXT or (kind.id == "interval" and self._for_parquet):
            return "VARCHAR"
        if str(kind) == "JSON":
            return "VARCHAR"
        if kind.id not in _NESTED:
            return str(kind)
        members = [(name, self._target(child, keeps=keeps)) for name, child in member_types(kind)]
        if kind.id == "list":
            return f"{members[0][1]}[]"
        if kind.id == "array":
            return f"{members[0][1]}[{dict(kind.children)['size']}]"
        if kind.id == "map":
            if keeps:
                return f"MAP({members[0][1]}, {members[1][1]})"
            return f"STRUCT(key {members[0][1]}, value {members[1][1]})[]"
        named = [
            f"{_identifier(name or f'element{number}')} {target}"
            for number, (name, target) in enumerate(members, start=1)
        ]
        outer = "UNION" if kind.id == "union" else "STRUCT"
        return f"{outer}({', '.join(named)})"


def _holds_variant(kind: DuckDBPyType) -> bool:
    """Whether it has a VARIANT, which Arrow sees as two binaries that only DuckDB understands."""
    if kind.id not in _NESTED:
        return kind.id == "variant"
    return any(_holds_variant(child) for _, child in member_types(kind))


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _holds_union(kind: DuckDBPyType) -> bool:
    if kind.id not in _NESTED:
        return False
    return kind.id == "union" or any(_holds_union(child) for _, child in member_types(kind))


def _holds_empty_struct(kind: DuckDBPyType) -> bool:
    if kind.id not in _NESTED:
        return False
    members = member_types(kind)
    return not members or any(_holds_empty_struct(child) for _, child in members)
