"""The same values in the same form by every route: query, job, exports of all kinds, table backup."""

from __future__ import annotations

import asyncio
import io
import json
import os
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import duckdb
import httpx2
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings

from chronoduck.api import create_app
from chronoduck.assembly import DuckDBService
from chronoduck.engine.encoding import (
    EncodingOptions,
    ResultFormat,
    ResultSchema,
    ResultSummary,
    open_encoder,
    select_list,
)
from chronoduck.engine.table_export import export_tables, import_tables
from chronoduck.settings import load_settings
from tests.export.running import run_export
from tests.property.test_encoding_types import TYPES, Value, tables

EXAMPLES = int(os.environ.get("CHRONODUCK_ROUTE_TABLES", "4"))
FORMATS = ("json", "ndjson", "csv", "arrow", "parquet")
SUFFIXES = {"parquet": "parquet", "csv": "csv", "json": "ndjson", "arrow": "arrows"}
TEXT = "'a,\"b''\n\u2028é'"
VALUES = {
    "bool": ["true"],
    "tiny": ["'-128'::TINYINT"],
    "ubig": ["18446744073709551615::UBIGINT"],
    "huge": [f"({2**127 - 1})::HUGEINT", f"('{-(2**127)}')::HUGEINT", "9007199254740995::HUGEINT"],
    "uhuge": [f"{2**128 - 1}::UHUGEINT"],
    "bignum": [f"'{10**50}'::BIGNUM"],
    "dec": ["1.50::DECIMAL(38, 10)", "-0.5::DECIMAL(38, 10)"],
    "dbl": ["0.1::DOUBLE", "'nan'::DOUBLE", "'-inf'::DOUBLE", "1e300"],
    "flt": ["0.1::FLOAT"],
    "txt": [TEXT, "''", "'NULL'", "'__HIVE_DEFAULT_PARTITION__'", "'a/b%'", "'..'"],
    "blob": ["'\\x00\\xff'::BLOB"],
    "bit": ["'0101'::BIT"],
    "uuid": ["'6f9619ff-8b86-d011-b42d-00cf4fc964ff'::UUID"],
    "json": ['\'{"a": 1.50, "b": [1, 123456789012345678901234567890]}\'::JSON'],
    "date": ["DATE '2024-01-01'", "'infinity'::DATE", "'0044-03-15 (BC)'::DATE"],
    "ts": ["TIMESTAMP '2024-01-01 03:04:05.5'", "'-infinity'::TIMESTAMP"],
    "ts_s": ["'2024-01-01 00:00:01'::TIMESTAMP_S"],
    "ts_ms": ["'2024-01-01 00:00:01.25'::TIMESTAMP_MS"],
    "ts_ns": ["'2024-01-01 00:00:00.120000001'::TIMESTAMP_NS"],
    "tz": ["TIMESTAMPTZ '2024-01-01 03:04:05+02'"],
    "time": ["TIME '12:34:56.7'"],
    "timetz": ["'12:34:56+02'::TIMETZ"],
    "iv": ["INTERVAL '1 month 2 days 3.5 seconds'"],
    "mood": ["'it''s'::ENUM('sad', 'it''s')"],
    "list": ["[1::HUGEINT, NULL]", "[]"],
    "arr": ["array_value(1.5, 2.5)"],
    "struct": ["{'a b': 1::UHUGEINT, 'c': ['x', NULL], 'd': INTERVAL '1 day'}"],
    "map": ["MAP {'k': [TIMETZ '01:02:03+01']}"],
    "pairs": ["MAP {uuid: 1}"],
    "uni": ["union_value(n := 1)::UNION(n INTEGER, s VARCHAR)"],
    "unis": ["[union_value(s := 'x')::UNION(n INTEGER, s VARCHAR)]"],
}
UNIONS = ("uni", "unis")


def wide_table() -> str:
    """Return the SELECT of a table with all types; its later rows have NULLs."""
    count = max(map(len, VALUES.values()))
    rows = []
    for n in range(count + 1):
        items = [f"{n} AS id"]
        for name, values in VALUES.items():
            first = values[0].replace("uuid:", "UUID '6f9619ff-8b86-d011-b42d-00cf4fc964ff':")
            value = first if n == 0 else values[n] if n < len(values) else "NULL"
            items.append(f"{value} AS {name}")
        rows.append("SELECT " + ", ".join(items))
    return " UNION ALL ".join(rows)


class Routes:
    """One service, and every way that leads out of it."""

    def __init__(self, directory: Path) -> None:
        self.runner = asyncio.Runner()
        self.directory = directory
        file = directory / "export.toml"
        file.write_text(
            "".join(
                f'[files.s{kind}{by}]\nquery = "FROM v ORDER BY id"\nformat = "{kind}"\n'
                + (f'partition_by = ["{by}"]\n' if by else "")
                for kind in SUFFIXES
                for by in ("", "txt")
                if not (by and kind == "arrow")
            )
        )
        self.settings = load_settings(
            database_path=directory / "data" / "test.db",
            temp_directory=directory / "temp",
            memory_limit="500MB",
            ballast_size=0,
            export={"url": str(directory / "exports"), "file": str(file)},
        )
        self.service = DuckDBService(self.settings)
        app = create_app(self.service)
        self._lifespan = app.router.lifespan_context(app)
        self.run(self._lifespan.__aenter__())
        token = self.settings.token_path.read_text().strip()
        self.client = httpx2.AsyncClient(
            transport=httpx2.ASGITransport(app=app),
            base_url="http://test/api/v1/duckdb",
            headers={"Authorization": f"Bearer {token}"},
            timeout=300,
        )

    def run(self, work: Any) -> Any:
        return self.runner.run(work)

    def close(self) -> None:
        self.run(self.client.aclose())
        self.run(self._lifespan.__aexit__(None, None, None))
        self.runner.close()

    def query(self, sql: str, kind: str = "json") -> bytes:
        answer = self.run(self.client.post(f"/query?format={kind}", json={"query": sql}))
        assert answer.status_code == 200, (kind, answer.text)
        return bytes(answer.content)

    def job(self, sql: str) -> dict[str, bytes]:
        begun = self.run(self.client.post("/jobs", json={"query": sql}))
        job = self._ended(begun)
        path = f"/jobs/{job['id']}/result?format="
        answers = {kind: self.run(self.client.get(path + kind)) for kind in FORMATS}
        assert all(each.status_code == 200 for each in answers.values()), answers
        return {kind: each.content for kind, each in answers.items()}

    def export(self, sql: str, kind: str, by: list[str]) -> dict[str, bytes]:
        body = {"query": sql, "format": kind, "partition_by": by}
        job = self._ended(self.run(self.client.post("/exports", json=body)))
        path = f"/exports/{job['id']}/files/"
        names = [each["name"] for each in job["result"]["files"]]
        return {name: self.run(self.client.get(path + quote(name))).content for name in names}

    def declared(self, name: str) -> dict[str, bytes]:
        told = self.run(run_export(self.service, name))
        folder = self.directory / "exports" / told["url"].rpartition("/")[2]
        return {each["name"]: (folder / each["name"]).read_bytes() for each in told["files"]}

    def _ended(self, begun: httpx2.Response) -> dict[str, Any]:
        assert begun.status_code == 202, begun.text
        registry = self.run(self.service.parts()).jobs
        job = self.run(registry.wait(registry.get(begun.json()["id"]), 120))
        assert job.error is None, job.error
        return {"id": job.id, "result": job.result}


@pytest.fixture(scope="module")
def routes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Routes]:
    made = Routes(tmp_path_factory.mktemp("routes"))
    yield made
    made.close()


def document(data: bytes) -> Any:
    return json.loads(data, parse_float=Decimal, parse_constant=pytest.fail)


def lines(data: bytes) -> list[dict[str, Any]]:
    found = [document(line) for line in data.split(b"\n") if line]
    return [each for each in found if "_chronoduck" not in each]


def arrow(data: bytes) -> pa.Table:
    return pa.ipc.open_stream(data).read_all()


def as_documents(columns: list[str], types: list[str], relation: str, data: Any) -> list[Any]:
    """Return the rows of a Parquet file as the JSON that a query for them would give."""
    with duckdb.connect() as connection:
        connection.execute("SET arrow_lossless_conversion = true; SET TimeZone = 'UTC'")
        if not isinstance(data, Path):
            connection.register("given", data)
        connection.execute(f"SELECT {select_list(columns, types)} FROM {relation}")
        names, kinds = zip(*[each[:2] for each in connection.description or ()], strict=True)
        reader = connection.to_arrow_reader(10_000)
        schema = ResultSchema.of(names, kinds, reader.schema)
        encoder = open_encoder(ResultFormat.NDJSON, schema, "", EncodingOptions())
        parts = [encoder.head(), *map(encoder.rows, reader)]
        parts.append(encoder.tail(ResultSummary(0, False, 0, 0)))
        return [list(line.values()) for line in lines(b"".join(parts))]


def check(routes: Routes, tmp_path: Path, sql: str, by: list[str]) -> None:
    """Compare every route with the query's own answer in the same format."""
    whole = {kind: routes.query(sql, kind) for kind in FORMATS}
    told = document(whole["json"])
    columns, types, data = told["columns"], told["types"], told["data"]
    assert [list(line.values()) for line in lines(whole["ndjson"])] == data
    path = tmp_path / "whole.parquet"
    path.write_bytes(whole["parquet"])
    assert as_documents(columns, types, f"read_parquet('{path}')", path) == data

    job = routes.job(sql)
    assert document(job["json"])["data"] == data
    for kind in ("ndjson", "csv"):
        end = b'{"_chronoduck"'
        assert job[kind].partition(end)[0] == whole[kind].partition(end)[0], kind
    assert same_rows(pq.read_table(io.BytesIO(job["parquet"])), pq.read_table(path))
    plain = [name for name, kind in zip(columns, types, strict=True) if "UNION" not in kind]
    assert same_rows(arrow(job["arrow"]).select(plain), arrow(whole["arrow"]).select(plain))

    for kind, suffix in SUFFIXES.items():
        (file,) = routes.export(sql, kind, []).values()
        same_file(suffix, file, whole[{"json": "ndjson"}.get(kind, kind)])
        if kind != "arrow":
            parts = routes.export(sql, kind, by)
            same_parts(parts, kind, by, told, tmp_path)


def same_rows(one: pa.Table, other: pa.Table) -> bool:
    """Whether two tables are the same; a column with NaN is by what it prints."""
    return bool(one.schema == other.schema) and all(
        left.equals(right) or repr(left.to_pylist()) == repr(right.to_pylist())
        for left, right in zip(one.columns, other.columns, strict=True)
    )


def same_file(suffix: str, file: bytes, whole: bytes) -> None:
    if suffix == "parquet":
        assert same_rows(pq.read_table(io.BytesIO(file)), pq.read_table(io.BytesIO(whole)))
    elif suffix == "arrows":
        assert same_rows(arrow(file), arrow(whole))
    else:
        assert file.partition(b'{"_chronoduck"')[0] == whole.partition(b'{"_chronoduck"')[0]


def same_parts(
    parts: dict[str, bytes], kind: str, by: list[str], told: dict[str, Any], tmp_path: Path
) -> None:
    """All rows are in the files, each in the one of its folder, in the form of the query."""
    columns, types, data = told["columns"], told["types"], told["data"]
    rest = [n for n, name in enumerate(columns) if name not in by]
    wanted: dict[str, list[Any]] = {}
    for row in data:
        values = [folder_value(row[columns.index(name)]) for name in by]
        key = "/".join(f"{name}={value}" for name, value in zip(by, values, strict=True))
        wanted.setdefault(key, []).append([row[n] for n in rest])
    found = {}
    for name, body in parts.items():
        key = "/".join(map(decoded, name.split("/")[:-1]))
        assert key not in found, key
        if kind == "parquet":
            path = tmp_path / "part.parquet"
            path.write_bytes(body)
            names, kinds = [columns[n] for n in rest], [types[n] for n in rest]
            found[key] = as_documents(names, kinds, f"read_parquet('{path}')", path)
        elif kind == "json":
            found[key] = [list(line.values()) for line in lines(body)]
        else:
            found[key] = None
    if kind == "csv":
        assert found.keys() == wanted.keys()
        return
    assert found == wanted


def folder_value(value: Any) -> Any:
    return NULL if value is None else value


NULL = "(null)"


def decoded(part: str) -> str:
    name, _, value = part.partition("=")
    if value == "__HIVE_DEFAULT_PARTITION__":
        return f"{name}={NULL}"
    return f"{name}={unquote(value)}"


def test_all_types(routes: Routes, tmp_path: Path) -> None:
    routes.query(f"CREATE OR REPLACE TABLE v AS {wide_table()}")
    # No table of the older storage version holds what row() makes, and DuckDB 1.5 cannot read its type.
    more = ", row(1, 'x') AS row" if duckdb.__version__ >= "2" else ""
    nothing = "NULL AS nothing, [NULL] AS nothings, {'a': NULL, 'NULL': 1} AS part"
    check(routes, tmp_path, f"SELECT *, {nothing}{more} FROM v ORDER BY id", ["txt"])


def test_declared_exports_are_those_that_are_asked_for(routes: Routes) -> None:
    routes.query(f"CREATE OR REPLACE TABLE v AS {wide_table()}")
    for kind, suffix in SUFFIXES.items():
        for by in ([], ["txt"]):
            if by and kind == "arrow":
                continue
            declared = routes.declared(f"s{kind}{''.join(by)}")
            asked = routes.export("FROM v ORDER BY id", kind, by)
            if not by:
                (declared_file,), (asked_file,) = declared.values(), asked.values()
                same_file(suffix, declared_file, asked_file)
                continue
            assert declared.keys() == asked.keys()
            for name, body in declared.items():
                same_file(suffix, body, asked[name])


@settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck), derandomize=True)
@given(table=tables(TYPES))
def test_generated_tables(
    routes: Routes, tmp_path_factory: pytest.TempPathFactory, table: list[list[Value]]
) -> None:
    rows = [
        f"SELECT {n} AS id, 'p{n % 2}' AS p, "
        + ", ".join(f"{each.sql} AS x{i}" for i, each in enumerate(row))
        for n, row in enumerate(zip(*table, strict=True))
    ]
    routes.query(f"CREATE OR REPLACE TABLE g AS {' UNION ALL '.join(rows)}")
    check(routes, tmp_path_factory.mktemp("g"), "FROM g ORDER BY id", ["p"])


def test_a_backup_of_the_table(tmp_path: Path) -> None:
    settings = load_settings(
        database_path=tmp_path / "source.db", temp_directory=tmp_path / "t", ballast_size=0
    )
    database = settings.database_path
    with duckdb.connect(str(database)) as source:
        source.execute(f"CREATE TABLE v AS {wide_table()}")
    (tmp_path / "backup").mkdir()
    export_tables(database, ["v"], tmp_path / "backup", settings)
    restored = tmp_path / "restored.db"
    import_tables(tmp_path / "backup", restored, storage_version="v1.5.0")
    with duckdb.connect() as connection:
        for name, path in (("a", database), ("b", restored)):
            connection.execute(f"ATTACH '{path}' AS {name} (READ_ONLY)")
        for columns in ("typeof(COLUMNS(*))", "CAST(COLUMNS(*) AS VARCHAR)"):
            rows = [
                connection.execute(f"SELECT {columns} FROM {name}.v ORDER BY id").fetchall()
                for name in ("a", "b")
            ]
            assert rows[0] == rows[1]
