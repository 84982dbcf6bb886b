"""The JSON form of every DuckDB type, as a SQL expression that makes its text.

DuckDB's own ``to_json`` writes NaN bare and drops the trailing zeros of decimals; it is used for what
it does well: strings (escaped at 0.04 µs a value) and doubles (0.05 µs; a cast to VARCHAR takes 0.16).
"""

from __future__ import annotations

from collections.abc import Callable

import orjson
from duckdb.sqltypes import DuckDBPyType

from chronoduck.engine.encoding.contract import member_types
from chronoduck.engine.encoding.nested_maps import keeps_maps

__all__ = ["JsonForms", "bare_text", "quote"]

_SAFE = 2**53 - 1
_SMALL_INTEGERS = frozenset(
    {"tinyint", "smallint", "integer", "utinyint", "usmallint", "uinteger", "boolean"}
)
_BIG_INTEGERS = frozenset({"bigint", "hugeint", "bignum"})
_BIG_UNSIGNED = frozenset({"ubigint", "uhugeint"})
_PLAIN_TEXT = frozenset(
    {"date", "time", "time_ns", "time with time zone", "interval", "bit", "uuid"}
)
_OTHER_TIMESTAMPS = frozenset({"timestamp_s", "timestamp_ms", "timestamp_ns"})
_YEAR_ONE = "0001-01-01 00:00:00"
# What DuckDB's JSON parser lets pass and JSON does not: NaN, Infinity, a comma before a bracket.
_LAX_JSON = r",\s*[\]}]|(?i:nan|inf)"
_JSON_STRING = r'"(?:[^"\\]|\\.)*"'


def quote(text: str) -> str:
    """Return the text as a SQL string."""
    return "'" + text.replace("'", "''") + "'"


def _text(x: str) -> str:
    return f"CAST({x} AS VARCHAR)"


def _quoted(x: str) -> str:
    return f"""('"' || {x} || '"')"""


def _string(x: str) -> str:
    return f"CAST(to_json({x}) AS VARCHAR)"


def bare_text(kind: str, x: str, mark: str = "") -> str | None:
    """Return the SQL of the text of a type that never needs escaping, between two ``mark``.

    None for other types. ``kind`` is the ``id`` of a DuckDB type.
    """
    text = _text(x)
    if kind == "timestamp":
        return _timestamp(x, mark)
    if kind == "timestamp with time zone":
        return _zoned(x, mark)
    if kind in _OTHER_TIMESTAMPS:
        text = f"CASE WHEN contains({text}, '(BC)') THEN {text} ELSE replace({text}, ' ', 'T') END"
    elif kind == "blob":
        text = f"to_base64({x})"
    elif kind not in _PLAIN_TEXT:
        return None
    return f"('{mark}' || {text} || '{mark}')" if mark else text


def _timestamp(x: str, mark: str, zone: str = "") -> str:
    """An ISO 8601 text; DuckDB's own outside of the years that it writes without ``(BC)``.

    Date and time are cast on their own: replacing the space of the whole takes twice as long.
    """
    return (
        f"CASE WHEN {x} >= TIMESTAMP '{_YEAR_ONE}' AND isfinite({x}) THEN concat('{mark}', "
        f"CAST(CAST({x} AS DATE) AS VARCHAR), 'T', CAST(CAST({x} AS TIME) AS VARCHAR), "
        f"'{zone}{mark}') ELSE '{mark}' || {_text(x)} || '{mark}' END"
    )


def _zoned(x: str, mark: str) -> str:
    """Like a timestamp; without a time zone it is cast by DuckDB itself and not by ICU."""
    naive = _timestamp(f"make_timestamp(epoch_us({x}))", mark, "+00:00")
    return (
        f"CASE WHEN isfinite({x}) AND {x} >= TIMESTAMPTZ '{_YEAR_ONE}+00' THEN {naive} "
        f"ELSE '{mark}' || {_text(x)} || '{mark}' END"
    )


def _decimal(x: str, decimal_type: DuckDBPyType) -> str:
    precision, scale = (value for _, value in decimal_type.children)
    if precision == scale:  # DuckDB writes .50 then
        return f"regexp_replace({_text(x)}, '^(-?)\\.', '\\10.')"
    return _text(x)


def _json(x: str) -> str:
    """A JSON value as it is, on one line; one that is no JSON is repaired, or is a string.

    Line ends can only be white space between tokens. Parsing and writing it again would round long
    numbers, so that only what needs a repair is parsed.
    """
    text = _text(x)
    has_line_end = f"contains({text}, chr(10)) OR contains({text}, chr(13))"
    one_line = (
        f"CASE WHEN {has_line_end} THEN translate({text}, chr(10) || chr(13), '  ') ELSE {text} END"
    )
    outside = f"regexp_replace({text}, {quote(_JSON_STRING)}, '', 'g')"
    tokens = (
        f"""regexp_extract_all(CAST(json({text}) AS VARCHAR), {quote(_JSON_STRING + '|[^"]+')})"""
    )
    repaired = (
        f"array_to_string(list_transform({tokens}, lambda t: CASE WHEN starts_with(t, '\"') THEN t "
        "ELSE regexp_replace(t, '-?(nan|inf(inity)?)', 'null', 'gi') END), '')"
    )
    return (
        f"CASE WHEN {x} IS NULL THEN NULL WHEN NOT json_valid({text}) THEN {_string(text)} "
        f"WHEN regexp_matches({text}, {quote(_LAX_JSON)}) "
        f"AND regexp_matches({outside}, {quote(_LAX_JSON)}) THEN {repaired} ELSE {one_line} END"
    )


class JsonForms:
    """Makes the expressions of one kind of numbers. Nested types recurse.

    MAPs come as ``nested_maps.without_maps`` leaves them, in whole columns.
    """

    def __init__(self, *, safe_numbers: bool) -> None:
        self._safe_numbers = safe_numbers
        self._keeps_maps = False
        self._nested: dict[str, Callable[[DuckDBPyType, str, int], str]] = {
            "list": self._list,
            "array": self._list,
            "struct": self._struct,
            "tuple": self._struct,  # what row() makes since DuckDB 2.0
            "map": self._map,
            "union": self._union,
        }

    def of_column(self, column_type: DuckDBPyType, x: str) -> str:
        """Return the SQL of the JSON text of a column of a table, or of NULL when it is NULL."""
        self._keeps_maps = keeps_maps(column_type)
        return self.form(column_type, x)

    def or_null(self, column_type: DuckDBPyType, x: str, depth: int = 0) -> str:
        """Return the SQL of the JSON text of ``x``, which is SQL itself; NULL becomes ``null``."""
        return f"coalesce({self.form(column_type, x, depth)}, 'null')"

    def form(self, column_type: DuckDBPyType, x: str, depth: int = 0) -> str:
        """Return the SQL of the JSON text of ``x``, or of NULL when it is NULL."""
        kind = column_type.id
        if kind in self._nested:
            return self._nested[kind](column_type, x, depth)
        if kind in _SMALL_INTEGERS:
            return _text(x)
        if kind in _BIG_INTEGERS or kind in _BIG_UNSIGNED:
            return self._integer(kind, x)
        if kind == "double":
            return f"CASE WHEN isfinite({x}) THEN {_string(x)} END"
        if kind == "float":
            return f"CASE WHEN isfinite({x}) THEN {_text(x)} END"
        if kind == "decimal":
            number = _decimal(x, column_type)
            return _quoted(number) if self._safe_numbers else number
        if str(column_type) == "JSON":
            return _json(x)
        return bare_text(kind, x, '"') or _string(_text(x))

    def _integer(self, kind: str, x: str) -> str:
        text = _text(x)
        if not self._safe_numbers:
            return text
        is_safe = (
            f"{x} <= {_SAFE}" if kind in _BIG_UNSIGNED else f"{x} BETWEEN -{_SAFE} AND {_SAFE}"
        )
        return f"CASE WHEN {is_safe} THEN {text} ELSE {_quoted(text)} END"

    def _list(self, list_type: DuckDBPyType, x: str, depth: int) -> str:
        child = dict(member_types(list_type))["child"]
        element = self.or_null(child, f"v{depth}", depth + 1)
        return (
            f"('[' || array_to_string(list_transform({x}, lambda v{depth}: {element}), ',') || ']')"
        )

    def _struct(self, struct_type: DuckDBPyType, x: str, depth: int) -> str:
        fields = member_types(struct_type)
        if not fields:  # since DuckDB 2.0
            empty = "[]" if struct_type.id == "tuple" else "{}"
            return f"CASE WHEN {x} IS NOT NULL THEN '{empty}' END"
        if fields[0][0] == "":  # made by row(): an array
            names = [""] * len(fields)
            opening, closing = "[", "]"
        else:
            names = [orjson.dumps(name).decode() + ":" for name, _ in fields]
            opening, closing = "{", "}"
        parts = []
        for index, (name, (_, field_type)) in enumerate(zip(names, fields, strict=True)):
            parts.append(quote((opening if index == 0 else ",") + name))
            parts.append(self.or_null(field_type, f"struct_extract_at({x}, {index + 1})", depth))
        return f"CASE WHEN {x} IS NOT NULL THEN concat({', '.join(parts)}, '{closing}') END"

    def _map(self, map_type: DuckDBPyType, x: str, depth: int) -> str:
        types = dict(member_types(map_type))
        entry = f"v{depth}"
        key = self.or_null(types["key"], f"struct_extract({entry}, 'key')", depth + 1)
        value = self.or_null(types["value"], f"struct_extract({entry}, 'value')", depth + 1)
        if types["key"].id == "enum" or str(types["key"]) == "VARCHAR":
            pair, opening, closing = f"concat({key}, ':', {value})", "{", "}"
        else:
            pair, opening, closing = f"concat('[', {key}, ',', {value}, ']')", "[", "]"
        entries = f"map_entries({x})" if self._keeps_maps else x
        pairs = f"list_transform({entries}, lambda {entry}: {pair})"
        return f"('{opening}' || array_to_string({pairs}, ',') || '{closing}')"

    def _union(self, union_type: DuckDBPyType, x: str, depth: int) -> str:
        cases = []
        for tag, member in member_types(union_type):
            key = quote("{" + orjson.dumps(tag).decode() + ":")
            value = self.or_null(member, f"union_extract({x}, {quote(tag)})", depth)
            cases.append(f"WHEN {quote(tag)} THEN concat({key}, {value}, '}}')")
        return f"CASE CAST(union_tag({x}) AS VARCHAR) {' '.join(cases)} END"
