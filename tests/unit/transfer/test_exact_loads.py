"""No load changes a value: what a type cannot keep makes the column another one, or is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chronoduck.errors import LoadError
from chronoduck.transfer.detect import FileFormat, detect
from chronoduck.transfer.options import LoadMode, LoadOptions, OnError
from tests.unit.transfer.memory_loads import CASES, MemoryTable

CSV, JSON, NDJSON = FileFormat.CSV, FileFormat.JSON, FileFormat.NDJSON
SAMPLED = 20_480
"""Rows from which types are guessed at first."""


@pytest.fixture
def table(tmp_path: Path) -> MemoryTable:
    return MemoryTable(tmp_path)


DAY = "2024-01-01 00:00:00"
LATE = [
    ("1", "1.5", "DOUBLE", "1.5"),
    ("1", "007", "VARCHAR", "007"),
    ("1", "1_000", "VARCHAR", "1_000"),
    ("1", "1e3", "VARCHAR", "1e3"),
    ("1", "+5", "VARCHAR", "+5"),
    ("1", "x", "VARCHAR", "x"),
    ("1", "2024-01-01", "VARCHAR", "2024-01-01"),
    ("1", "99999999999999999999", "HUGEINT", "99999999999999999999"),
    ("1", "9" * 39, "VARCHAR", "9" * 39),
    ("1", "1" + "0" * 41, "VARCHAR", "1" + "0" * 41),
    ("1.5", "1" + "0" * 23, "DECIMAL(25,1)", "1" + "0" * 23 + ".0"),
    ("1", "9007199254740993.5", "DECIMAL(17,1)", "9007199254740993.5"),
    ("1.5", "0.1234567890123456789", "DECIMAL(20,19)", "0.1234567890123456789"),
    ("1.5", "1e-400", "VARCHAR", "1e-400"),
    ("2024-01-01", "2024-01-01 12:34:56", "VARCHAR", "2024-01-01 12:34:56"),
    ("2024-01-01 00:00:00", f"{DAY}.123456789", "TIMESTAMP_NS", f"{DAY}.123456789"),
    ("12:00:00", "12:00:00.1234567", "VARCHAR", "12:00:00.1234567"),
    ("true", "7", "VARCHAR", "7"),
    ("true", "1", "VARCHAR", "1"),
    ("", "007", "VARCHAR", "007"),
    ("", "7", "BIGINT", "7"),
]  # fmt: skip


@pytest.mark.parametrize(("early", "late", "type_", "kept"), LATE)
def test_a_late_value_of_csv_decides_on_the_type(
    table: MemoryTable, early: str, late: str, type_: str, kept: str
) -> None:
    table.load(f"a,b\n{f'{early},1' + chr(10)}" + f"{early},1\n" * SAMPLED + f"{late},2\n")
    assert table.types["a"] == type_
    assert table.session.execute("SELECT a::VARCHAR FROM t WHERE b = 2") == [(kept,)]
    assert table.session.execute("SELECT count(*) FROM t") == [(SAMPLED + 2,)]


@pytest.mark.parametrize(
    ("early", "late", "type_", "kept"),
    [
        ("1", "1.5", "DOUBLE", "1.5"),
        ("1", "true", "JSON", "true"),
        ("1", '"007"', "JSON", '"007"'),
        ("true", "7", "JSON", "7"),
        ("1", "99999999999999999999", "HUGEINT", "99999999999999999999"),
        ("1", "1" + "0" * 41, "JSON", "1" + "0" * 41),
        ("1", "1.12345678901234567890", "DECIMAL(20,19)", "1.1234567890123456789"),
        ('"2024-01-01"', '"2024-01-01 12:34:56"', "VARCHAR", "2024-01-01 12:34:56"),
        ('"30"', '"x"', "VARCHAR", "x"),
        ('{"a":1}', '{"a":1,"b":2}', "STRUCT(a BIGINT, b BIGINT)", "{'a': 1, 'b': 2}"),
        ('{"a":1}', '{"a":1.5}', "STRUCT(a DOUBLE)", "{'a': 1.5}"),
        ('{"a":1}', "{}", "STRUCT(a BIGINT)", "{'a': NULL}"),
        ("[1]", "[1.5]", "DOUBLE[]", "[1.5]"),
        ("null", '"x"', "VARCHAR", "x"),
    ],
)
def test_a_late_value_of_json_decides_on_the_type(
    table: MemoryTable, early: str, late: str, type_: str, kept: str
) -> None:
    lines = f'{{"a":{early},"b":1}}\n' * (SAMPLED + 1) + f'{{"a":{late},"b":2}}\n'
    table.load(lines, NDJSON)
    assert table.types["a"] == type_
    assert table.session.execute("SELECT a::VARCHAR FROM t WHERE b = 2") == [(kept,)]


REFUSED = [
    ("BIGINT", "1.5"), ("BIGINT", "007"), ("BIGINT", "1e3"), ("BIGINT", "1_0"), ("BIGINT", "true"),
    ("UTINYINT", "256"), ("UTINYINT", "-1"), ("BOOLEAN", "7"), ("DECIMAL(5,2)", "1.555"),
    ("DOUBLE", "9007199254740993"), ("DOUBLE", "1e400"), ("DOUBLE", "1e-400"), ("FLOAT", "16777217"),
    ("DATE", "2024-01-01 12:00:00"), ("DATE", "24-01-01"), ("TIMESTAMP", "2024-01-01 00:00:00.1234567"),
    ("TIMESTAMP", "2024-01-01T00:00:00+02:00"), ("TIMESTAMP_S", "2024-01-01 00:00:00.5"),
    ("TIME", "12:00:00+02"), ("TIME", "2024-01-01 12:00:00"),
]  # fmt: skip
TAKEN = [
    ("BIGINT", "5.00", "5"), ("BIGINT", " 7 ", "7"), ("BIGINT", "+5", "5"), ("BOOLEAN", "1", "true"),
    ("DECIMAL(5,2)", "1.550", "1.55"), ("DOUBLE", "0.1", "0.1"), ("DOUBLE", "1e3", "1000.0"),
    ("DOUBLE", "0.10000000000000001", "0.1"), ("FLOAT", "0.1", "0.1"), ("DOUBLE", "nan", "nan"),
    ("DATE", "2024-01-01 00:00:00", "2024-01-01"), ("DATE", "2024-1-5", "2024-01-05"),
    ("TIMESTAMP", "2024-01-01T00:00:00Z", "2024-01-01 00:00:00"),
    ("TIMESTAMP", "2024-01-01", "2024-01-01 00:00:00"), ("VARCHAR", "007", "007"),
    ("TIMESTAMPTZ", "2024-01-01T00:00:00+02:00", "2023-12-31 22:00:00+00"),
    ("HUGEINT", "9" * 38, "9" * 38),
]  # fmt: skip


def one_row(file_format: FileFormat, value: str) -> str:
    return f'a\n"{value}"\n' if file_format is CSV else f'{{"a":"{value}"}}\n'


@pytest.mark.parametrize("file_format", [CSV, NDJSON])
@pytest.mark.parametrize(("type_", "value"), REFUSED)
def test_an_existing_column_refuses_what_it_cannot_keep(
    table: MemoryTable, file_format: FileFormat, type_: str, value: str
) -> None:
    table.session.execute(f"CREATE TABLE t (a {type_})")
    with pytest.raises(LoadError, match=r"^line \d: column a: .*is not ") as caught:
        table.load(one_row(file_format, value), file_format)
    assert value in caught.value.detail
    assert table.texts == []


@pytest.mark.parametrize("file_format", [CSV, NDJSON])
@pytest.mark.parametrize(("type_", "value", "kept"), TAKEN)
def test_an_existing_column_takes_what_means_the_same(
    table: MemoryTable, file_format: FileFormat, type_: str, value: str, kept: str
) -> None:
    table.session.execute(f"CREATE TABLE t (a {type_})")
    table.session.execute("SET TimeZone = 'UTC'")
    table.load(one_row(file_format, value), file_format)
    assert table.texts == [(kept,)]


@pytest.mark.parametrize(
    ("type_", "value"),
    [
        ("STRUCT(a INTEGER)", '{"a":1,"b":2}'),
        ("STRUCT(a INTEGER)", '{"a":1.5}'),
        ("STRUCT(s STRUCT(a INTEGER))[]", '[{"s":{"a":1}},{"s":{"a":1,"x":2}}]'),
        ("INTEGER[]", "[1.5]"),
        ("MAP(VARCHAR, INTEGER)", '{"k":1.5}'),
        ("STRUCT(a INTEGER)", "[1]"),
        ("INTEGER[2]", "[1]"),
    ],
)
@pytest.mark.parametrize("file_format", [JSON, NDJSON])
def test_nothing_inside_of_a_value_is_lost(
    table: MemoryTable, file_format: FileFormat, type_: str, value: str
) -> None:
    table.session.execute(f"CREATE TABLE t (a {type_}, b INTEGER)")
    row = f'{{"a":{value},"b":1}}'
    with pytest.raises(LoadError, match=r"^(line|row) 1: column a"):
        table.load(row if file_format is NDJSON else f"[{row}]", file_format)


EXTRA = '{"a": 1, "b": 2}'
PLACES = [
    ("STRUCT(a INTEGER)", "{}"),
    ("STRUCT(a INTEGER)[]", "[{}]"),
    ("MAP(VARCHAR, STRUCT(a INTEGER))", '{{"k": {}}}'),
    ("STRUCT(m MAP(VARCHAR, STRUCT(a INTEGER)[]))", '{{"m": {{"k": [{}]}}}}'),
]


@pytest.mark.parametrize("on_error", [OnError.ABORT, OnError.SKIP])
@pytest.mark.parametrize(("type_", "place"), PLACES)
def test_a_key_that_a_struct_lacks_is_seen_wherever_it_is(
    table: MemoryTable, type_: str, place: str, on_error: OnError
) -> None:
    table.session.execute(f"CREATE TABLE t (x {type_})")
    good = place.format('{"a": 1}')
    # Nothing and something in one column, so that the structure of all of them says nothing.
    body = "".join(f'{{"x": {each}}}\n' for each in (good, "null", place.format(EXTRA)))
    if on_error is OnError.SKIP:
        outcome = table.load(body, NDJSON, LoadOptions(on_error=on_error))
        assert (outcome.rows_added, outcome.rejected) == (2, 1)
    else:
        with pytest.raises(LoadError, match="line 3: column x has a key that the type lacks: b"):
            table.load(body, NDJSON, LoadOptions(on_error=on_error))


@pytest.mark.parametrize(
    ("type_", "value"),
    [
        ("MAP(VARCHAR, INTEGER)", "{}"),
        ("MAP(VARCHAR, STRUCT(a INTEGER))", '{"k": {}}'),
        ("STRUCT(a INTEGER)[]", "[{}]"),
        ("MAP(VARCHAR, INTEGER)[]", '[{}, {"a": 1}]'),
    ],
)
def test_an_empty_object_is_a_value(table: MemoryTable, type_: str, value: str) -> None:
    table.session.execute(f"CREATE TABLE t (x {type_})")
    table.load(f'{{"x": {value}}}\n', NDJSON)
    assert table.session.execute("SELECT count(x) FROM t") == [(1,)]


@pytest.mark.parametrize("on_error", [OnError.ABORT, OnError.SKIP])
@pytest.mark.parametrize("is_new", [True, False])
@pytest.mark.parametrize(
    "body", ["null\n", "7\n", '"x"\n', "{}\n", "[1]\n", "{}\n1\n", '{"z": 1}\n']
)
def test_what_is_no_row_is_never_passed_over(
    table: MemoryTable, body: str, is_new: bool, on_error: OnError
) -> None:
    if not is_new:
        table.session.execute("CREATE TABLE t (a INTEGER)")
    elif "z" in body:
        pytest.skip("it makes a column")
    with pytest.raises(LoadError):
        table.load(body, NDJSON, LoadOptions(on_error=on_error))


def parquet(column: pa.Array) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"a": column}), sink)
    return sink.getvalue().to_pybytes()


def arrow(column: pa.Array) -> bytes:
    sink = pa.BufferOutputStream()
    made = pa.table({"a": column})
    with pa.ipc.new_stream(sink, made.schema) as writer:
        writer.write_table(made)
    return sink.getvalue().to_pybytes()


@pytest.mark.parametrize(
    ("type_", "column"),
    [
        ("BIGINT", pa.array([1.5])),
        ("INTEGER", pa.array([1, 2**40])),
        ("BOOLEAN", pa.array([7])),
        ("DATE", pa.array([1_700_000_000], pa.timestamp("s"))),
        ("TIMESTAMP", pa.array([1_700_000_000_123_456_789], pa.timestamp("ns"))),
        ("DOUBLE", pa.array([2**53 + 1])),
        ("DECIMAL(5,2)", pa.array([1.555])),
        ("BIGINT", pa.array(["007"])),
        ("INTEGER[]", pa.array([[1.5]])),
    ],
)
@pytest.mark.parametrize("file_format", [FileFormat.PARQUET, FileFormat.ARROW])
def test_values_with_types_are_not_rounded_either(
    table: MemoryTable, file_format: FileFormat, type_: str, column: pa.Array
) -> None:
    table.session.execute(f"CREATE TABLE t (a {type_})")
    body = parquet(column) if file_format is FileFormat.PARQUET else arrow(column)
    with pytest.raises(LoadError, match=r"^row \d: column a: "):
        table.load(body, file_format)


# --- the files of the reports ---------------------------------------------------------------------


def case(name: str) -> bytes:
    return (CASES / name).read_bytes()


def test_fields_beyond_the_header_are_refused(table: MemoryTable) -> None:
    with pytest.raises(
        LoadError, match=r"^line 2: 3 fields, where there are 2 columns \(1,9.5,late\)"
    ):
        table.load(case("csv-short-header.csv"))


def test_a_comment_before_the_header_is_none(table: MemoryTable) -> None:
    table.load(case("csv-comment-first.csv"))
    assert table.types == {"a": "BIGINT", "b": "BIGINT"}
    assert table.texts == [("1", "2"), ("3", "4")]
    assert table.source is not None
    assert table.source.guesses["skip"] == "1"


def test_a_line_break_in_the_header_is_a_part_of_the_name(table: MemoryTable) -> None:
    table.load('"a\nb",c\n1,2\n"x\ny",4\n5,6,7\n'.replace("5,6,7\n", ""))
    assert list(table.types) == ["a\nb", "c"]
    assert table.texts == [("1", "2"), ("x\ny", "4")]


def test_a_ragged_line_is_named(table: MemoryTable) -> None:
    with pytest.raises(LoadError, match=r"^line 3: 2 fields, where there are 3 columns \(4,5\)$"):
        table.load(case("csv-ragged.csv"))


def test_lines_are_counted_as_an_editor_does(table: MemoryTable) -> None:
    table.session.execute("CREATE TABLE t (a VARCHAR, b INTEGER)")
    with pytest.raises(LoadError, match=r"^line 8: column b: x is not"):
        table.load('# by a tool\na,b\n"1\n2",3\n\n"4\n5",6\n7,x\n')


def test_the_file_is_not_read_again_for_each_bad_line(
    table: MemoryTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Path] = []
    real = Path.open

    def noted(path: Path, *arguments: Any, **options: Any) -> Any:
        opened.append(path)
        return real(path, *arguments, **options)

    table.session.execute("CREATE TABLE t (a VARCHAR, b VARCHAR)")
    monkeypatch.setattr(Path, "open", noted)
    skip = LoadOptions(on_error=OnError.SKIP)
    lines = [f'"x\n{n}",y\n' if n % 3 else f"{n},y,z\n" for n in range(6_000)]
    found = table.load("a,b\n" + "".join(lines), options=skip)
    assert (found.rows_added, found.rejected, len(found.bad_rows)) == (4_000, 2_000, 1_000)
    # Of three records one has one line.
    assert [row.number for row in found.bad_rows] == [2 + 5 * n for n in range(1_000)]
    assert [row.text for row in found.bad_rows] == [f"{3 * n},y,z" for n in range(1_000)]
    assert len(opened) < 20


def test_utf16_is_read(table: MemoryTable) -> None:
    table.load(case("csv-utf16.csv"))
    assert table.texts == [("1", "2")]


def test_a_file_without_a_header_loses_no_row(table: MemoryTable) -> None:
    table.load(case("csv-no-header.csv"))
    assert table.texts == [("1", "2"), ("3", "4")]


def test_the_faulty_line_of_ndjson_is_named(table: MemoryTable) -> None:
    with pytest.raises(LoadError, match=r"^line 1: not JSON"):
        table.load(case("ndjson-bad-first-line.ndjson"), NDJSON)


def test_a_byte_order_mark_is_no_part_of_ndjson(table: MemoryTable) -> None:
    table.load(case("ndjson-bom.ndjson"), NDJSON)
    assert table.texts == [("1",)]


def test_a_text_that_is_no_iso_date_stays_one(table: MemoryTable) -> None:
    table.load(case("ndjson-date-text.ndjson"), NDJSON)
    assert table.texts == [("25-11-2025",)]


def test_an_empty_array_is_no_rows(table: MemoryTable) -> None:
    assert table.load(case("json-empty-array.json"), JSON).rows_added == 0
    table.session.execute("CREATE TABLE t AS SELECT 1 AS a")
    table.load(case("json-empty-array.json"), JSON)
    assert table.texts == [("1",)]
    options = LoadOptions(mode=LoadMode.REPLACE)
    assert table.load(case("json-empty-array.json"), JSON, options).rows_removed == 1
    assert table.texts == []


@pytest.mark.parametrize("body", ["", "\n", "\ufeff"])
def test_no_lines_of_ndjson_are_no_rows(table: MemoryTable, body: str) -> None:
    assert detect(body.encode(), "x.ndjson").format is NDJSON
    assert detect(body.encode(), "x", NDJSON).format is NDJSON
    table.session.execute("CREATE TABLE t AS SELECT 1 AS a")
    assert table.load(body, NDJSON).rows_added == 0
    assert table.texts == [("1",)]
    assert table.load(body, NDJSON, LoadOptions(mode=LoadMode.REPLACE)).rows_removed == 1
    assert table.texts == []


def test_a_csv_without_a_header_line_empties_no_table(table: MemoryTable) -> None:
    table.session.execute("CREATE TABLE t AS SELECT 1 AS a")
    for name in ("x.csv", "x"):
        with pytest.raises(LoadError, match="is empty"):
            detect(b"", name, CSV)
    with pytest.raises(LoadError, match="is empty"):
        table.load("\n", CSV, LoadOptions(mode=LoadMode.REPLACE))
    assert table.texts == [("1",)]


def test_a_struct_with_a_field_twice_is_refused_and_columns_get_a_number(
    table: MemoryTable,
) -> None:
    values = [pa.array([1]), pa.array([2])]
    inner = pa.StructArray.from_arrays(values, names=["x", "X"])
    for batch in (
        pa.record_batch([inner], names=["s"]),
        pa.record_batch([pa.ListArray.from_arrays([0, 1], inner)], names=["s"]),
    ):
        with pytest.raises(LoadError, match="column s of the file has the field X twice"):
            table.load(arrow_batch(batch), FileFormat.ARROW)
    table.load(arrow_batch(pa.record_batch(values, names=["a", "A"])), FileFormat.ARROW)
    assert (list(table.types), table.texts) == (["a", "A_1"], [("1", "2")])


def arrow_batch(batch: pa.RecordBatch) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return bytes(sink.getvalue())


@pytest.mark.parametrize("body", ["a,b\r\n", "a,b", "\ufeffa,b\n"])
def test_a_header_alone_is_no_rows(table: MemoryTable, body: str) -> None:
    assert table.load(body).is_created
    options = LoadOptions(mode=LoadMode.REPLACE)
    table.session.execute("INSERT INTO t VALUES ('x', 'y')")
    assert table.load(body, CSV, options).rows_removed == 1


def test_decimals_that_duckdb_cannot_hold_are_refused(table: MemoryTable) -> None:
    with pytest.raises(LoadError, match=r"column price of the file is DECIMAL\(40,2\)"):
        table.load(case("decimal-40-2.parquet"), FileFormat.PARQUET)
    with pytest.raises(LoadError, match=r"column c of the file is decimal128\(5, -2\)"):
        table.load(case("decimal-negative-scale.arrows"), FileFormat.ARROW)


def test_a_name_with_a_nul_byte_is_refused(table: MemoryTable) -> None:
    with pytest.raises(LoadError, match="column 1 of the file contains a NUL byte"):
        table.load(b"a\0b,c\n1,2\n")
    with pytest.raises(LoadError, match="contains a NUL character"):
        table.load(b'{"a\\u0000b":1}\n', NDJSON)


def test_an_empty_text_in_quotes_is_not_null(table: MemoryTable) -> None:
    table.load('a,n\n"",1\n,2\nx,""\n')
    assert table.texts == [("", "1"), (None, "2"), ("x", None)]
