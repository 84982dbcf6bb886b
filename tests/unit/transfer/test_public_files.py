"""Files out of public reports about other readers of CSV, JSON and spreadsheets: each with its right values.

The first field names the report. ``None`` as the rows: the file is refused, with the words that follow.
"""

# ruff: noqa: E501 - one case a line

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from chronoduck.errors import LoadError
from chronoduck.transfer.detect import FileFormat
from tests.unit.transfer.memory_loads import MemoryTable

CSV, JSON, NDJSON = FileFormat.CSV, FileFormat.JSON, FileFormat.NDJSON

CASES: list[tuple[str, FileFormat, str | bytes, dict[str, Any], Any, Any]] = [
    ("csvkit 977: zip codes", CSV, "id,zip\n1,02116\n2,90210\n", {}, ["BIGINT", "VARCHAR"], [("1", "02116"), ("2", "90210")]),
    ("arrow 46853: quoted zeros", CSV, 'col1,col2\n"001","foo"\n"002","bar"', {}, ["VARCHAR", "VARCHAR"], [("001", "foo"), ("002", "bar")]),
    ("ClickHouse 112105: a decimal as the first row", CSV, "0.0\n10.5\n2.3\n", {}, ["DOUBLE"], [("0.0",), ("10.5",), ("2.3",)]),
    ("sqlitebiter 83: mixed zeros", CSV, "column1,column2\n123,0123\n0123,123\n", {}, ["VARCHAR", "VARCHAR"], [("123", "0123"), ("0123", "123")]),
    ("q 199: codes beside numbers", CSV, "a\tb\tc\td\n21\t001\t1.0\ttext1\n25\t002\t1.2e1\ttext2\n", {}, ["BIGINT", "VARCHAR", "DOUBLE", "VARCHAR"], [("21", "001", "1.0", "text1"), ("25", "002", "12.0", "text2")]),
    ("pandas 12340: whole numbers of 16 digits as floats", CSV, "id,n\n6144039378640938.000000,71\n6144053114071082.000000,8\n", {}, ["DECIMAL(16,0)", "BIGINT"], [("6144039378640938", "71"), ("6144053114071082", "8")]),
    ("pandas 5697: an empty line, then 19 digits", CSV, "x\n\n1111111111111111111", {}, ["BIGINT"], [(None,), ("1111111111111111111",)]),
    ("pandas 48170: holes among long integers", CSV, "col1,col2\n,1\n1234567890123456789,\n", {}, ["BIGINT", "BIGINT"], [(None, "1"), ("1234567890123456789", None)]),
    ("pandas 2697: one in scientific form", CSV, "id,x\n135217135789158401,a\n1352171357E+5,b\n", {}, ["VARCHAR", "VARCHAR"], [("135217135789158401", "a"), ("1352171357E+5", "b")]),
    ("readr 976: identifiers of 20 digits", CSV, "doi,id\n10.1136/a,11898508762506083287\n10.1016/b,3266119658877827603\n", {}, ["VARCHAR", "HUGEINT"], [("10.1136/a", "11898508762506083287"), ("10.1016/b", "3266119658877827603")]),
    ("readr 765: 1e+05 among integers", CSV, "n\n1e+05\n2\n3\n", {}, ["DOUBLE"], [("100000.0",), ("2.0",), ("3.0",)]),
    ("cudf 1035: a space behind the comma", CSV, "lat, long\n-73.978165, 40.757977\n-74.0044707, 40.73777000000001\n", {}, ["DOUBLE", "DOUBLE"], [("-73.978165", "40.757977"), ("-74.0044707", "40.73777000000001")]),
    ("beakerx 6020: a quoted integer of 18 digits", CSV, '"a"\n"123456789123456789"\n', {}, ["BIGINT"], [("123456789123456789",)]),
    ("CSVLint 46: many comment lines", CSV, "# Resultfile\n# Name of Test: xyz\n#\nTime\tStep\tU[V]\n0\t1\t4.14033592686097\n1\t2\t4.2\n", {}, ["BIGINT", "BIGINT", "DOUBLE"], [("0", "1", "4.14033592686097"), ("1", "2", "4.2")]),
    ("CsvHelper 2356: a comment without the delimiter", CSV, "#Some comment\r\nA;B;C\r\n1;2;3\r\n", {}, ["BIGINT"] * 3, [("1", "2", "3")]),
    ("CSV.jl 1185: semicolons and decimal commas", CSV, "a;b\n1,5;2,25\n3,5;4,75\n", {}, ["DOUBLE", "DOUBLE"], [("1.5", "2.25"), ("3.5", "4.75")]),
    ("cib-mango-tree 208: notes before the header", CSV, 'This is an unusual comment.\nAnd here we add another one.\nColumn1,Column2,Column3\n"value1",4,23.3\n"value2 and more",7,14.2\n', {}, ["VARCHAR", "BIGINT", "DOUBLE"], [("value1", "4", "23.3"), ("value2 and more", "7", "14.2")]),
    ("OfficeIMO 1994: a row that looks like a comment", CSV, "#a;b\n1;2\n", {"header": "no"}, ["VARCHAR", "VARCHAR"], [("#a", "b"), ("1", "2")]),
    ("duckdb 11403: one column, a quoted line break", CSV, 'col1\n"cell with\nnewline"\n', {}, ["VARCHAR"], [("cell with\nnewline",)]),
    ("duckdb 16760: a header with a line break, after an empty record", CSV, ',,\r\nx,y,"test\n123"\r\na,b,c\r\n1,2,3\r\n', {"skip": 1}, ["VARCHAR"] * 3, [("a", "b", "c"), ("1", "2", "3")]),
    ("duckdb 7706: a quoted field that ends with a line break", CSV, 'a,b\n1,"value = 1\n"\n2,x\n', {}, ["BIGINT", "VARCHAR"], [("1", "value = 1\n"), ("2", "x")]),
    ("duckdb 16215: one field in other quotes", CSV, "datecol,textcol\n1/6/19,\"text, with comma\"\n1/9/19,'text'\n", {}, ["VARCHAR", "VARCHAR"], [("1/6/19", "text, with comma"), ("1/9/19", "'text'")]),
    ("duckdb 14304: a backslash before a quote", CSV, '"foo","bar"\n"123","foo (\\"foo\\")"\n', {}, None, "line 2: a quoted field does not end"),
    ("readr 754: a decimal in the last row", CSV, "x,y\n10,1\n10,2\n10,1.1\n", {}, ["BIGINT", "DOUBLE"], [("10", "1.0"), ("10", "2.0"), ("10", "1.1")]),
    ("REDCapR 245: minutes that are no time of day", CSV, "id,t\n1,57:50\n2,24:12\n", {}, ["BIGINT", "VARCHAR"], [("1", "57:50"), ("2", "24:12")]),
    ("json-with-bigint 5: 17 digits behind the point", NDJSON, '{"a":0.46153846153846156}\n', {}, ["DOUBLE"], [("0.46153846153846156",)]),
    ("trino 28867: more digits than a double", JSON, '[{"a":1234567890.123456789,"b":"x"}]', {}, ["DECIMAL(19,9)", "VARCHAR"], [("1234567890.123456789", "x")]),
    ("konklone 266: nested long integers", NDJSON, '{"data":[[6068511140000001,{"t":1.25}]]}\n', {}, ["JSON[][]"], None),
    ("json-bignumber: beside small ones", NDJSON, '{"big":1234567890.123456789,"small":789.012}\n', {}, ["DECIMAL(19,9)", "DOUBLE"], [("1234567890.123456789", "789.012")]),
    ("reports of mojibake: a euro sign in Windows' encoding", CSV, "p;q\n5,50 \u20ac;1\n".encode("cp1252"), {}, ["VARCHAR", "BIGINT"], [("5,50 \u20ac", "1")]),
    ("Excel's Unicode text", CSV, "Name\tJahr\r\nZo\u00eb\t2024\r\n".encode("utf-16"), {}, ["VARCHAR", "BIGINT"], [("Zo\u00eb", "2024")]),
    ("R's write.table: row names without a header", CSV, '"x" "y"\n"1" 1 2\n', {"delimiter": " "}, None, "line 2: 3 fields, where there are 2 columns"),
    ("US grouping in quotes", CSV, 'a,b\nx,"1,234,567.50"\ny,"12.25"\n', {}, ["VARCHAR", "DOUBLE"], [("x", "1234567.5"), ("y", "12.25")]),
    ("Swiss grouping", CSV, "a;b\nx;1'234.50\ny;12\n", {"thousands": "'"}, ["VARCHAR", "DOUBLE"], [("x", "1234.5"), ("y", "12.0")]),
]  # fmt: skip


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MemoryTable]:
    table = MemoryTable(tmp_path_factory.mktemp("public"))
    yield table
    table.session.connection.close()


@pytest.mark.parametrize(
    ("file_format", "content", "read", "types", "expected"),
    [case[1:] for case in CASES],
    ids=[case[0] for case in CASES],
)
def test_the_values_are_those_of_the_file(
    shared: MemoryTable,
    file_format: FileFormat,
    content: str | bytes,
    read: dict[str, Any],
    types: list[str] | None,
    expected: Any,
) -> None:
    shared.session.execute("DROP TABLE IF EXISTS t")
    if types is None:
        with pytest.raises(LoadError) as caught:
            shared.load(content, file_format, **read)
        assert str(expected) in caught.value.detail
        return
    shared.load(content, file_format, **read)
    assert list(shared.types.values()) == types
    if expected is not None:
        assert shared.texts == expected
    else:
        assert "6068511140000001" in str(shared.texts)
