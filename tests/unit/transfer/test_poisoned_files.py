"""Files whose values would end the engine, or whoever computes with them later: refused where they enter."""

# ruff: noqa: E501 - values, one a line

from __future__ import annotations

import io
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chronoduck.errors import DuckDBQueryError, LoadError
from chronoduck.transfer.detect import FileFormat
from chronoduck.transfer.json_depth import MAX_JSON_DEPTH, check_depth, check_depth_of_lines
from chronoduck.transfer.options import LoadOptions
from chronoduck.transfer.small_rows import small_rows
from chronoduck.transfer.sources import open_source
from chronoduck.transfer.table_load import TableOutcome, load_table
from chronoduck.transfer.type_text import read_type

HEAD_BYTES = 4_000_000
NAME, METADATA = b"ARROW:extension:name", b"ARROW:extension:metadata"


class Session:
    """A connection as the loader wants one."""

    def __init__(self) -> None:
        self.connection = duckdb.connect(config={"threads": "1", "memory_limit": "500MB"})

    def execute(
        self, sql: str, params: Sequence[object] | Mapping[str, object] | None = None
    ) -> list[tuple[object, ...]]:
        try:
            return list(self.connection.execute(sql, params).fetchall())
        except (duckdb.InternalException, duckdb.FatalException):
            raise
        except (duckdb.Error, OSError) as error:
            raise DuckDBQueryError(str(error)) from error

    def scan(self, name: str, reader: pa.RecordBatchReader) -> None:
        self.connection.register(name, reader)


@pytest.fixture
def session() -> Iterator[Session]:
    opened = Session()
    yield opened
    opened.connection.close()


def load(
    session: Session, path: Path, content: bytes, file_format: FileFormat, table: str = "t"
) -> TableOutcome:
    path.write_bytes(content)
    source = open_source(file_format, path, "the body", content[:HEAD_BYTES])
    source.prepare()
    session.execute("BEGIN TRANSACTION")
    try:
        outcome = load_table(session, source, table, LoadOptions(create=True))
    except Exception:
        session.connection.execute("ROLLBACK")
        raise
    session.execute("COMMIT")
    return outcome


def arrow_of(column: pa.Array, field: pa.Field) -> bytes:
    sink = io.BytesIO()
    schema = pa.schema([field])
    with pa.ipc.new_stream(sink, schema) as writer:
        writer.write_batch(pa.record_batch([column], schema=schema))
    return sink.getvalue()


def parquet_of(column: pa.Array, field: pa.Field | None = None) -> bytes:
    sink = io.BytesIO()
    schema = pa.schema([field or pa.field("v", column.type)])
    pq.write_table(pa.table([column], schema=schema), sink)
    return sink.getvalue()


def extended(type_: pa.DataType, name: str, metadata: str = "", field: str = "v") -> pa.Field:
    return pa.field(field, type_, metadata={NAME: name.encode(), METADATA: metadata.encode()})


def opaque(kind: str, vendor: str = "DuckDB") -> str:
    return json.dumps({"type_name": kind, "vendor_name": vendor})


BINARY = pa.array([b"\x00", b"\xff" * 40], pa.binary())


@pytest.mark.parametrize(
    ("name", "metadata"),
    [
        ("arrow.opaque", opaque(kind))
        for kind in ("bignum", "bit", "varint", "hugeint", "x", "time_tz")
    ]
    + [
        ("arrow.opaque", opaque("bignum", "somebody")),
        ("Arrow.Opaque", opaque("bignum")),
        ("arrow.parquet.variant", ""),
        ("geoarrow.wkb", "not json"),
        ("geoarrow.wkb", "[1]"),
        ("geoarrow.wkb", '{"crs": "' + "x" * 30_000 + '"}'),
        ("geoarrow.point", "{}"),
        ("duckdb.bit", ""),
    ],
)
@pytest.mark.parametrize("around", ["", "struct", "list", "map", "dictionary", "array", "union"])
def test_no_column_says_that_its_bytes_are_a_value_of_the_engine(
    session: Session, tmp_path: Path, name: str, metadata: str, around: str
) -> None:
    field = extended(pa.binary(), name, metadata, "inside")
    column: pa.Array = BINARY
    if around == "struct":
        column = pa.StructArray.from_arrays([BINARY], fields=[field])
    elif around == "list":
        type_ = pa.list_(field)
        column = pa.array([[b"\x00"]], pa.list_(pa.binary())).cast(type_)
    elif around == "array":
        column = pa.array([[b"\x00"]], pa.list_(pa.binary(), 1)).cast(pa.list_(field, 1))
    elif around == "map":
        inner = pa.StructArray.from_arrays([BINARY], fields=[field])
        column = pa.array([[(1, None)]], pa.map_(pa.int32(), inner.type))
    elif around == "dictionary":
        inner = pa.StructArray.from_arrays([BINARY], fields=[field])
        column = pa.DictionaryArray.from_arrays(pa.array([0, 1], pa.int8()), inner)
    elif around == "union":
        type_ = pa.sparse_union([field, pa.field("b", pa.int64())])
        column = pa.UnionArray.from_sparse(
            pa.array([0, 1], pa.int8()), [BINARY, pa.array([1, 2])], ["inside", "b"]
        )
        column = pa.Array.from_buffers(
            type_, 2, [None, column.buffers()[1]], children=[column.field(0), column.field(1)]
        )
    outer = field.with_name("v") if not around else pa.field("v", column.type)
    with pytest.raises(LoadError, match="column v"):
        load(session, tmp_path / "x.arrow", arrow_of(column, outer), FileFormat.ARROW)


@pytest.mark.parametrize(
    ("column", "field", "type_"),
    [
        (BINARY, extended(pa.binary(), "ibis.thing", "not json"), "BLOB"),
        (pa.array(["a"]), extended(pa.string(), "pandas.category"), "VARCHAR"),
        (pa.array(['{"a": [1]}']), extended(pa.string(), "arrow.json"), "JSON"),
        (pa.array([b"x" * 16], pa.binary(16)), extended(pa.binary(16), "arrow.uuid"), "UUID"),
        (pa.array(["a", "b"]).dictionary_encode(), None, "VARCHAR"),
        (pa.array([{"a": [1], "b": "x"}]), None, "STRUCT(a BIGINT[], b VARCHAR)"),
        (pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64())), None, "MAP(VARCHAR, BIGINT)"),
        (pa.RunEndEncodedArray.from_arrays(pa.array([2], pa.int32()), pa.array(["a"])), None, "VARCHAR"),
        (pa.array(["a"], pa.string_view()), None, "VARCHAR"),
        (pa.array([None], pa.timestamp("s")), None, "TIMESTAMP_S"),
        (pa.array([2**63 - 1], pa.int64()).view(pa.timestamp("ms")), None, "TIMESTAMP_MS"),
    ],
)  # fmt: skip
def test_other_columns_of_arrow_are_loaded(
    session: Session, tmp_path: Path, column: pa.Array, field: pa.Field | None, type_: str
) -> None:
    field = field or pa.field("v", column.type)
    outcome = load(session, tmp_path / "x.arrow", arrow_of(column, field), FileFormat.ARROW)
    assert outcome.rows_added == len(column)
    assert [each.type for each in outcome.columns] == [type_]
    session.execute("SELECT v::VARCHAR, hash(v) FROM t")


@pytest.mark.parametrize(
    ("column", "said"),
    [
        (pa.array([1.5], pa.float16()), "the column v of .* is of the type halffloat"),
        (pa.array([[1.5]], pa.list_(pa.float16())), "the column v of .* is of the type halffloat"),
        (
            pa.UnionArray.from_dense(
                pa.array([0], pa.int8()), pa.array([0], pa.int32()), [pa.array([1])]
            ),
            "the column v of .* is a dense union",
        ),
    ],
    ids=["half", "halves in a list", "dense union"],
)
def test_types_of_arrow_that_duckdb_does_not_read_are_named(
    session: Session, tmp_path: Path, column: pa.Array, said: str
) -> None:
    field = pa.field("v", column.type)
    with pytest.raises(LoadError, match=said):
        load(session, tmp_path / "x.arrow", arrow_of(column, field), FileFormat.ARROW)


def view(numbers: list[int], type_: pa.DataType, width: pa.DataType | None = None) -> pa.Array:
    return pa.array(numbers, width or pa.int64()).view(type_)


@pytest.mark.parametrize(
    ("column", "field"),
    [
        (view([2**62], pa.time64("us")), None),
        (view([-5], pa.time64("ns")), None),
        (view([2**30], pa.time32("ms"), pa.int32()), None),
        (view([2**62], pa.timestamp("s")), None),
        (view([-(2**63)], pa.timestamp("ms")), None),
        (pa.array([[2**62]], pa.list_(pa.int64())).view(pa.list_(pa.timestamp("s"))), None),
        (pa.array(["not json"]), extended(pa.string(), "arrow.json")),
        (pa.array(["[" * 50_000 + "]" * 50_000]), extended(pa.string(), "arrow.json")),
        (pa.array([b"x" * 16], pa.binary(16)).view(pa.decimal128(38, -37)), None),
        (pa.array([1], pa.decimal256(76, 3)), None),
        (pa.nulls(1, pa.list_(pa.int8(), 1_000_000)), None),
    ],
)
def test_values_that_are_none_of_their_type_are_refused(
    session: Session, tmp_path: Path, column: pa.Array, field: pa.Field | None
) -> None:
    field = field or pa.field("v", column.type)
    with pytest.raises((LoadError, DuckDBQueryError)):
        load(session, tmp_path / "x.arrow", arrow_of(column, field), FileFormat.ARROW)
    session.execute("SELECT 1")  # and the database is still valid


@pytest.mark.parametrize("around", ["", "list", "struct", "map"])
@pytest.mark.parametrize("number", [2**62, -5, 86_400_000_001])
def test_times_of_parquet_are_within_a_day(
    session: Session, tmp_path: Path, number: int, around: str
) -> None:
    column: pa.Array = view([0, number], pa.time64("us"))
    if around == "list":
        column = pa.ListArray.from_arrays([0, 1, 2], column)
    elif around == "struct":
        column = pa.StructArray.from_arrays([column], ["a b"])
    elif around == "map":
        column = pa.MapArray.from_arrays([0, 1, 2], pa.array(["k", "k"]), column)
    with pytest.raises((LoadError, DuckDBQueryError)):
        load(session, tmp_path / "x.parquet", parquet_of(column), FileFormat.PARQUET)
    session.execute("SELECT 1")


def written(directory: Path, sql: str) -> bytes:
    path = directory / "written.parquet"
    with duckdb.connect() as connection:
        connection.execute(f"COPY ({sql}) TO '{path}' (FORMAT parquet)")
    return path.read_bytes()


def test_a_variant_of_parquet_is_refused_by_its_column(session: Session, tmp_path: Path) -> None:
    content = written(tmp_path, "SELECT 1 AS a, {'x': 1}::VARIANT AS vee")
    with pytest.raises(LoadError, match=r"column vee .* VARIANT"):
        load(session, tmp_path / "x.parquet", content, FileFormat.PARQUET)


@pytest.mark.parametrize(
    ("file_format", "content"),
    [
        (FileFormat.NDJSON, b'{"v": [1]}\n'),
        (FileFormat.CSV, b"v\n1\n"),
        (FileFormat.ARROW, arrow_of(pa.array(["[1]"]), extended(pa.string(), "arrow.json"))),
    ],
)
@pytest.mark.parametrize("type_", ["VARIANT", 'STRUCT("a b" VARIANT)', "VARIANT[]"])
def test_columns_of_variants_are_not_filled(
    session: Session, tmp_path: Path, file_format: FileFormat, content: bytes, type_: str
) -> None:
    session.execute(f"CREATE TABLE t (v {type_})")
    with pytest.raises(LoadError, match="column v of t"):
        load(session, tmp_path / "x", content, file_format)


def test_all_other_types_of_parquet_are_loaded(session: Session, tmp_path: Path) -> None:
    content = written(
        tmp_path,
        "SELECT true AS a, 1::TINYINT AS b, 1::UBIGINT AS c, 1.5::DECIMAL(38, 10) AS d, 'x' AS e, "
        "'x'::BLOB AS f, DATE '2020-01-01' AS g, TIME '24:00:00' AS h, now() AS i, now()::TIMESTAMP AS j, "
        "INTERVAL 1 DAY AS k, uuid() AS l, '[1]'::JSON AS m, {'t': [TIME '01:02:03']} AS n, "
        "MAP {'k': '12:00:00+01'::TIMETZ} AS o, [1, 2]::INTEGER[2] AS p, 'a'::ENUM('a') AS q, "
        "1::HUGEINT AS r, '101'::BIT AS s, 12::BIGNUM AS u, now()::TIMESTAMP_NS AS w",
    )
    assert load(session, tmp_path / "x.parquet", content, FileFormat.PARQUET).rows_added == 1


# --- JSON -----------------------------------------------------------------------------------------


def depth_of(text: bytes) -> int:
    depth = deepest = position = 0
    is_text = False
    while position < len(text):
        character = text[position : position + 1]
        if is_text:
            position += character == b"\\"
            is_text = character != b'"'
        elif character == b'"':
            is_text = True
        elif character in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif character in b"]}":
            depth -= 1
        position += 1
    return deepest


def document(dice: random.Random, level: int = 0) -> object:
    chance = dice.random()
    if level > 6 or chance < 0.3:
        return "".join(dice.choice('a"\\[]{}\n\u00e9') for _ in range(dice.randrange(6)))
    if chance < 0.6:
        return [document(dice, level + 1) for _ in range(dice.randrange(3))]
    return {str(document(dice, 9)): document(dice, level + 1) for _ in range(dice.randrange(3))}


def test_the_depth_is_found_however_a_text_is_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from chronoduck.transfer import json_depth

    dice = random.Random(17)
    path = tmp_path / "x.json"
    for _ in range(300):
        text = json.dumps(document(dice)).encode()
        path.write_bytes(text)
        depth = depth_of(text)
        monkeypatch.setattr(json_depth, "_BLOCK_BYTES", dice.randrange(1, 5))
        for check in (check_depth, check_depth_of_lines):
            monkeypatch.setattr(json_depth, "MAX_JSON_DEPTH", depth)
            check(path, "x")
            if depth:
                monkeypatch.setattr(json_depth, "MAX_JSON_DEPTH", depth - 1)
                with pytest.raises(LoadError):
                    check(path, "x")


@pytest.mark.parametrize("file_format", [FileFormat.NDJSON, FileFormat.JSON])
@pytest.mark.parametrize("levels", [MAX_JSON_DEPTH + 1, 50_000, 400_000])
def test_a_deep_json_text_is_refused(
    session: Session, tmp_path: Path, levels: int, file_format: FileFormat
) -> None:
    row = b'{"a":1}\n{"a":' + b"[" * levels + b"]" * levels + b"}\n"
    content = row if file_format is FileFormat.NDJSON else b"[" + row.replace(b"\n", b",", 1) + b"]"
    with pytest.raises(LoadError, match="deep"):
        load(session, tmp_path / "x.json", content, file_format)


@pytest.mark.parametrize("file_format", [FileFormat.NDJSON, FileFormat.JSON])
def test_a_wide_json_text_is_not(session: Session, tmp_path: Path, file_format: FileFormat) -> None:
    line = json.dumps({"a": [[1, "[{", {"b": [2]}]] * 500}).encode()
    content = (
        b"\n".join([line] * 3)
        if file_format is FileFormat.NDJSON
        else b"[" + b",".join([line] * 3) + b"]"
    )
    assert load(session, tmp_path / "x.json", content, file_format).rows_added == 3


def test_small_rows_with_a_name_each_are_left_to_the_loader() -> None:
    assert small_rows("".join(f'{{"k{i}":1}}\n' for i in range(4_500)).encode()) is None
    some = small_rows("".join(f'{{"k{i}":1}}\n' for i in range(50)).encode())
    assert some is not None
    assert all(set(json.loads(text)) == set(some.names) for text in some.documents)


def test_small_rows_that_lack_the_same_names_stay_together() -> None:
    wide = json.dumps({f"k{i}": i for i in range(300)})
    found = small_rows("\n".join([wide] + ['{"k1": 2, "k0": 1}'] * 1_000).encode())
    assert found is None  # a megabyte of nulls
    found = small_rows("\n".join([wide] + ['{"k1": 2, "k0": 1}'] * 100).encode())
    assert found is not None
    assert json.loads(found.documents[-1])["k299"] is None


# --- CSV ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"a," + b"b" * 200_000 + b"\n1,2\n", "header"),
        (b'a,"' + b"b" * 200_000 + b"\n1,2\n", "header"),
        (b",".join(b"c%d" % i for i in range(6_000)) + b"\n1\n", "6,000 columns"),
        (b"\xef\xbb\xbf", "."),
        (b"\xef\xbb\xbf\n", "."),
        (b'"\n', "."),
    ],
)
def test_a_header_that_cannot_be_is_a_refusal(
    session: Session, tmp_path: Path, content: bytes, says: str
) -> None:
    with pytest.raises((LoadError, DuckDBQueryError), match=says):
        load(session, tmp_path / "x.csv", content, FileFormat.CSV)


def test_ndjson_of_too_many_names_is_refused(session: Session, tmp_path: Path) -> None:
    content = "".join(f'{{"k{i}":1}}\n' for i in range(6_000)).encode()
    with pytest.raises(LoadError, match="6,000 columns"):
        load(session, tmp_path / "x.json", content, FileFormat.NDJSON)


# --- types ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "leaves"),
    [
        ("TIME", {"TIME"}),
        ("TIME WITH TIME ZONE[]", {"TIME WITH TIME ZONE"}),
        ("DECIMAL(18,3)", {"DECIMAL"}),
        ("ENUM('VARIANT', 'it''s (,)')[3]", {"ENUM"}),
        ('STRUCT("a ""b, c" TIME, d STRUCT(e JSON[])[])', {"TIME", "JSON"}),
        ("MAP(VARCHAR, STRUCT(variant INTEGER))", {"VARCHAR", "INTEGER"}),
        ("UNION(a VARIANT, b INTEGER)", {"VARIANT", "INTEGER"}),
        ("GEOMETRY('OGC:CRS84')", {"GEOMETRY"}),
        ('"NULL"', {'"NULL"'}),
    ],
)
def test_types_are_read(text: str, leaves: set[str]) -> None:
    assert read_type(text).leaves == leaves
