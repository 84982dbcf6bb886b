"""Which types of Arrow a load takes, and which values of them: what the engine would believe is checked.

DuckDB takes the bytes of an extension type as its own inner form: binary that says it is a BIGNUM or BIT
ends the process when somebody computes with it. It takes times of day beyond 24 hours, and texts that say
they are JSON, as they are; to print them is an internal error, which invalidates the database.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from chronoduck.errors import LoadError
from chronoduck.transfer.value_checks import check_width

__all__ = ["check_values", "taken_schema"]

_NAME, _METADATA = b"ARROW:extension:name", b"ARROW:extension:metadata"
_KEPT_BY_NAME = frozenset({b"geoarrow.wkb"})
"""Names that stay on a field; what a name stands for decides the engine's type."""
_KNOWN_TO_ENGINE = (b"arrow.opaque", b"arrow.parquet.variant", b"geoarrow.", b"ogc.", b"duckdb.")
"""Without its name such a column would be loaded as another type: it is refused."""
_MAX_METADATA_BYTES = 20_000
_MAX_LEVELS = 50
_MAX_ARRAY = 100_000
_MAX_DECIMAL_DIGITS = 38
_FIRST_SECOND, _LAST_SECOND = -9_223_372_022_400, 9_223_372_036_854
"""What DuckDB's timestamps reach; the outermost integers stand for infinity."""
_INFINITY = 2**63 - 1
_PLAIN = (
    pa.types.is_null,
    pa.types.is_boolean,
    pa.types.is_integer,
    pa.types.is_float32,
    pa.types.is_float64,
    pa.types.is_date,
    pa.types.is_time,
    pa.types.is_duration,
    pa.types.is_interval,
    pa.types.is_binary,
    pa.types.is_large_binary,
    pa.types.is_fixed_size_binary,
    pa.types.is_binary_view,
    pa.types.is_string,
    pa.types.is_large_string,
    pa.types.is_string_view,
)
_LISTS = (
    (pa.types.is_list, pa.list_),
    (pa.types.is_large_list, pa.large_list),
    (pa.types.is_list_view, pa.list_view),
    (pa.types.is_large_list_view, pa.large_list_view),
)


def taken_schema(schema: pa.Schema, name: str) -> pa.Schema:
    """Return a schema whose fields say no more about themselves than the engine may hear.

    Raises:
        LoadError: a column has a type that is not taken; says which.
    """
    check_width(len(schema), name)
    return pa.schema([_taken(field, field.name, name, 0) for field in schema])


def check_values(column: pa.Array) -> None:
    """Look at the values of a column, and of all that is inside of it.

    Raises:
        ValueError: one of them is none of its type.
    """
    for array in _parts(column):
        check = _check_of(array.type)
        if check is not None:
            check(array)


def _taken(field: pa.Field, column: str, name: str, level: int) -> pa.Field:
    if level > _MAX_LEVELS:
        raise _refused(column, name, f"is nested more than {_MAX_LEVELS} deep")
    if "\0" in field.name:  # whoever hands the schema over would cut the name there
        raise _refused(column.replace("\0", "\\0"), name, "has a NUL byte in its name")
    return pa.field(
        field.name,
        _taken_type(field.type, column, name, level),
        field.nullable,
        _taken_metadata(field, column, name),
    )


def _taken_metadata(field: pa.Field, column: str, name: str) -> dict[bytes, bytes] | None:
    extension = (field.metadata or {}).get(_NAME)
    if extension is None:
        return None
    if extension in _KEPT_BY_NAME:
        found = field.metadata.get(_METADATA, b"")
        if len(found) > _MAX_METADATA_BYTES or not _is_object(found):
            raise _refused(
                column, name, f"says of itself, as {extension.decode()}, what is no JSON object"
            )
        return {_NAME: extension, _METADATA: found}
    if extension.lower().startswith(_KNOWN_TO_ENGINE):
        shown = extension.decode(errors="replace")[:60]
        raise _refused(column, name, f"is of the extension type {shown}")
    return None  # it stands for nothing that the engine knows


def _is_object(metadata: bytes) -> bool:
    try:
        return not metadata or isinstance(orjson.loads(metadata), dict)
    except orjson.JSONDecodeError:
        return False


def _taken_type(type_: pa.DataType, column: str, name: str, level: int) -> pa.DataType:
    if pa.types.is_dictionary(type_) or pa.types.is_run_end_encoded(type_):
        _taken_type(type_.value_type, column, name, level + 1)
        return type_
    if type_.num_fields and not isinstance(type_, pa.BaseExtensionType):
        fields = [
            _taken(type_.field(index), column, name, level + 1) for index in range(type_.num_fields)
        ]
        if pa.types.is_fixed_size_list(type_) and type_.list_size > _MAX_ARRAY:
            raise _refused(column, name, f"has lists of {type_.list_size:,} elements")
        if pa.types.is_union(type_) and type_.mode == "dense":  # DuckDB reads sparse ones alone
            raise _refused(column, name, "is a dense union")
        if pa.types.is_struct(type_) or pa.types.is_union(type_):
            twice = _name_twice([field.name for field in fields])
            if twice is not None:
                raise _refused(column, name, f"has the field {twice[:60]} twice")
        return _rebuilt(type_, fields, column, name)
    flaw = _flaw_of(type_)
    if flaw is not None:
        raise _refused(column, name, flaw)
    return type_


def _name_twice(names: list[str]) -> str | None:
    """Return a name that comes twice; case does not matter to the engine."""
    seen: set[str] = set()
    for name in names:
        if name.lower() in seen:
            return name
        seen.add(name.lower())
    return None


def _flaw_of(type_: pa.DataType) -> str | None:
    """Return why a type without parts is not taken."""
    if isinstance(type_, pa.BaseExtensionType):
        if isinstance(type_, (pa.JsonType, pa.UuidType, pa.Bool8Type)):
            return None
        return f"is of the extension type {type_.extension_name[:60]}"
    if pa.types.is_decimal(type_):
        is_one = 0 <= type_.scale <= type_.precision <= _MAX_DECIMAL_DIGITS
        return None if is_one else f"is {type_}, which no DECIMAL is"
    if pa.types.is_timestamp(type_):
        is_short = type_.tz is None or len(type_.tz) <= _MAX_LEVELS
        return None if is_short else "has a time zone with a long name"
    if pa.types.is_struct(type_) or any(is_one(type_) for is_one in _PLAIN):
        return None
    return f"is of the type {str(type_)[:60]}"


def _rebuilt(type_: pa.DataType, fields: list[pa.Field], column: str, name: str) -> pa.DataType:
    """Return a type of other fields."""
    if pa.types.is_struct(type_):
        return pa.struct(fields)
    if pa.types.is_union(type_):
        return pa.union(fields, type_.mode, type_.type_codes)
    if pa.types.is_fixed_size_list(type_):
        return pa.list_(fields[0], type_.list_size)
    if pa.types.is_map(type_):
        entries = fields[0].type
        key, item = entries.field(0), entries.field(1)
        return pa.map_(key, item, type_.keys_sorted)
    for is_one, make in _LISTS:
        if is_one(type_):
            return make(fields[0])
    raise _refused(column, name, f"is of the type {str(type_)[:60]}")


def _refused(column: str, name: str, what: str) -> LoadError:
    return LoadError(
        f"the column {column} of {name} {what}",
        hint="Send it as text, or as one of the types of `chronoduck help loading`; nothing was loaded.",
    )


def _parts(column: pa.Array) -> Iterator[pa.Array]:
    """Yield an array and all that it is made of."""
    stack = [column]
    while stack:
        array = stack.pop()
        yield array
        type_ = array.type
        if isinstance(array, pa.DictionaryArray):
            stack.append(array.dictionary)
        elif pa.types.is_run_end_encoded(type_):
            stack.append(array.values)
        elif pa.types.is_struct(type_) or pa.types.is_union(type_):
            stack += [array.field(index) for index in range(type_.num_fields)]
        elif pa.types.is_map(type_):
            stack += [array.keys, array.items]
        elif type_.num_fields and not isinstance(type_, pa.BaseExtensionType):
            stack.append(array.values)


def _check_of(type_: pa.DataType) -> Callable[[pa.Array], None] | None:
    if isinstance(type_, pa.JsonType):
        return _check_json
    if pa.types.is_timestamp(type_) and type_.unit in ("s", "ms"):
        return _check_timestamps
    return None


def _check_json(array: pa.Array) -> None:
    for text in array.storage:
        if not text.is_valid:
            continue
        document = text.as_py()
        try:
            orjson.loads(document)
        except orjson.JSONDecodeError as error:
            if "recursion" in str(error).lower():
                raise ValueError("a JSON text is nested more than 1,000 deep") from error
            try:
                json.loads(document)  # takes NaN, as the engine does
            except (ValueError, RecursionError):
                raise ValueError("a text is not JSON, as its type says") from error


def _check_timestamps(array: pa.Array) -> None:
    factor = 1 if array.type.unit == "s" else 1_000
    numbers = array.view(pa.int64())
    is_inside = pc.and_(
        pc.greater_equal(numbers, _FIRST_SECOND * factor),
        pc.less_equal(numbers, _LAST_SECOND * factor),
    )
    is_infinite = pc.equal(pc.abs(numbers), _INFINITY)
    if pc.all(pc.or_(is_inside, is_infinite)).as_py() not in (True, None):
        raise ValueError(f"a {array.type} is beyond what a timestamp reaches")
