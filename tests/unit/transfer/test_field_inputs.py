"""Ugly files as people report them to other tools, of all formats: each with its right values.

``None`` as the types: the file is refused, with the words that follow.
"""

# ruff: noqa: E501 - one case a line

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chronoduck.errors import DuckDBException
from chronoduck.transfer.detect import FileFormat
from tests.unit.transfer.memory_loads import MemoryTable

CSV, JSON, NDJSON = FileFormat.CSV, FileFormat.JSON, FileFormat.NDJSON
Case = tuple[str, FileFormat, str | bytes, dict[str, Any], dict[str, str] | None, Any]

NUMBERS: list[Case] = [
    ("narrow spaces of French spreadsheets", CSV, "a;b\nx;1\u202f234,50\ny;2\u202f000,25\n", {"thousands": "\u00a0", "decimal": ","}, {"a": "VARCHAR", "b": "DOUBLE"}, [("x", "1234.5"), ("y", "2000.25")]),
    ("narrow spaces, nothing said", CSV, "a;b\nx;1\u202f234,50\ny;2\u202f000,25\n", {}, {"a": "VARCHAR", "b": "DOUBLE"}, [("x", "1234.5"), ("y", "2000.25")]),
    ("spaces of both kinds", CSV, "b;c\n1\u202f234\u00a0567,50;5\n2,25;1\u202f000\n", {}, {"b": "DOUBLE", "c": "BIGINT"}, [("1234567.5", "5"), ("2.25", "1000")]),
    ("a space is no mark of thousands by itself", CSV, "b\n1 234.50\n2 000.25\n", {}, {"b": "VARCHAR"}, [("1 234.50",), ("2 000.25",)]),
    ("Swiss numbers with both apostrophes", CSV, "a,b\nx,1\u2019234.50\ny,2'000.25\n", {}, {"a": "VARCHAR", "b": "DOUBLE"}, [("x", "1234.5"), ("y", "2000.25")]),
    ("negative numbers of bookkeepers", CSV, 'a,b,c\n"(1,234.00)",5-,(7)\n"(2.00)",6-,(8)\n', {}, {"a": "VARCHAR", "b": "VARCHAR", "c": "VARCHAR"}, [("(1,234.00)", "5-", "(7)"), ("(2.00)", "6-", "(8)")]),
    ("percent and currency", CSV, "p,c,e\n12%,$5.00,5 EUR\n3.5%,$0.10,7 EUR\n", {}, {"p": "VARCHAR", "c": "VARCHAR", "e": "VARCHAR"}, [("12%", "$5.00", "5 EUR"), ("3.5%", "$0.10", "7 EUR")]),
    ("beyond a double", CSV, "a,b,c\n1e400,1e-400,-1e400\n1,2,3\n", {}, {"a": "VARCHAR", "b": "VARCHAR", "c": "VARCHAR"}, [("1e400", "1e-400", "-1e400"), ("1", "2", "3")]),
    ("other notations of integers", CSV, "h,u,p,b\n0x1F,1_000,+5,0b11\n0x20,2_000,+6,0b10\n", {}, {"h": "VARCHAR", "u": "VARCHAR", "p": "VARCHAR", "b": "VARCHAR"}, [("0x1F", "1_000", "+5", "0b11"), ("0x20", "2_000", "+6", "0b10")]),
    ("what doubles also are", CSV, "x,y\n1.5,1\nnan,inf\ninf,-inf\n-inf,nan\n", {}, {"x": "DOUBLE", "y": "DOUBLE"}, [("1.5", "1.0"), ("nan", "inf"), ("inf", "-inf"), ("-inf", "nan")]),
    ("identifiers that look scientific", CSV, "id\n1E5\n2E3\n", {}, {"id": "VARCHAR"}, [("1E5",), ("2E3",)]),
    ("identifiers of 19, 38 and 39 digits", CSV, f"a,b,c\n{'9' * 19},{'9' * 38},{'9' * 39}\n1,2,3\n", {}, {"a": "HUGEINT", "b": "HUGEINT", "c": "VARCHAR"}, [("9" * 19, "9" * 38, "9" * 39), ("1", "2", "3")]),
    ("telephone numbers and codes", CSV, "t,z,k\n+49 30 123456,01067,00\n0049-30-1,10115,01\n", {}, {"t": "VARCHAR", "z": "VARCHAR", "k": "VARCHAR"}, [("+49 30 123456", "01067", "00"), ("0049-30-1", "10115", "01")]),
    ("signed zeros", CSV, "a,b\n-0.0,-0\n1.5,1\n", {}, {"a": "DOUBLE", "b": "DOUBLE"}, [("-0.0", "-0.0"), ("1.5", "1.0")]),
    ("digits of other scripts", CSV, "a,b\n\u0661\u0662,\uff11\uff12\n1,2\n", {}, {"a": "VARCHAR", "b": "VARCHAR"}, [("\u0661\u0662", "\uff11\uff12"), ("1", "2")]),
    ("a minus of typesetters", CSV, "a\n\u22125\n3\n", {}, {"a": "VARCHAR"}, [("\u22125",), ("3",)]),
    ("a point without digits on one side", CSV, "a,b\n.5,5.\n1.5,2.5\n", {}, {"a": "DOUBLE", "b": "DECIMAL(2,1)"}, [("0.5", "5.0"), ("1.5", "2.5")]),
]  # fmt: skip
MOMENTS: list[Case] = [
    ("days and months in both orders", CSV, "d\n31/12/2024\n12/31/2024\n", {}, {"d": "VARCHAR"}, [("31/12/2024",), ("12/31/2024",)]),
    ("days that may be months", CSV, "d\n01/02/2024\n03/04/2024\n", {}, {"d": "VARCHAR"}, [("01/02/2024",), ("03/04/2024",)]),
    ("ISO weeks, months and ordinal days", CSV, "w,m,o\n2024-W05-1,2024-12,2024-366\n2024-W06,2024-11,2024-001\n", {}, {"w": "VARCHAR", "m": "VARCHAR", "o": "VARCHAR"}, [("2024-W05-1", "2024-12", "2024-366"), ("2024-W06", "2024-11", "2024-001")]),
    ("the end of a day", CSV, "t,ts\n24:00:00,2024-01-01T24:00:00\n23:59:59,2024-01-01T23:59:59\n", {}, {"t": "TIME", "ts": "VARCHAR"}, [("24:00:00", "2024-01-01T24:00:00"), ("23:59:59", "2024-01-01T23:59:59")]),
    ("leap seconds", CSV, "t,ts\n23:59:60,2016-12-31T23:59:60Z\n23:59:59,2016-12-31T23:59:59Z\n", {}, {"t": "VARCHAR", "ts": "VARCHAR"}, [("23:59:60", "2016-12-31T23:59:60Z"), ("23:59:59", "2016-12-31T23:59:59Z")]),
    ("times with offsets", CSV, "ts\n2024-03-31T02:30:00+02:00\n2024-03-31T02:30:00-0530\n2024-03-31T02:30:00Z\n", {}, {"ts": "TIMESTAMP WITH TIME ZONE"}, [("2024-03-31 00:30:00+00",), ("2024-03-31 08:00:00+00",), ("2024-03-31 02:30:00+00",)]),
    ("days that do not exist", CSV, "d\n2023-02-29\n2023-02-28\n", {}, {"d": "VARCHAR"}, [("2023-02-29",), ("2023-02-28",)]),
    ("years of five digits and two", CSV, "a,b\n10000-01-01,24-01-02\n2024-01-01,24-01-03\n", {}, {"a": "DATE", "b": "VARCHAR"}, [("10000-01-01", "24-01-02"), ("2024-01-01", "24-01-03")]),
    ("hours of twelve", CSV, "t\n1:30 PM\n11:05 AM\n", {}, {"t": "VARCHAR"}, [("1:30 PM",), ("11:05 AM",)]),
    ("a zone by its name", CSV, "ts\n2024-07-01 12:00:00 Europe/Berlin\n2024-01-01 12:00:00 UTC\n", {}, {"ts": "VARCHAR"}, [("2024-07-01 12:00:00 Europe/Berlin",), ("2024-01-01 12:00:00 UTC",)]),
]  # fmt: skip
TEXTS: list[Case] = [
    ("words for true", CSV, "a,b,c,d\nTRUE,yes,1,T\nFALSE,no,0,F\n", {}, {"a": "BOOLEAN", "b": "VARCHAR", "c": "BIGINT", "d": "VARCHAR"}, [("true", "yes", "1", "T"), ("false", "no", "0", "F")]),
    ("nothing, an empty text and its names", CSV, 'n,t\n1,""\n2,\n3,NULL\n4,"NULL"\n5,NA\n6,\\N\n7,None\n', {}, {"n": "BIGINT", "t": "VARCHAR"}, [("1", ""), ("2", None), ("3", "NULL"), ("4", "NULL"), ("5", "NA"), ("6", "\\N"), ("7", "None")]),
    ("several words for nothing", CSV, "n,t\n1,NA\n2,-\n3,5\n", {"null": ("NA", "-")}, {"n": "BIGINT", "t": "BIGINT"}, [("1", None), ("2", None), ("3", "5")]),
    ("UTF-16 without a mark", CSV, "a,b\n1,\u00e9\n2,x\n".encode("utf-16-le"), {}, {"a": "BIGINT", "b": "VARCHAR"}, [("1", "\u00e9"), ("2", "x")]),
    ("UTF-16 of the other order without a mark", CSV, "a,b\n1,\u00e9\n2,x\n".encode("utf-16-be"), {}, {"a": "BIGINT", "b": "VARCHAR"}, [("1", "\u00e9"), ("2", "x")]),
    ("line ends of old Macs", CSV, "a,b\r1,2\r3,4\r", {}, {"a": "BIGINT", "b": "BIGINT"}, [("1", "2"), ("3", "4")]),
    ("line ends in quotes are values", CSV, 'a,b\r\n1,"x\r\ny"\r\n2,"p\nq"\r\n3,"r\rs"\r\n', {}, {"a": "BIGINT", "b": "VARCHAR"}, [("1", "x\r\ny"), ("2", "p\nq"), ("3", "r\rs")]),
    ("a quote that never ends, late", CSV, "a,b\n" + "1,x\n" * 3000 + '2,"late\n3,y\n', {}, None, "line 3002: a quoted field does not end"),
    ("a mark in the middle, of files put together", CSV, "a,b\n1,x\n\ufeff2,y\n", {}, {"a": "VARCHAR", "b": "VARCHAR"}, [("1", "x"), ("\ufeff2", "y")]),
    ("spaces around texts", CSV, "a,b\n x , y\nz,w \n", {}, {"a": "VARCHAR", "b": "VARCHAR"}, [(" x ", " y"), ("z", "w ")]),
    ("an apostrophe that opens nothing", CSV, "a,b\nO'Brien,1\n'tis,2\n", {}, {"a": "VARCHAR", "b": "BIGINT"}, [("O'Brien", "1"), ("'tis", "2")]),
    ("inches", CSV, 'a,b\n"3"" pipe",1\n"5"" pipe",2\n', {}, {"a": "VARCHAR", "b": "BIGINT"}, [('3" pipe', "1"), ('5" pipe', "2")]),
    ("a formula for spreadsheets", CSV, 'a\n"=""0012"""\n"=""0013"""\n', {}, {"a": "VARCHAR"}, [('="0012"',), ('="0013"',)]),
    ("a list in a field", CSV, 'a\n"[1, 2]"\n"{""k"": 1}"\n', {}, {"a": "VARCHAR"}, [("[1, 2]",), ('{"k": 1}',)]),
]  # fmt: skip
SHAPES: list[Case] = [
    ("a delimiter behind every row and the header", CSV, "a,b,\n1,2,\n3,4,\n", {}, {"a": "BIGINT", "b": "BIGINT", "column2": "VARCHAR"}, [("1", "2", None), ("3", "4", None)]),
    ("a delimiter behind the rows alone", CSV, "a,b\n1,2,\n3,4,\n", {}, {"a": "BIGINT", "b": "BIGINT"}, [("1", "2"), ("3", "4")]),
    ("a value behind it, late", CSV, "a,b\n" + "1,2,\n" * 3000 + "3,4,5\n", {}, None, "line 3002: 3 fields"),
    ("lines of JSON under the name of CSV", CSV, '{"a":1}\n{"a":2}\n', {}, None, "line 1 of the file is a JSON object"),
    ("lines of JSON as texts", CSV, '{"a":1}\n', {"header": "no"}, {"column0": "VARCHAR"}, [('{"a":1}',)]),
    ("a row too short", CSV, "a,b,c\n1,2,3\n4,5\n", {}, None, "line 3: 2 fields"),
    ("a row too long, late", CSV, "a,b\n" + "1,2\n" * 3000 + "1,2,3\n", {}, None, "line 3002: 3 fields"),
    ("names twice, empty, and twins but for case", CSV, "a,a,,A\n1,2,3,4\n", {}, {"a": "BIGINT", "a_1": "BIGINT", "column2": "BIGINT", "A_2": "BIGINT"}, [("1", "2", "3", "4")]),
    ("a name that a number makes twice", CSV, "a,a_1,a\n1,2,3\n", {}, {"a": "BIGINT", "a_1": "BIGINT", "a_2": "BIGINT"}, [("1", "2", "3")]),
    ("words of SQL as names", CSV, 'select,order,"a ""b""",group by\n1,2,3,4\n', {}, {"select": "BIGINT", "order": "BIGINT", 'a "b"': "BIGINT", "group by": "BIGINT"}, [("1", "2", "3", "4")]),
    ("a name of 300 letters", CSV, f"{'x' * 300},b\n1,2\n", {}, {"x" * 300: "BIGINT", "b": "BIGINT"}, [("1", "2")]),
    ("years as names", CSV, "country,2023,2024\nDE,1,2\nFR,3,4\n", {}, {"country": "VARCHAR", "2023": "BIGINT", "2024": "BIGINT"}, [("DE", "1", "2"), ("FR", "3", "4")]),
    ("a header and nothing else", CSV, "a,b\n", {}, {"a": "VARCHAR", "b": "VARCHAR"}, []),
    ("empty lines between and behind", CSV, "a,b\n1,2\n\n3,4\n\n\n", {}, {"a": "BIGINT", "b": "BIGINT"}, [("1", "2"), ("3", "4")]),
    ("one column with semicolons in its texts", CSV, "a\nx;y\nz\n", {}, {"a": "VARCHAR"}, [("x;y",), ("z",)]),
]  # fmt: skip
BIG = 12345678901234567890123456789012345678901
DOCUMENTS: list[Case] = [
    ("a key twice", NDJSON, '{"a":1}\n{"a":1,"a":2}\n', {}, None, "line 2"),
    ("a key twice, nested", NDJSON, '{"s":{"a":1}}\n{"s":{"a":1,"a":2}}\n', {}, None, "line 2"),
    ("NUL in a text", NDJSON, '{"a":"x\\u0000y"}\n', {}, {"a": "VARCHAR"}, [("x\0y",)]),
    ("half a surrogate", NDJSON, '{"a":"x"}\n{"a":"\\ud800"}\n', {}, None, "line 2"),
    ("a pair of surrogates", NDJSON, '{"a":"\\ud83d\\ude00"}\n', {}, {"a": "VARCHAR"}, [("\U0001f600",)]),
    ("zero below zero", NDJSON, '{"a":-0.0}\n{"a":1.5}\n', {}, {"a": "DOUBLE"}, [("-0.0",), ("1.5",)]),
    ("integers of 41 digits", NDJSON, f'{{"a":{BIG}}}\n{{"a":1}}\n', {}, {"a": "JSON"}, [(str(BIG),), ("1",)]),
    ("beyond a double", NDJSON, '{"a":1e400}\n{"a":1}\n', {}, {"a": "JSON"}, [("1e400",), ("1",)]),
    ("another kind in every row", NDJSON, '{"a":1}\n{"a":"x"}\n{"a":[1]}\n{"a":{"k":1}}\n{"a":true}\n{"a":null}\n', {}, {"a": "JSON"}, [("1",), ('"x"',), ("[1]",), ('{"k":1}',), ("true",), (None,)]),
    ("empty ones before full ones", NDJSON, '{"l":[],"s":{}}\n{"l":[1],"s":{"k":1}}\n', {}, {"l": "BIGINT[]", "s": "STRUCT(k BIGINT)"}, [("[]", "{'k': NULL}"), ("[1]", "{'k': 1}")]),
    ("an array in place of lines", NDJSON, '[{"a":1},\n {"a":2}]\n', {}, None, "line 1: not JSON"),
    ("objects one behind the other", JSON, '{"a":1}{"a":2} {"a":3}', {}, {"a": "BIGINT"}, [("1",), ("2",), ("3",)]),
    ("over several lines, with a mark", JSON, '\ufeff[\n  {\n    "a": 1\n  },\n  {\n    "a": 2\n  }\n]\n', {}, {"a": "BIGINT"}, [("1",), ("2",)]),
    ("values that are no objects", NDJSON, "1\n2\n", {}, None, "does not hold JSON objects alone"),
    ("codes as texts", NDJSON, '{"z":"01067","n":"5","d":"2024-01-01","t":"true"}\n{"z":"10115","n":"6","d":"2024-01-02","t":"false"}\n', {}, {"z": "VARCHAR", "n": "VARCHAR", "d": "DATE", "t": "VARCHAR"}, [("01067", "5", "2024-01-01", "true"), ("10115", "6", "2024-01-02", "false")]),
    ("names that differ in case", NDJSON, '{"a":1,"A":2}\n', {}, None, "A"),
    ("a name that is empty", NDJSON, '{"":1,"b":2}\n', {}, None, "a key of the file is empty"),
    ("cut in the last line", NDJSON, '{"a":1}\n{"a":', {}, None, "line 2"),
    ("what Python writes of doubles", NDJSON, '{"a":NaN,"b":Infinity}\n{"a":1.5,"b":-Infinity}\n', {}, {"a": "DOUBLE", "b": "DOUBLE"}, [("nan", "inf"), ("1.5", "-inf")]),
]  # fmt: skip


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MemoryTable]:
    table = MemoryTable(tmp_path_factory.mktemp("field"))
    table.session.execute("SET TimeZone = 'UTC'")
    yield table
    table.session.connection.close()


ALL = [*NUMBERS, *MOMENTS, *TEXTS, *SHAPES, *DOCUMENTS]


@pytest.mark.parametrize(
    ("file_format", "content", "read", "types", "expected"),
    [case[1:] for case in ALL],
    ids=[f"{case[1]}-{case[0]}" for case in ALL],
)
def test_the_values_are_those_of_the_file(
    shared: MemoryTable,
    file_format: FileFormat,
    content: str | bytes,
    read: dict[str, Any],
    types: dict[str, str] | None,
    expected: Any,
) -> None:
    shared.session.execute("DROP TABLE IF EXISTS t")
    if types is None:
        with pytest.raises(DuckDBException) as caught:
            shared.load(content, file_format, **read)
        assert expected in f"{caught.value.detail}"
        return
    shared.load(content, file_format, **read)
    assert (shared.types, shared.texts) == (types, expected)


def column(values: list[Any], type_: pa.DataType | None = None) -> pa.Array:
    return pa.array(values, type_)


COLUMNS: list[tuple[str, pa.Array, dict[str, Any], str, list[tuple[str | None]]]] = [
    ("nanoseconds", column([1, 10**9 + 1], pa.timestamp("ns")), {}, "TIMESTAMP_NS", [("1970-01-01 00:00:00.000000001",), ("1970-01-01 00:00:01.000000001",)]),
    ("a zone", column([datetime(2024, 7, 1, tzinfo=UTC)], pa.timestamp("us", "Europe/Berlin")), {}, "TIMESTAMP WITH TIME ZONE", [("2024-07-01 00:00:00+00",)]),
    ("times of Spark", column([datetime(2024, 7, 1, 1, 2, 3, 4, tzinfo=UTC)], pa.timestamp("us")), {"use_deprecated_int96_timestamps": True}, "TIMESTAMP", [("2024-07-01 01:02:03.000004",)]),
    ("38 digits", column([Decimal("-1234567890123456789012345678.0123456789")]), {}, "DECIMAL(38,10)", [("-1234567890123456789012345678.0123456789",)]),
    ("the largest of 64 bits", column([2**64 - 1, 0], pa.uint64()), {}, "UBIGINT", [("18446744073709551615",), ("0",)]),
    ("half precision", column([1.5, None], pa.float16()), {}, "FLOAT", [("1.5",), (None,)]),
    ("a dictionary with nothing in it", column(["x", None, "x"]).dictionary_encode(), {}, "VARCHAR", [("x",), (None,), ("x",)]),
    ("lists, empty and not there", column([[], None, ["y", None]], pa.list_(pa.large_string())), {}, "VARCHAR[]", [("[]",), (None,), ("[y, NULL]",)]),
    ("maps of lists of structs", column([[("a", [{"k": 1}])], None], pa.map_(pa.string(), pa.list_(pa.struct([("k", pa.int8())])))), {}, "MAP(VARCHAR, STRUCT(k TINYINT)[])", [("{a=[{'k': 1}]}",), (None,)]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("values", "written", "type_", "expected"),
    [case[1:] for case in COLUMNS],
    ids=[case[0] for case in COLUMNS],
)
def test_the_values_are_those_of_a_parquet_file(
    shared: MemoryTable, values: pa.Array, written: dict[str, Any], type_: str, expected: Any
) -> None:
    shared.session.execute("DROP TABLE IF EXISTS t")
    body = io.BytesIO()
    pq.write_table(pa.table({"a": values}), body, **written)
    shared.load(body.getvalue(), FileFormat.PARQUET)
    assert (shared.types, shared.texts) == ({"a": type_}, expected)


def test_names_that_a_parquet_file_has_twice(shared: MemoryTable) -> None:
    shared.session.execute("DROP TABLE IF EXISTS t")
    body = io.BytesIO()
    pq.write_table(pa.Table.from_arrays([pa.array([n]) for n in range(3)], ["a", "a", "A"]), body)
    shared.load(body.getvalue(), FileFormat.PARQUET)
    assert list(shared.types.values()) == ["BIGINT"] * 3
    assert shared.texts == [("0", "1", "2")]
