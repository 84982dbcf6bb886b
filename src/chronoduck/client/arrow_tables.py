"""Tables and streams of Arrow, made of Python values and of other libraries' tables."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from chronoduck.client.arrow import arrow
from chronoduck.client.column_types import ColumnType, parse_type
from chronoduck.errors import InvalidRequestError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["stream_of", "table_of"]

Form = Callable[[Any], Any]
_SIMPLE = {
    "BOOLEAN": "bool_",
    "TINYINT": "int8",
    "SMALLINT": "int16",
    "INTEGER": "int32",
    "BIGINT": "int64",
    "UTINYINT": "uint8",
    "USMALLINT": "uint16",
    "UINTEGER": "uint32",
    "UBIGINT": "uint64",
    "FLOAT": "float32",
    "DOUBLE": "float64",
    "BLOB": "binary",
    "DATE": "date32",
    "INTERVAL": "month_day_nano_interval",
}
_WITH_UNIT = {
    "TIMESTAMP": ("timestamp", "us"),
    "TIMESTAMP_S": ("timestamp", "s"),
    "TIMESTAMP_MS": ("timestamp", "ms"),
    "TIMESTAMP_NS": ("timestamp", "ns"),
    "TIME": ("time64", "us"),
    "TIME_NS": ("time64", "ns"),
}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else str(value)


def _zoned_text(value: Any) -> str:
    text = _text(value)
    return text.removesuffix(":00") if isinstance(value, dt.time) else text


def _document(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _days(value: dt.timedelta) -> tuple[int, int, int]:
    return (0, value.days, (value.seconds * 1_000_000 + value.microseconds) * 1000)


def _form(kind: ColumnType) -> tuple[pa.DataType, Form | None]:
    """Return a column's Arrow type, and what its values are made of; None: themselves."""
    pa = arrow()
    if kind.id in _SIMPLE:
        return getattr(pa, _SIMPLE[kind.id])(), _days if kind.id == "INTERVAL" else None
    if kind.id in _WITH_UNIT:
        name, unit = _WITH_UNIT[kind.id]
        return getattr(pa, name)(unit), None
    if kind.id == "TIMESTAMP WITH TIME ZONE":
        return pa.timestamp("us", "UTC"), None
    if kind.id == "DECIMAL":
        width, scale = map(int, kind.arguments)
        return pa.decimal128(width, scale), None
    if kind.id == "HUGEINT":
        return pa.decimal128(38, 0), None
    if kind.id in ("LIST", "ARRAY"):
        return _list_form(pa, kind)
    if kind.id in ("STRUCT", "TUPLE"):
        return _struct_form(pa, kind)
    if kind.id == "MAP":
        return _map_form(pa, kind)
    if kind.id == "JSON":
        return pa.string(), _document
    if kind.id == "UNION":
        raise InvalidRequestError("a UNION has no Arrow form here", hint="Use Client.arrow.")
    return pa.string(), _zoned_text if kind.id == "TIME WITH TIME ZONE" else _text


def _or_none(form: Form | None, value: Any) -> Any:
    return value if value is None or form is None else form(value)


def _list_form(pa: Any, kind: ColumnType) -> tuple[pa.DataType, Form | None]:
    child, form = _form(kind.child)
    if form is None:
        return pa.list_(child), None
    return pa.list_(child), lambda values: [_or_none(form, value) for value in values]


def _struct_form(pa: Any, kind: ColumnType) -> tuple[pa.DataType, Form]:
    names = [name or f"element{index}" for index, (name, _) in enumerate(kind.members, 1)]
    forms = [_form(member) for _, member in kind.members]
    fields = [pa.field(name, found) for name, (found, _) in zip(names, forms, strict=True)]

    def form(value: Any) -> dict[str, Any]:
        values = value.values() if isinstance(value, dict) else value
        return {
            name: _or_none(member, each)
            for name, (_, member), each in zip(names, forms, values, strict=True)
        }

    return pa.struct(fields), form


def _map_form(pa: Any, kind: ColumnType) -> tuple[pa.DataType, Form]:
    (key, key_form), (value, value_form) = (_form(member) for _, member in kind.members)
    return pa.map_(key, value), lambda entries: [
        (_or_none(key_form, each), _or_none(value_form, told)) for each, told in entries.items()
    ]


def table_of(columns: Sequence[str], types: Sequence[str], rows: Sequence[Any]) -> pa.Table:
    """Return a table of rows of Python values.

    Raises:
        InvalidRequestError: a value has no Arrow form.
    """
    pa = arrow()
    arrays = []
    for index, (name, type_name) in enumerate(zip(columns, types, strict=True)):
        arrow_type, form = _form(parse_type(type_name))
        try:
            values = [_or_none(form, row[index]) for row in rows]
            arrays.append(pa.array(values, arrow_type))
        except (pa.ArrowException, AttributeError, TypeError, ValueError) as error:
            raise InvalidRequestError(
                f"column {name} ({type_name}) has a value without an Arrow form here: {error}",
                hint="Ask for it by Client.arrow, or cast the column to VARCHAR.",
            ) from error
    return pa.Table.from_arrays(arrays, names=list(columns))


def stream_of(data: Any) -> bytes:
    """Return a table of pyarrow, pandas, polars or of whatever else speaks Arrow as an Arrow stream."""
    pa = arrow()
    if hasattr(data, "__arrow_c_stream__"):
        table = pa.table(data)
    else:
        table = pa.Table.from_pandas(data, preserve_index=False)
    # What pandas keeps its index in is no column.
    table = table.select([name for name in table.column_names if not name.startswith("__index_")])
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())
