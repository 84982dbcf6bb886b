"""Rows into folders by their values: laid out as DuckDB's own COPY does, whatever the values are."""

from __future__ import annotations

import io
import json
import random
from collections import defaultdict
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chronoduck.engine.encoding import (
    EncodingOptions,
    PartitionedRows,
    ResultFormat,
    ResultSchema,
    open_encoder,
)
from chronoduck.errors import DuckDBException, DuckDBQueryError, LimitExceededError

ODD = [
    *("a b", "a/b", "../x", "%41", "a=b", "é", "", None, "x.y-z_~", "a+b&c", "A:B", "\t", "a'b"),
    "__HIVE_DEFAULT_PARTITION__",
]
KEPT_APART = ODD if duckdb.__version__ >= "2" else ODD[:-1]
"""The values that the engine's own COPY keeps apart: in 1.5 the last and NULL are one file."""


def read(sql: str, batch_rows: int = 7) -> tuple[ResultSchema, list[pa.RecordBatch]]:
    connection = duckdb.connect()
    connection.execute("SET arrow_lossless_conversion = true")
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute(sql)
    names = [each[0] for each in connection.description or ()]
    types = [each[1] for each in connection.description or ()]
    reader = connection.to_arrow_reader(batch_rows)
    schema = ResultSchema.of(names, types, reader.schema)
    return schema, list(reader)


def partitioned(
    sql: str, by: list[str], kind: ResultFormat = ResultFormat.PARQUET, most: int = 100
) -> dict[str, bytes]:
    schema, batches = read(sql)
    files: dict[str, bytes] = defaultdict(bytes)

    def write(folder: str, data: bytes) -> None:
        files[folder] += data

    rows = PartitionedRows(schema, by, kind, EncodingOptions(), write, most=most)
    for batch in batches:
        rows.add(batch)
    rows.finish()
    assert rows.rows == sum(batch.num_rows for batch in batches)
    return dict(files)


def by_duckdb(sql: str, by: str, directory: Path) -> dict[str, list[dict[str, object]]]:
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute(f"COPY ({sql}) TO '{directory}' (FORMAT parquet, PARTITION_BY ({by}))")
    found: dict[str, list[dict[str, object]]] = defaultdict(list)
    for path in directory.rglob("*.parquet"):
        folder = path.parent.relative_to(directory).as_posix()
        found[folder] += pq.ParquetFile(path).read().to_pylist()
    return found


@pytest.mark.parametrize(
    ("columns", "by"),
    [
        ("text", ["P q"]),
        ("text, (n % 3)::TINYINT AS m", ["m", "P q"]),
        ("n % 2 = 0 AS even, DATE '2024-01-01' + (n % 4)::INTEGER AS day", ["DAY", "even"]),
        ("(n % 3 * 1.5)::DECIMAL(9, 2) AS d, n % 2 * 1e300 AS x", ["d", "x"]),
        ("TIMESTAMPTZ '2024-01-02 03:04:05+00' AS t, ('ab' || n % 2)::BLOB AS b", ["t", "b"]),
        ("[n % 2, NULL] AS l, {'a': n % 2} AS s, (n % 2)::HUGEINT AS h", ["l", "s", "h"]),
        ("CASE WHEN n % 2 = 0 THEN 'x' END::ENUM ('x', 'y') AS e", ["e"]),
    ],
)
def test_folders_and_rows_are_those_of_the_engine(
    columns: str, by: list[str], tmp_path: Path
) -> None:
    values = ", ".join(
        "(NULL)" if v is None else f"('{v.replace(chr(39), chr(39) * 2)}')" for v in KEPT_APART
    )
    columns = columns.replace("text", '"P q"')
    sql = (
        f"SELECT {columns}, n, n::VARCHAR AS v FROM (SELECT row_number() OVER () AS n, * FROM "
        f'(SELECT unnest([1, 2, 3])), (VALUES {values}) t("P q")) ORDER BY hash(n)'
    )
    own = partitioned(sql, by)
    quoted = ", ".join(f'"{name}"' for name in by)
    theirs = by_duckdb(sql, quoted, tmp_path / "out")
    assert set(own) == set(theirs)
    for folder, rows in theirs.items():
        found = pq.ParquetFile(io.BytesIO(own[folder])).read().to_pylist()
        assert sorted(map(repr, found)) == sorted(map(repr, rows))


@pytest.mark.parametrize("kind", [ResultFormat.CSV, ResultFormat.NDJSON, ResultFormat.PARQUET])
def test_every_row_is_in_one_file_whole(kind: ResultFormat, tmp_path: Path) -> None:
    number = random.Random(7).randrange(5, 9)
    sql = f"SELECT n % {number} AS p, n, 'x,\"' || n AS t FROM range(1000) r(n)"
    files = partitioned(sql, ["p"], kind)
    assert set(files) == {f"p={n}" for n in range(number)}
    reader = {
        ResultFormat.CSV: "read_csv",
        ResultFormat.NDJSON: "read_json",
        ResultFormat.PARQUET: "read_parquet",
    }[kind]
    for folder, data in files.items():
        path = tmp_path / folder
        path.write_bytes(data)
        rows = duckdb.connect().execute(f"SELECT n, t FROM {reader}('{path}')").fetchall()
        first = int(folder.partition("=")[2])
        assert rows == [(n, f'x,"{n}') for n in range(first, 1000, number)]


def test_the_number_of_folders_is_bounded_before_they_are_made() -> None:
    made = partitioned("SELECT range AS p, 1 AS n FROM range(5)", ["p"], most=5)
    assert len(made) == 5
    with pytest.raises(LimitExceededError, match="more than 5"):
        partitioned("SELECT range AS p, 1 AS n FROM range(6)", ["p"], most=5)


@pytest.mark.parametrize(
    ("by", "message"),
    [
        (["x"], "no column x"),
        (["a", "A"], "twice"),
        (["a", "b"], "nothing is left"),
        (["b"], "too long"),
    ],
)
def test_columns_that_make_no_folders_are_refused(by: list[str], message: str) -> None:
    with pytest.raises(DuckDBException, match=message) as caught:
        partitioned("SELECT 1 AS a, repeat('x', 300) AS b", by)
    assert isinstance(caught.value, DuckDBQueryError)


NEAR_NULL = [
    None,
    "",
    "NULL",
    "null",
    "__HIVE_DEFAULT_PARTITION__",
    "__hive_default_partition__",
    "%5F_HIVE_DEFAULT_PARTITION__",
    ".",
    "..",
    "x" * 200,
    "\u00e9",
    "e\u0301",
]


@pytest.mark.parametrize("kind", [ResultFormat.CSV, ResultFormat.NDJSON, ResultFormat.PARQUET])
def test_null_and_what_looks_like_it_are_apart(kind: ResultFormat, tmp_path: Path) -> None:
    rows = ", ".join(f"({n}, {literal(text)})" for n, text in enumerate(NEAR_NULL))
    files = partitioned(f"FROM (VALUES {rows}) t(n, p)", ["p"], kind)
    assert len(files) == len(NEAR_NULL)
    for folder, data in files.items():
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "data_0").write_bytes(data)
    reader = {"csv": "read_csv", "ndjson": "read_json", "parquet": "read_parquet"}[kind.value]
    found = duckdb.connect().execute(
        f"SELECT n, p FROM {reader}('{tmp_path}/*/data_0', hive_partitioning = true, "
        "hive_types = {'p': VARCHAR}) ORDER BY n"
    )
    assert [row[1] for row in found.fetchall()] == NEAR_NULL


def literal(text: str | None) -> str:
    return "NULL" if text is None else "'" + text.replace("'", "''") + "'"


def test_columns_are_found_as_sql_finds_them() -> None:
    assert set(partitioned('SELECT 1 AS "\u00df", 2 AS "SS", 3 AS n', ["ss"])) == {"SS=2"}
    assert set(partitioned("SELECT 1 AS a, 2 AS a, 3 AS n", ["a"])) == {"a=1"}
    assert set(partitioned("SELECT MAP {'k': 1} AS m, 3 AS n", ["m"])) == {"m=%7B%22k%22%3A1%7D"}


def test_unions_are_those_of_their_rows() -> None:
    """DuckDB 1.5 reads a slice of a union wrongly."""
    sql = (
        "SELECT n AS p, CASE WHEN n % 3 > 0 THEN n::UNION(i BIGINT, s VARCHAR) END AS u, "
        "{'u': u} AS s FROM range(7) r(n)"
    )
    for folder, data in partitioned(sql, ["p"], ResultFormat.NDJSON).items():
        n = int(folder.partition("=")[2])
        value = {"i": n} if n % 3 else None
        assert json.loads(data.splitlines()[0]) == {"u": value, "s": {"u": value}}, folder


def test_unions_of_a_large_batch_are_those_of_their_rows() -> None:
    schema, batches = read(
        "SELECT n, CASE WHEN n % 3 > 0 THEN n::UNION(i BIGINT, s VARCHAR) END AS u "
        "FROM range(40_000) r(n) ORDER BY n",
        40_000,
    )
    encoder = open_encoder(ResultFormat.NDJSON, schema, "", EncodingOptions())
    rows = b"".join(encoder.rows(batch) for batch in batches).splitlines()
    assert len(rows) == 40_000
    for n, row in enumerate(rows):
        assert json.loads(row)["u"] == ({"i": n} if n % 3 else None)
