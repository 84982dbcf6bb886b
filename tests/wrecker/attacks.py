"""The worst that four principals can send: requests without end, chosen by a seed."""

from __future__ import annotations

import io
import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

_KEYWORDS = ("FATAL", "IO Error", "No space left on device", "Out of Memory", "INTERNAL Error")
_NAMES_A = ",".join(f"a{i}" for i in range(200))
_NAMES_B = ",".join(f"b{i}" for i in range(200))
_FILL = "SELECT md5(i::VARCHAR) AS a FROM range(2000000) t(i)"


@dataclass(frozen=True)
class Attack:
    """One request, below ``/api/v1/duckdb``."""

    name: str
    method: str
    path: str
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    reads_slowly: bool = False


def statement(name: str, sql: str, path: str = "/query", **more: Any) -> Attack:
    """Return a request that sends a statement."""
    body = {"queries": [sql], **more} if path == "/batch" else {"query": sql, **more}
    content = json.dumps(body).encode(errors="surrogatepass")
    return Attack(name, "POST", path, content, {"Content-Type": "application/json"})


def load(name: str, table: str, body: bytes, kind: str) -> Attack:
    """Return a request that loads rows."""
    return Attack(name, "POST", f"/tables/{table}/rows", body, {"Content-Type": kind})


def _crashers(dice: random.Random) -> str:
    depth = dice.choice((5_000, 20_000, 45_000))
    return dice.choice(
        (
            f"SELECT (repeat('[', {depth}) || repeat(']', {depth}))::JSON::VARIANT",
            f"SELECT CAST(repeat('[', {depth}) || repeat(']', {depth}) AS JSON)::VARIANT",
            f"SELECT TRY_CAST((repeat('[', {depth}) || repeat(']', {depth}))::JSON AS VARIANT)",
            "SELECT reservoir_quantile(i, 0.5, 2147483647) FROM range(20) t(i)",
            "SELECT -('9' || repeat('9', 99000))::BIGNUM",
            "SELECT " + "{'a':" * 240 + "1" + "}" * 240,
        )
    )


def _bombs(dice: random.Random) -> str:
    count = dice.choice((30, 50, 80))
    return dice.choice(
        (
            "SELECT count(*) FROM wide "
            + " ".join(f"NATURAL JOIN wide t{i}" for i in range(count)),
            f"SELECT repeat('a', 90000) GLOB '{'*a' * 4000}b'",
            f"SELECT repeat('a', 90000) LIKE '{'%a' * 4000}b'",
            "SELECT length(regexp_replace(repeat('ab', 45000), '(a|b)', repeat('x', 9000), 'g'))",
            "SELECT length(generate_series(TIMESTAMP '2020-01-01', now(), INTERVAL 1 SECOND))",
            f"SELECT sum({'+'.join(['COLUMNS(*)'] * 40)}) FROM wide",
            f"SELECT 1 FROM wide GROUP BY CUBE({','.join(f'c{i}' for i in range(15))})",
            f"SELECT 1 FROM wide GROUP BY ROLLUP({_NAMES_A}), ROLLUP({_NAMES_B})",
            "SELECT sum(sqrt(a.i * b.i)) FROM range(100000) a(i), range(100000) b(i)",
            "WITH RECURSIVE r(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM r) SELECT count(*) FROM r",
            "SELECT list(a.i || b.i) FROM range(5000) a(i), range(5000) b(i)",
            f"SELECT {'nullif(' * 40}1{', 2)' * 40}",
            "SELECT string_agg(repeat('x', 10000), '') FROM range(100000)",
        )
    )


def _words(dice: random.Random) -> str:
    word = dice.choice(_KEYWORDS)
    return dice.choice(
        (
            f"SELECT id, CASE WHEN id > 40000 THEN error('{word}') END FROM numbers",
            f"SELECT CAST('{word}: of ' || id AS INTEGER) FROM numbers",
            f'SELECT error(\'{{"exception_type":"{word}"}}\')',
            f'SELECT "{word}" FROM numbers',
        )
    )


def _long_texts(dice: random.Random) -> str:
    count = dice.choice((8_000, 40_000))
    return dice.choice(
        (
            f"SELECT error(repeat(' ', {count}))",
            f'SELECT "{" " * count}"',
            f"SELECT '{'eyJ_' * (count // 4)}'::INTEGER",
            "PRAGMA enable_verification " + "--import " * (count // 10),
            "SELECT 1 " + "AS pivot, 1 " * (count // 12),
            "SELECT " + "[" * 20_000 + "]" * 20_000,
            f"SELECT {'://a:b' * (count // 6)}",
        )
    )


def _reads(dice: random.Random) -> Attack:
    make = dice.choice((_crashers, _bombs, _words, _long_texts))
    path = dice.choice(("/query", "/query", "/batch", "/explain", "/jobs"))
    sql = make(dice)
    if path == "/explain" and dice.random() < 0.5:
        return statement(make.__name__, "ANALYZE " + sql, path)
    return statement(make.__name__, sql, path, timeout_seconds=dice.choice((1, 5, 30)))


def _params(dice: random.Random) -> Attack:
    body = dice.choice(
        (
            '{"query":"SELECT 1","params":[' + "1," * 900_000 + "1]}",
            '{"query":"SELECT 1","params":[' + "[]," * 500_000 + "1]}",
            '{"query":"SELECT 1","params":' + "[" * 100_000 + "]" * 100_000 + "}",
        )
    )
    return Attack("params", "POST", "/query", body.encode(), {"Content-Type": "application/json"})


def _space(dice: random.Random) -> Attack:
    noise = (
        "SELECT md5(i::VARCHAR) || md5((i + 1)::VARCHAR) AS t, i % 4 AS p FROM range(4000000) t(i)"
    )
    kind = dice.randrange(4)
    if kind == 0:
        return statement("job", noise, "/jobs")
    if kind == 1:
        return statement("export", noise, "/exports", format="csv", partition_by=["p"])
    if kind == 2:
        return Attack(
            "spool",
            "POST",
            "/query?format=csv",
            json.dumps({"query": noise, "max_rows": 3_999_999}).encode(),
            {"Content-Type": "application/json"},
            reads_slowly=True,
        )
    return statement(
        "spill", "SELECT count(*) FROM (SELECT DISTINCT md5(i::VARCHAR) FROM range(9000000) t(i))"
    )


def analyst(dice: random.Random) -> Attack:
    """Return what an analyst sends."""
    return dice.choices((_reads, _params, _space, _paths), (8, 1, 2, 1))[0](dice)


def narrowed(dice: random.Random) -> Attack:
    """Return what an analyst sends whose key is for one table with a filter."""
    return _reads(dice)


def _paths(dice: random.Random) -> Attack:
    return Attack("path", "GET", "/tables/" + "eyJ_" * dice.choice((10, 15_000)))


def _arrow(dice: random.Random) -> bytes:
    name, metadata = dice.choice(
        (
            ("arrow.opaque", '{"type_name":"bignum","vendor_name":"DuckDB"}'),
            ("arrow.opaque", '{"type_name":"bit","vendor_name":"DuckDB"}'),
            ("geoarrow.wkb", "not json"),
            ("arrow.json", ""),
        )
    )
    column = pa.array([dice.randbytes(dice.randrange(9)) for _ in range(20)], pa.binary())
    extension = {"ARROW:extension:name": name, "ARROW:extension:metadata": metadata}
    schema = pa.schema([pa.field("v", column.type, metadata=extension)])
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, schema) as stream:
        stream.write_batch(pa.record_batch([column], schema=schema))
    return sink.getvalue()


def _parquet(dice: random.Random) -> bytes:
    sink = io.BytesIO()
    table = pa.table({"i": list(range(3000)), "t": [f"text{i % 50}" for i in range(3000)]})
    pq.write_table(table, sink, row_group_size=1000, compression="none")
    data = bytearray(sink.getvalue())
    size = int.from_bytes(data[-8:-4], "little")
    for _ in range(dice.randrange(1, 4)):
        data[dice.randrange(len(data) - 8 - size, len(data) - 8)] = dice.choice((0x7F, 0xFF, 0))
    return bytes(data)


def _upload(dice: random.Random) -> Attack:
    table = f"upload{dice.randrange(5)}"
    kind = dice.randrange(6)
    if kind == 0:
        return load("arrow", table, _arrow(dice), "application/vnd.apache.arrow.stream")
    if kind == 1:
        return load("parquet", table, _parquet(dice), "application/vnd.apache.parquet")
    if kind == 2:
        depth = dice.choice((10_000, 50_000))
        nested = '{"a":' + "[" * depth + "]" * depth + "}\n"
        return load("nested", table, nested.encode(), "application/x-ndjson")
    if kind == 3:
        rows = "".join(f'{{"k{i}":1}}\n' for i in range(4500))
        return load("names", table, rows.encode(), "application/x-ndjson")
    if kind == 4:
        return load("header", table, b"a," + b"b" * 200_000 + b"\n1,2\n", "text/csv")
    return load("bytes", table, dice.randbytes(5000), "application/vnd.apache.parquet")


def _changes(dice: random.Random) -> Attack:
    target = f"mine{dice.randrange(3)}"
    one, two = dice.randrange(100), dice.randrange(100)
    endless = "FROM range(100000) a(i), range(1000000) b(i) WHERE sqrt(a.i * b.i) < 0"
    return statement(
        "changes",
        dice.choice(
            (
                f"CREATE OR REPLACE TABLE {target} AS {_FILL}",
                f"INSERT INTO {target} {_FILL}",
                f"ALTER TABLE {target} ADD COLUMN b{one} INTEGER",
                f"INSERT INTO {target} SELECT md5(a.i::VARCHAR) {endless}",
                f"CREATE INDEX x{one} ON {target} (a)",
                f"DROP TABLE {target}",
                f"UPDATE {target} SET a = error('FATAL: ' || a)",
                "CHECKPOINT",
                f"CREATE TYPE z{one} AS STRUCT(a z{two}, b z{two})",
                f"CREATE MACRO m{one}(a) AS m{two}(a) + m{two}(a)",
            )
        ),
        timeout_seconds=dice.choice((2, 10)),
    )


def writer(dice: random.Random) -> Attack:
    """Return what a writer sends."""
    return dice.choices((_upload, _changes, _reads), (4, 3, 2))[0](dice)


def nobody(dice: random.Random) -> Attack:
    """Return what is sent without a valid credential."""
    path = dice.choice(
        ("/metrics", "/health", "/statistics", "/openapi.json", "/downloads/a.b", "/query")
    )
    wrong = {"Authorization": f"Bearer {dice.randbytes(9).hex()}"} if dice.random() < 0.3 else {}
    return Attack("flood", "POST" if path == "/query" else "GET", path, None, wrong)


BY_PRINCIPAL: dict[str, Callable[[random.Random], Attack]] = {
    "analyst": analyst,
    "narrowed": narrowed,
    "writer": writer,
    "nobody": nobody,
}
