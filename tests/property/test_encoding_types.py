"""Every type, in both ways that JSON is written, against what the generator of the value knows of it."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Context, Decimal
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chronoduck.engine.encoding import (
    EncodingOptions,
    ResultFormat,
    ResultSchema,
    ResultSummary,
    open_encoder,
)

SAFE = 2**53 - 1


@dataclass(frozen=True)
class Value:
    """A value as SQL, and its JSON value with exact and with safe numbers."""

    sql: str
    exact: Any
    safe: Any


def sql_text(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def same(sql: str, value: Any) -> Value:
    return Value(sql, value, value)


def integers(name: str, low: int, high: int) -> st.SearchStrategy[tuple[str, Any]]:
    edges = st.sampled_from(
        [v for v in (low, high, 0, -1, SAFE, SAFE + 1, -SAFE - 1) if low <= v <= high]
    )
    values = (edges | st.integers(low, high)).map(
        lambda v: Value(f"'{v}'::{name}", v, v if -SAFE <= v <= SAFE else str(v))
    )
    return st.just((name, values))


def decimal_of(width: int, scale: int) -> tuple[str, Any]:
    name = f"DECIMAL({width},{scale})"

    def value(unscaled: int) -> Value:
        number = Decimal(unscaled).scaleb(-scale, context=Context(prec=60))
        text = format(number, "f")
        return Value(f"'{text}'::{name}", number, text)

    limit = 10**width - 1
    return name, st.integers(-limit, limit).map(value)


def iso(moment: datetime, zone: str = "") -> str:
    text = moment.replace(tzinfo=None).isoformat()
    return (text.rstrip("0") if moment.microsecond else text) + zone


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20) | (
    st.sampled_from(["", '"', "\\", "\u2028", "a\nb\r\tc", "\x01\x1f\x7f", "😀", "null", "é,'"])
)
texts_with_nul = texts | st.just("a\0b")


def text_sql(text: str) -> str:
    return " || chr(0) || ".join(sql_text(part) for part in text.split("\0"))


doubles = st.floats(width=64).map(
    lambda v: same(f"'{v!r}'::DOUBLE", v if math.isfinite(v) else None)
)
floats = st.sampled_from(
    [
        *((value, value) for value in (0.1, 3.4e38, -0.0, 16777216.0, 1.5e-40)),
        *((value, None) for value in (math.nan, math.inf, -math.inf)),
    ]
).map(lambda pair: same(f"'{pair[0]!r}'::FLOAT", pair[1]))
moments = st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31)) | st.sampled_from(  # noqa: DTZ001
    [datetime(2024, 1, 1), datetime(2024, 1, 1, 0, 0, 0, 500000)]  # noqa: DTZ001
)
timestamps = moments.map(lambda v: same(f"'{v.isoformat()}'::TIMESTAMP", iso(v))) | st.sampled_from(
    [
        same("'infinity'::TIMESTAMP", "infinity"),
        same("'0044-03-15 (BC) 01:02:03.5'::TIMESTAMP", "0044-03-15 (BC) 01:02:03.5"),
        same("'294247-01-10 04:00:54.775806'::TIMESTAMP", "294247-01-10T04:00:54.775806"),
    ]
)
zoned = moments.map(
    lambda v: same(f"'{v.isoformat()}+00'::TIMESTAMPTZ", iso(v.replace(tzinfo=UTC), "+00:00"))
) | st.sampled_from(
    [
        same("'-infinity'::TIMESTAMPTZ", "-infinity"),
        same("'0044-03-15 (BC) 01:02:03+00'::TIMESTAMPTZ", "0044-03-15 (BC) 01:02:03+00"),
    ]
)
dates = st.dates(date(1, 1, 1)).map(
    lambda v: same(f"'{v}'::DATE", v.isoformat())
) | st.sampled_from(
    [
        same("'infinity'::DATE", "infinity"),
        same("'5877642-06-25 (BC)'::DATE", "5877642-06-25 (BC)"),
        same("'10000-01-01'::DATE", "10000-01-01"),
    ]
)
others = {
    "TIMESTAMP_NS": [("2024-01-01 00:00:00.120000001", "2024-01-01T00:00:00.120000001")],
    "TIMESTAMP_S": [("2024-01-01 00:00:01", "2024-01-01T00:00:01")],
    "TIMESTAMP_MS": [("2024-01-01 00:00:01.25", "2024-01-01T00:00:01.25")],
    "TIME": [("12:34:56.7", "12:34:56.7"), ("24:00:00", "24:00:00")],
    "TIME_NS": [("12:34:56.123456789", "12:34:56.123456789")],
    "TIMETZ": [("12:34:56+02", "12:34:56+02"), ("24:00:00-15:59:59", "24:00:00-15:59:59")],
    "INTERVAL": [("1 month 2 days 3.5 seconds", "1 month 2 days 00:00:03.5")],
    "GEOMETRY": [("POINT (1 2)", "POINT (1 2)"), ("LINESTRING EMPTY", "LINESTRING EMPTY")],
    "BIT": [("10101", "10101"), ("0", "0")],
    "UUID": [("6f9619ff-8b86-d011-b42d-00cf4fc964ff", "6f9619ff-8b86-d011-b42d-00cf4fc964ff")],
    "ENUM('sad', 'it''s', 'a)[]')": [("sad", "sad"), ("it's", "it's"), ("a)[]", "a)[]")],
}
json_values = [
    ('{"a": 1.50, "b":\n[1,\r\n2]}', {"a": Decimal("1.50"), "b": [1, 2]}),
    ("123456789012345678901234567890", 123456789012345678901234567890),
    ("0.1234567890123456789012", Decimal("0.1234567890123456789012")),
    ('[NaN, -Infinity, "NaN \\" inf", 1,]', [None, None, 'NaN " inf', 1]),
    ('"finance, ]"', "finance, ]"),
    ("null", None),
    ('{"a":"\\ud83d\\ude00\\u0000"}', {"a": "😀\0"}),
]
FLAT: st.SearchStrategy[tuple[str, Any]] = st.one_of(
    st.just(("BOOLEAN", st.sampled_from([same("true", True), same("false", False)]))),
    integers("TINYINT", -(2**7), 2**7 - 1),
    integers("UINTEGER", 0, 2**32 - 1),
    integers("BIGINT", -(2**63), 2**63 - 1),
    integers("UBIGINT", 0, 2**64 - 1),
    integers("HUGEINT", -(2**127), 2**127 - 1),
    integers("UHUGEINT", 0, 2**128 - 1),
    integers("BIGNUM", -(10**60), 10**60),
    st.sampled_from([(4, 2), (2, 2), (1, 1), (18, 0), (38, 10), (38, 38)]).map(
        lambda p: decimal_of(*p)
    ),
    st.just(("DOUBLE", doubles)),
    st.just(("FLOAT", floats)),
    st.just(("VARCHAR", texts_with_nul.map(lambda v: same(text_sql(v), v)))),
    st.just(("TIMESTAMP", timestamps)),
    st.just(("TIMESTAMPTZ", zoned)),
    st.just(("DATE", dates)),
    st.just(
        (
            "BLOB",
            st.binary(max_size=9).map(
                lambda v: same(f"from_hex('{v.hex()}')", base64.b64encode(v).decode())
            ),
        )
    ),
    st.just(
        (
            "JSON",
            st.sampled_from(json_values).map(lambda p: same(f"{sql_text(p[0])}::JSON", p[1])),
        )
    ),
    st.sampled_from(sorted(others.items())).map(
        lambda item: (
            item[0],
            st.sampled_from(item[1]).map(lambda p: same(f"{sql_text(p[0])}::{item[0]}", p[1])),
        )
    ),
)


def with_nulls(name: str, values: Any) -> Any:
    return st.one_of(st.just(same(f"NULL::{name}", None)), values)


def combine(values: list[Value], sql: str, make: Any) -> Value:
    return Value(sql, make([v.exact for v in values]), make([v.safe for v in values]))


NAMES = ["a", 'b "q"', "it's", "é\u2028", "x y"]


@st.composite
def nested(draw: st.DrawFn, children: Any) -> tuple[str, Any]:
    kind = draw(st.sampled_from(["list", "array", "struct", "map", "pairs", "union"]))
    name, values = draw(children)
    values = with_nulls(name, values)
    if kind == "list":
        lists = st.lists(values, max_size=3).map(
            lambda vs: combine(vs, f"[{', '.join(v.sql for v in vs)}]::{name}[]", list)
        )
        return f"{name}[]", lists
    if kind == "array":
        arrays = st.lists(values, min_size=2, max_size=2).map(
            lambda vs: combine(vs, f"[{', '.join(v.sql for v in vs)}]::{name}[2]", list)
        )
        return f"{name}[2]", arrays
    if kind == "map":
        keys = st.lists(texts, unique=True, max_size=3)
        maps = keys.flatmap(
            lambda ks: st.lists(values, min_size=len(ks), max_size=len(ks)).map(
                lambda vs: combine(
                    vs,
                    f"MAP([{', '.join(map(sql_text, ks))}]::VARCHAR[], "
                    f"[{', '.join(v.sql for v in vs)}]::{name}[])",
                    lambda items: dict(zip(ks, items, strict=True)),
                )
            )
        )
        return f"MAP(VARCHAR, {name})", maps
    if kind == "pairs":
        pairs = values.map(
            lambda v: combine([v], f"MAP([7], [{v.sql}]::{name}[])", lambda items: [[7, items[0]]])
        )
        return f"MAP(INTEGER, {name})", pairs
    if kind == "union":
        other = '"it\'s" INTEGER'
        union = f'UNION("u" {name}, {other})'
        tagged = values.filter(lambda v: v.sql != f"NULL::{name}").map(
            lambda v: combine([v], f"union_value(u := {v.sql})::{union}", lambda i: {"u": i[0]})
        )
        return union, tagged | st.just(same(f'union_value("it\'s" := 5)::{union}', {"it's": 5}))
    second_name, second = draw(children)
    both = st.tuples(values, with_nulls(second_name, second))
    first_field, second_field = draw(
        st.lists(st.sampled_from(NAMES), min_size=2, max_size=2, unique=True)
    )
    quoted = ['"' + field.replace('"', '""') + '"' for field in (first_field, second_field)]
    structs = both.map(
        lambda vs: combine(
            list(vs),
            f"struct_pack({quoted[0]} := {vs[0].sql}, {quoted[1]} := {vs[1].sql})",
            lambda items: dict(zip((first_field, second_field), items, strict=True)),
        )
    )
    return f"STRUCT({quoted[0]} {name}, {quoted[1]} {second_name})", structs


TYPES = st.recursive(FLAT, lambda children: nested(children), max_leaves=4)


@st.composite
def tables(draw: st.DrawFn, types: Any) -> list[list[Value]]:
    columns = draw(st.lists(types, min_size=1, max_size=4))
    count = draw(st.integers(1, 4))
    return [[draw(with_nulls(name, values)) for _ in range(count)] for name, values in columns]


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(":memory:") as opened:
        opened.execute("SET arrow_lossless_conversion = true; SET TimeZone = 'UTC'")
        yield opened


def run(
    connection: duckdb.DuckDBPyConnection, table: list[list[Value]]
) -> tuple[ResultSchema, list[pa.RecordBatch]]:
    rows = zip(*table, strict=True)
    sql = " UNION ALL ".join(
        "SELECT " + ", ".join(f"{v.sql} AS x{i}" for i, v in enumerate(row)) for row in rows
    )
    connection.execute(sql)
    columns, types = zip(*[(item[0], item[1]) for item in connection.description], strict=True)
    reader = connection.to_arrow_reader(1000)
    return ResultSchema.of(columns, types, reader.schema), list(reader)


def json_data(schema: ResultSchema, batches: list[pa.RecordBatch], numbers: Any) -> Any:
    encoder = open_encoder(ResultFormat.JSON, schema, "h", EncodingOptions(json_numbers=numbers))
    parts = [
        encoder.head(),
        *map(encoder.rows, batches),
        encoder.tail(ResultSummary(1, False, 0, 0)),
    ]
    text = b"".join(parts).decode()
    assert "\n" not in text
    return json.loads(text, parse_float=Decimal, parse_constant=pytest.fail)["data"]


def number(value: Any) -> Any:
    """Doubles of the generator as the decimals that json reads them as."""
    if isinstance(value, float):
        return Decimal(repr(value))
    if isinstance(value, list):
        return [number(item) for item in value]
    if isinstance(value, dict):
        return {key: number(item) for key, item in value.items()}
    return value


PROFILE = settings(
    max_examples=120, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)


@pytest.mark.parametrize("numbers", ["exact", "safe"])
@PROFILE
@given(table=tables(FLAT))
def test_flat_values_are_the_same_from_python_and_from_the_engine(
    connection: duckdb.DuckDBPyConnection, numbers: str, table: list[list[Value]]
) -> None:
    schema, batches = run(connection, table)
    expected = [[number(getattr(v, numbers)) for v in row] for row in zip(*table, strict=True)]
    assert json_data(schema, batches, numbers) == expected
    repeated = (
        pa.concat_tables([pa.Table.from_batches(batches)] * 2001).combine_chunks().to_batches()
    )
    assert json_data(schema, repeated, numbers)[-len(expected) :] == expected


@pytest.mark.parametrize("numbers", ["exact", "safe"])
@PROFILE
@given(table=tables(TYPES))
def test_nested_values_have_their_documented_form(
    connection: duckdb.DuckDBPyConnection, numbers: str, table: list[list[Value]]
) -> None:
    schema, batches = run(connection, table)
    expected = [[number(getattr(v, numbers)) for v in row] for row in zip(*table, strict=True)]
    assert json_data(schema, batches, numbers) == expected
