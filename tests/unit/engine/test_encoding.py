"""Results as bytes, in every format."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from duckdb.sqltypes import DuckDBPyType

from chronoduck.engine.encoding import (
    EncodingOptions,
    ResultEncoder,
    ResultFormat,
    ResultSchema,
    ResultSummary,
    close_private_engines,
    open_encoder,
)
from chronoduck.errors import DuckDBQueryError

Encode = Callable[..., bytes]
SUMMARY_TIME = 0.0012345678
EXTREMES = (2**127 - 1, -(2**127), 10**38, 0)


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(":memory:") as opened:
        opened.execute("SET arrow_lossless_conversion = true; SET TimeZone = 'UTC'")
        yield opened


@pytest.fixture
def encoder_of(connection: duckdb.DuckDBPyConnection) -> Callable[..., Any]:
    """Return an encoder and the batches of a statement."""

    def make(
        sql: str, name: str, batch_rows: int = 1000, **options: Any
    ) -> tuple[ResultEncoder, list[pa.RecordBatch]]:
        connection.execute(sql)
        description = connection.description
        reader = connection.to_arrow_reader(batch_rows)
        schema = ResultSchema.of(
            [column[0] for column in description],
            [column[1] for column in description],
            reader.schema,
        )
        encoder = open_encoder(ResultFormat(name), schema, "0123abcd", EncodingOptions(**options))
        return encoder, list(reader)

    return make


@pytest.fixture
def encode(encoder_of: Callable[..., Any]) -> Encode:
    """Return all bytes of a statement's result."""

    def make(sql: str, name: str, batch_rows: int = 1000, **options: Any) -> bytes:
        encoder, batches = encoder_of(sql, name, batch_rows, **options)
        rows = sum(batch.num_rows for batch in batches)
        summary = ResultSummary(rows, False, SUMMARY_TIME, 1.23456)
        return b"".join([encoder.head(), *map(encoder.rows, batches), encoder.tail(summary)])

    return make


def test_a_json_document_has_its_keys_in_order_and_its_numbers_rounded(encode: Encode) -> None:
    assert encode("SELECT 1 AS a, 1.50 AS b", "json") == (
        b'{"columns":["a","b"],"types":["INTEGER","DECIMAL(3,2)"],"query_hash":"0123abcd",'
        b'"data":[[1,1.50]],"row_count":1,"truncated":false,"execution_time":0.001235,'
        b'"memory_usage":1.235}'
    )


@pytest.mark.parametrize("count", [0, 1, 2048, 5000, 40_000])
def test_a_json_document_is_whole_for_every_number_of_batches(encode: Encode, count: int) -> None:
    sql = f"SELECT i, i * 2 AS twice, [i] AS l FROM range({count}) t(i)"
    document = json.loads(encode(sql, "json", 2048))
    assert document["data"] == [[i, i * 2, [i]] for i in range(count)]
    assert document["row_count"] == count


def test_rows_keep_their_order_when_parts_of_a_batch_are_made_side_by_side(encode: Encode) -> None:
    lines = encode("SELECT i FROM range(100_000) t(i)", "ndjson", 100_000).splitlines()
    assert [json.loads(line)["i"] for line in lines[:-1]] == list(range(100_000))


def test_unnamed_structs_are_arrays(encode: Encode) -> None:
    data = json.loads(encode("SELECT row(1, 'x') AS r, [row(NULL, 'y')] AS l", "json"))["data"]
    assert data == [[[1, "x"], [[None, "y"]]]]


def test_json_that_is_none_becomes_a_string(connection: Any, encode: Encode) -> None:
    schema = pa.schema([pa.field("j", pa.json_())])
    broken = pa.table([pa.array(["{oops"]).cast(pa.string())], names=["j"])
    connection.register("broken", broken.cast(schema))
    assert json.loads(encode("SELECT j FROM broken", "json"))["data"] == [["{oops"]]


@pytest.mark.parametrize("count", [1, 3000])
def test_ndjson_ends_with_a_line_that_says_complete(encode: Encode, count: int) -> None:
    body = encode(f"SELECT i AS a, i + 1 AS a, 3 AS a_1 FROM range({count}) t(i)", "ndjson")
    *rows, last = [json.loads(line) for line in body.splitlines()]
    assert rows == [{"a": i, "a_2": i + 1, "a_1": 3} for i in range(count)]
    told = last["_chronoduck"]
    assert (told["complete"], told["row_count"], told["truncated"]) == (True, count, False)


def test_only_ndjson_can_say_that_it_is_broken(encoder_of: Callable[..., Any]) -> None:
    for result_format in ResultFormat:
        encoder, _ = encoder_of("SELECT 1", result_format.value)
        line = encoder.failure("out_of_memory", "too large")
        if result_format is ResultFormat.NDJSON:
            assert json.loads(line) == {
                "_chronoduck": {
                    "complete": False,
                    "error": {"code": "out_of_memory", "detail": "too large"},
                }
            }
        else:
            assert line is None


def test_csv_tells_null_from_the_empty_string(encode: Encode) -> None:
    assert encode("SELECT NULL::VARCHAR AS n, '' AS e, 'x' AS \"a,b\"", "csv") == (
        b'n,e,"a,b"\r\n,"",x\r\n'
    )


def test_csv_fields_are_read_back_as_they_were(encode: Encode) -> None:
    texts = ['say "hi"', "a,b", "two\nlines", "cr\rhere", " spaces ", "é😀"]
    values = ", ".join(f"'{text}'" for text in texts)
    sql = f"SELECT unnest([{values}]) AS t"
    rows = list(csv.reader(io.StringIO(encode(sql, "csv").decode(), newline="")))
    assert rows == [["t"], *([text] for text in texts)]


def test_csv_values_are_the_json_forms_without_quotes(encode: Encode) -> None:
    sql = """SELECT 1.50 AS d, 'nan'::DOUBLE AS n, '-inf'::FLOAT AS i,
        TIMESTAMP '2024-01-01 03:04:05.5' AS t,
        TIMESTAMPTZ '2024-01-01 00:00:00+00' AS z, 'ab'::BLOB AS b, [1, NULL] AS l, {'a': 'x'} AS s,
        0.5::DECIMAL(2,2) AS p, true AS o, NULL::DOUBLE AS u"""
    rows = list(csv.reader(io.StringIO(encode(sql, "csv").decode(), newline="")))
    assert rows[1] == [
        *("1.50", "nan", "-inf", "2024-01-01T03:04:05.5", "2024-01-01T00:00:00+00:00"),
        *("YWI=", "[1,null]", '{"a":"x"}', "0.50", "true", ""),
    ]


def read_arrow(body: bytes) -> tuple[pa.Table, dict[bytes, bytes] | None]:
    reader = pa.ipc.open_stream(body)
    batches = []
    metadata = None
    while True:
        try:
            batch, metadata = reader.read_next_batch_with_custom_metadata()
        except StopIteration:
            return pa.Table.from_batches(batches, schema=reader.schema), dict(metadata or {})
        batches.append(batch)


@pytest.mark.parametrize("count", [0, 3, 20_000])
def test_an_arrow_stream_ends_with_its_summary(encode: Encode, count: int) -> None:
    table, metadata = read_arrow(encode(f"SELECT i, uuid() AS u FROM range({count}) t(i)", "arrow"))
    assert table.column("i").to_pylist() == list(range(count))
    assert metadata == {
        b"chronoduck.complete": b"true",
        b"chronoduck.row_count": str(count).encode(),
        b"chronoduck.truncated": b"false",
    }


def test_an_arrow_stream_without_its_tail_has_no_summary(encoder_of: Callable[..., Any]) -> None:
    encoder, batches = encoder_of("SELECT i FROM range(10) t(i)", "arrow")
    _, metadata = read_arrow(encoder.head() + encoder.rows(batches[0]))
    assert metadata == {}


SPECIAL = """SELECT h::HUGEINT AS h, 7::UHUGEINT AS uh, '101'::BIT AS bit, '12:00:00+01'::TIMETZ AS tz,
    12::BIGNUM AS big, '6f9619ff-8b86-d011-b42d-00cf4fc964ff'::UUID AS u, '[1]'::JSON AS j, true AS b,
    'x'::ENUM('x', 'y') AS e, [{'h': h::HUGEINT, 'e': 'y'::ENUM('x', 'y'), 'b': true}] AS nested,
    row(1, '1'::BIT) AS r, map(['k'], ['1'::BIT]) AS m, 1 AS h FROM (SELECT unnest([%s]) AS h)"""
PORTABLE = {
    "h": pa.decimal128(38, 0),
    "uh": pa.string(),
    "bit": pa.string(),
    "tz": pa.string(),
    "big": pa.string(),
    "u": pa.string(),
    "j": pa.string(),
    "b": pa.bool_(),
    "e": pa.string(),
}


@pytest.mark.parametrize("name", ["arrow", "parquet"])
def test_arrow_and_parquet_hold_no_type_of_duckdbs_own(encode: Encode, name: str) -> None:
    body = encode(SPECIAL % ", ".join(f"'{value}'::HUGEINT" for value in EXTREMES), name)
    table = read_arrow(body)[0] if name == "arrow" else pq.read_table(io.BytesIO(body))
    assert table.schema.names[-1] == "h_1"
    assert {field: table.schema.field(field).type for field in PORTABLE} == PORTABLE
    assert table.column("h").to_pylist() == [Decimal(value) for value in EXTREMES]
    row = table.slice(0, 1).to_pylist()[0]
    assert row["nested"] == [{"h": Decimal(EXTREMES[0]), "e": "y", "b": True}]
    assert (row["r"], row["m"]) == ({"element1": 1, "element2": "1"}, [("k", "1")])
    assert (row["uh"], row["bit"], row["tz"], row["big"]) == ("7", "101", "12:00:00+01", "12")
    assert (row["u"], row["j"]) == ("6f9619ff-8b86-d011-b42d-00cf4fc964ff", "[1]")


def test_plain_arrow_columns_are_not_copied(encoder_of: Callable[..., Any]) -> None:
    encoder, batches = encoder_of(
        "SELECT i, i::VARCHAR AS s, i > 5 AS b FROM range(10) t(i)", "arrow"
    )
    (converted,) = encoder._columns.convert(batches[0])
    for index in (0, 1):
        ours = [buffer and buffer.address for buffer in converted.column(index).buffers()]
        theirs = [buffer and buffer.address for buffer in batches[0].column(index).buffers()]
        assert ours == theirs


def test_small_batches_share_a_parquet_row_group_and_large_ones_are_split(encode: Encode) -> None:
    body = encode("SELECT i FROM range(10_000) t(i)", "parquet", 2048, parquet_row_group_size=3000)
    file = pq.ParquetFile(io.BytesIO(body))
    groups = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
    assert groups == [3000, 3000, 3000, 1000]
    assert file.read().column("i").to_pylist() == list(range(10_000))
    assert file.metadata.metadata[b"chronoduck.row_count"] == b"10000"


def test_parquet_row_groups_are_handed_out_when_they_are_full(
    encoder_of: Callable[..., Any],
) -> None:
    encoder, batches = encoder_of(
        "SELECT i FROM range(6000) t(i)", "parquet", 2048, parquet_row_group_size=4000
    )
    assert encoder.head() == b"PAR1"
    assert [bool(encoder.rows(batch)) for batch in batches] == [False, True, False]


@pytest.mark.parametrize("codec", ["ZSTD", "SNAPPY", "GZIP", "LZ4", "BROTLI", "NONE"])
def test_parquet_follows_its_settings(encode: Encode, codec: str) -> None:
    body = encode(
        "SELECT 'abc' AS s FROM range(100)",
        "parquet",
        parquet_compression=codec,
        parquet_enable_dictionary=False,
        parquet_page_size=1000,
    )
    column = pq.ParquetFile(io.BytesIO(body)).metadata.row_group(0).column(0)
    assert column.compression == {"NONE": "UNCOMPRESSED"}.get(codec, codec)
    assert not column.has_dictionary_page


def test_parquet_holds_intervals_and_unions_as_text(encode: Encode) -> None:
    sql = "SELECT INTERVAL 1 DAY AS i, union_value(n := 2) AS u, [INTERVAL 1 HOUR] AS l"
    table = pq.read_table(io.BytesIO(encode(sql, "parquet")))
    assert table.to_pylist() == [{"i": "1 day", "u": '{"n":2}', "l": ["01:00:00"]}]


@pytest.mark.parametrize("name", [item.value for item in ResultFormat])
@pytest.mark.parametrize(
    "kind", ["ENUM('a')[]", "ENUM('a')[2]", "ENUM('a')[2][]", "MAP(VARCHAR, ENUM('a')[])"]
)
def test_enums_below_a_null_list_do_not_crash_the_engine(
    encode: Encode, name: str, kind: str
) -> None:
    assert encode(f"SELECT NULL::{kind} AS e", name)


def test_enum_lists_in_a_union_are_refused(encode: Encode) -> None:
    with pytest.raises(DuckDBQueryError, match="the column e has lists of ENUMs inside of a UNION"):
        encode("SELECT 1 AS a, NULL::UNION(u ENUM('a')[], i INTEGER) AS e", "json")


@pytest.mark.parametrize("name", [item.value for item in ResultFormat])
def test_every_type_of_the_engine_is_encoded(
    connection: duckdb.DuckDBPyConnection, encode: Encode, name: str
) -> None:
    columns = [each[0] for each in connection.execute("FROM test_all_types()").description]
    assert len(columns) > 50
    assert encode("FROM test_all_types()", name)
    for column in columns:  # and inside of other types
        x = '"' + column + '"'
        # A list of ENUMs in a UNION has no form.
        union = "NULL" if "enum" in column else f"union_value(u := [{x}])"
        nested = f"{{'a': {x}, 'm': map([1], [[{x}, NULL]])}}, {union}"
        assert encode(f"SELECT {nested} FROM test_all_types() LIMIT 1", name), column


EMPTY = {
    "struct_pack()": {},
    "row()": [],
    "nullif(struct_pack(), struct_pack())": None,
    "[struct_pack(), NULL]": [{}, None],
    "[[struct_pack()], []]": [[{}], []],
    "array_value(struct_pack(), struct_pack())": [{}, {}],
    "MAP {'a': struct_pack()}": {"a": {}},
    "map([struct_pack()], [1])": [[{}, 1]],
    "{'a': {'b': struct_pack()}, 'c': 1}": {"a": {"b": {}}, "c": 1},
    "row(struct_pack(), 1)": [{}, 1],
    "union_value(u := struct_pack())": {"u": {}},
    "union_value(u := [struct_pack()])": {"u": [{}]},
    "{'a': struct_pack(), 'e': 'x'::ENUM('x')}": {"a": {}, "e": "x"},
    "[{'a': struct_pack(), 'b': 1::HUGEINT}]": [{"a": {}, "b": 1}],
}
"""Structs without fields, which DuckDB has since 2.0."""
# Parts of a type that Arrow readers do not know become text with all of the column.
TEXT_IN_ARROW = {
    "{'a': struct_pack(), 'e': 'x'::ENUM('x')}",
    "[{'a': struct_pack(), 'b': 1::HUGEINT}]",
}


@pytest.mark.skipif(duckdb.__version__.startswith("1."), reason="DuckDB 1.5 has no such structs")
@pytest.mark.parametrize("sql", EMPTY)
def test_a_struct_without_fields_has_a_form_everywhere(encode: Encode, sql: str) -> None:
    value, statement = EMPTY[sql], f"SELECT {sql} AS c, 1 AS n FROM range(2)"
    for numbers in ("exact", "safe"):
        data = json.loads(encode(statement, "json", json_numbers=numbers))["data"]
        assert data == [[value, 1]] * 2
    *rows, _ = [json.loads(line) for line in encode(statement, "ndjson").splitlines()]
    assert rows == [{"c": value, "n": 1}] * 2
    written = [row[0] for row in csv.reader(io.StringIO(encode(statement, "csv").decode()))][1:]
    assert [json.loads(each) if each else None for each in written] == [value] * 2
    parquet = pq.read_table(io.BytesIO(encode(statement, "parquet"))).column(0).to_pylist()
    assert [None if each is None else json.loads(each) for each in parquet] == [value] * 2
    arrow = pa.ipc.open_stream(encode(statement, "arrow")).read_all()
    assert arrow.num_rows == 2
    assert (arrow.schema.field(0).type == pa.string()) == (sql in TEXT_IN_ARROW)


TWICE = [[(1, 10), (1, 20)], None, [], [(2, None)]]
MAPS = {
    "m MAP(INTEGER, INTEGER)": (TWICE, lambda m: m),
    "l MAP(INTEGER, INTEGER)[]": ([[TWICE[0], None], None, [], [[]]], lambda m: pa.list_(m)),
    "f MAP(INTEGER, INTEGER)[2]": ([[TWICE[0], None], None], lambda m: pa.list_(m, 2)),
    "s STRUCT(a MAP(INTEGER, INTEGER))": (
        [{"a": TWICE[0]}, None, {"a": None}, {"a": []}],
        lambda m: pa.struct([("a", m)]),
    ),
}


@pytest.mark.parametrize("column", MAPS)
def test_a_map_with_a_key_twice_keeps_its_entries(column: str) -> None:
    """No statement of DuckDB 2.0 makes one; files of older versions hold them."""
    name, _, kind = column.partition(" ")
    values, arrow = MAPS[column]
    array = pa.array(values, arrow(pa.map_(pa.int32(), pa.int32())))
    table = pa.table({name: array})
    schema = ResultSchema.of([name], [DuckDBPyType(kind)], table.schema)
    told = {}
    for each in ResultFormat:
        encoder = open_encoder(each, schema, "", EncodingOptions())
        rows = [encoder.rows(batch) for batch in (*table.to_batches(1), *table[1:].to_batches())]
        summary = ResultSummary(0, False, 0.0, 0.0)
        told[each.value] = b"".join([encoder.head(), *rows, encoder.tail(summary)])
    wanted = json.loads(json.dumps(values + values[1:]))
    assert [row[0] for row in json.loads(told["json"])["data"]] == wanted
    lines = told["ndjson"].splitlines()[:-1]
    assert [json.loads(line)[name] for line in lines] == wanted
    fields = [row[0] if row else "" for row in csv.reader(io.StringIO(told["csv"].decode()))][1:]
    assert [json.loads(field) if field else None for field in fields] == wanted
    assert pq.read_table(io.BytesIO(told["parquet"])).column(0).to_pylist() == values + values[1:]
    assert read_arrow(told["arrow"])[0].column(0).to_pylist() == values + values[1:]


@pytest.mark.parametrize(
    ("sql", "value"),
    [
        ("MAP {'a': g}", {"a": "POINT (1 2)"}),
        ("MAP {g: 1}", [["POINT (1 2)", 1]]),
        ("[MAP {1::UHUGEINT: [g, NULL]}, NULL]", [[[1, ["POINT (1 2)", None]]], None]),
        ("{'m': MAP {'a': MAP {'b': g}}, 'u': 1::HUGEINT}", {"m": {"a": {"b": "POINT (1 2)"}}, "u": 1}),
        ("array_value(MAP {'a': g}, NULL)", [{"a": "POINT (1 2)"}, None]),
        ("union_value(u := MAP {'a': g})", {"u": {"a": "POINT (1 2)"}}),
    ],
)  # fmt: skip
def test_geometry_in_a_map_is_what_it_is_elsewhere(encode: Encode, sql: str, value: Any) -> None:
    statement = f"SELECT {sql} AS c FROM (SELECT 'POINT (1 2)'::GEOMETRY AS g)"
    assert json.loads(encode(statement, "json"))["data"] == [[value]]
    written = next(iter(list(csv.reader(io.StringIO(encode(statement, "csv").decode())))[1:]))
    assert json.loads(written[0]) == value
    arrow = pa.ipc.open_stream(encode(statement, "arrow")).read_all()
    assert "geoarrow.wkb" in arrow.schema.to_string(truncate_metadata=False)


def test_maps_are_maps_again_after_their_values_were_made_plain(encode: Encode) -> None:
    uuid = "00000000-0000-0000-0000-00000000000"
    maps = f"(VALUES (1, MAP {{'{uuid}1'::UUID: 1::UHUGEINT}}), (2, NULL), (3, MAP {{}})) t(n, m)"
    columns = (
        "m, [m, NULL] AS l, {'x': m} AS s, array_value(m, NULL) AS f, MAP {1: m} AS mm, "
        "CASE WHEN m IS NOT NULL THEN [m] END AS n, CASE WHEN n > 1 THEN {'x': m} END AS o"
    )
    sql = f"SELECT {columns} FROM {maps}"
    one = [(f"{uuid}1", "1")]
    rows = [
        (one, [one, None], {"x": one}, [one, None], [(1, one)], [one], None),
        (None, [None, None], {"x": None}, [None, None], [(1, None)], None, {"x": None}),
        ([], [[], None], {"x": []}, [[], None], [(1, [])], [[]], {"x": []}),
    ]
    for size in (1, 1000):
        table = pq.read_table(io.BytesIO(encode(sql, "parquet", size)))
        assert [tuple(row.values()) for row in table.to_pylist()] == rows
        table, _ = read_arrow(encode(sql, "arrow", size))
        assert [tuple(row.values()) for row in table.to_pylist()] == rows


def test_maps_in_unions_are_written_as_ever(encode: Encode) -> None:
    sql = "SELECT union_value(u := MAP {1: 2}) AS u, [union_value(u := MAP {'a': 2})] AS l"
    data = json.loads(encode(sql, "json"))["data"]
    assert data == [[{"u": [[1, 2]]}, [{"u": {"a": 2}}]]]


def test_encoding_goes_on_after_the_private_engines_were_closed(encode: Encode) -> None:
    encode("SELECT [1]", "json")
    close_private_engines()
    assert json.loads(encode("SELECT [1]", "json"))["data"] == [[[1]]]
