"""Every type out by results and exports and in again by loads, but what a format cannot hold."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import orjson
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from chronoduck.api import create_app
from chronoduck.assembly import DuckDBService
from chronoduck.settings import load_settings
from tests.property.test_encoding_types import FLAT, TYPES, Value, with_nulls

MEDIA_TYPES = {
    "arrow": "application/vnd.apache.arrow.stream",
    "parquet": "application/vnd.apache.parquet",
    "ndjson": "application/x-ndjson",
    "csv": "text/csv",
}
WAYS = st.sampled_from(["result", "export"])
PROFILE = settings(
    max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)


def holds(format_: str, type_: str, values: list[str]) -> bool:
    """Whether the format can hold the values of a type; docs/loading.md tells the same."""
    text = " ".join(values)
    is_nested = type_.endswith("]") or type_.startswith(("STRUCT(", "MAP(", "UNION("))
    if format_ == "arrow":
        return "24:00:00" not in text or "TIME" not in type_
    if format_ == "parquet":
        return not re.search("UNION|TIME_NS|GEOMETRY", type_)
    if re.search("FLOAT|DOUBLE", type_) and re.search("nan|inf", text):
        return format_ == "csv" and not is_nested  # JSON has no such numbers
    if "JSON" in type_:
        return False  # a document is sent as a part of the other, and is spelled anew
    if format_ == "csv" and (type_ == "VARCHAR" or type_ == "BLOB"):
        return not re.search(r"''(?!')|from_hex\(''\)", text)  # an empty text is NULL
    if is_nested and re.search(r"BLOB|BIT\b|BIGNUM|MAP\((?!VARCHAR)|GEOMETRY", type_):
        return False
    return format_ == "ndjson" or not (is_nested and re.search(r"UNION|\[\d+\]|VARCHAR", type_))


class Trip:
    """One service, one loop, and two tables of the same columns."""

    def __init__(self, directory: Path) -> None:
        self.runner = asyncio.Runner()
        self.settings = load_settings(
            database_path=directory / "data" / "test.db",
            temp_directory=directory / "temp",
            memory_limit="500MB",
            worker_threads=2,
            ballast_size=0,
            export={"url": str(directory / "exports")},
        )
        self.service = DuckDBService(self.settings)
        self.app = create_app(self.service)
        self.runner.run(self.service.initialize())
        self._lifespan = self.app.router.lifespan_context(self.app)
        self.runner.run(self._lifespan.__aenter__())
        token = self.settings.token_path.read_text().strip()
        self.client = httpx2.AsyncClient(
            transport=httpx2.ASGITransport(app=self.app),
            base_url="http://test/api/v1/duckdb",
            headers={"Authorization": f"Bearer {token}"},
        )

    def close(self) -> None:
        self.runner.run(self.client.aclose())
        self.runner.run(self._lifespan.__aexit__(None, None, None))
        self.runner.close()

    def check(self, way: str, type_: str, values: list[str]) -> None:
        """Send the values out, as a result or an export, and in by every format that can hold them."""
        self.runner.run(self._check(way, type_, values))

    async def _check(self, way: str, type_: str, values: list[str]) -> None:
        for table in ("src", "dst"):
            await self.service.execute_query(f"CREATE OR REPLACE TABLE {table} (n INT, x {type_})")
        rows = ", ".join(f"({n}, {value})" for n, value in enumerate(values))
        await self.service.execute_query(f"INSERT INTO src VALUES {rows}")
        for format_ in MEDIA_TYPES:
            if holds(format_, type_, values):
                out = await (self._result if way == "result" else self._export)(format_)
                assert out.status_code == 200, out.text
                await self._back(format_, out)

    async def _result(self, format_: str) -> httpx2.Response:
        return await self.client.post(
            "/query",
            params={"format": format_},
            json={"query": "FROM src", "json_numbers": "safe"},
        )

    async def _export(self, format_: str) -> httpx2.Response:
        format_ = "json" if format_ == "ndjson" else format_
        begun = await self.client.post("/exports", json={"query": "FROM src", "format": format_})
        assert begun.status_code == 202, begun.text
        registry = (await self.service.parts()).jobs
        job = await registry.wait(registry.get(begun.json()["id"]), 60)
        assert job.result is not None, job.error
        return await self.client.get(
            f"/exports/{job.id}/files/{job.result['files'][0]['name']}",
        )

    async def _back(self, format_: str, out: httpx2.Response) -> None:
        back = await self.client.post(
            "/tables/dst/rows",
            params={"mode": "replace"},
            content=out.content,
            headers={"Content-Type": MEDIA_TYPES[format_]},
        )
        done: dict[str, Any] = orjson.loads(back.content.splitlines()[-1])
        assert done["event"] == "done", (format_, done["error"], out.content[:1000])
        different = await self.service.execute_query(
            "(FROM src EXCEPT ALL FROM dst) UNION ALL (FROM dst EXCEPT ALL FROM src)"
        )
        assert different.data == [], format_


@pytest.fixture(scope="module")
def trip(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trip]:
    made = Trip(tmp_path_factory.mktemp("trip"))
    yield made
    made.close()


@st.composite
def columns(draw: st.DrawFn, types: Any) -> tuple[str, list[str]]:
    name, values = draw(types)
    found: list[Value] = draw(st.lists(with_nulls(name, values), min_size=1, max_size=5))
    return name, [value.sql for value in found]


@PROFILE
@given(way=WAYS, column=columns(FLAT))
@example(way="result", column=("HUGEINT", [f"'{-(2**127)}'::HUGEINT", f"'{2**127 - 1}'::HUGEINT"]))
def test_flat_values_come_back_as_they_went(
    trip: Trip, way: str, column: tuple[str, list[str]]
) -> None:
    trip.check(way, *column)


@PROFILE
@given(way=WAYS, column=columns(TYPES))
@example(way="result", column=("BOOLEAN[2]", ["NULL::BOOLEAN[2]", "[NULL, true]::BOOLEAN[2]"]))
@example(way="result", column=("MAP(VARCHAR, BOOLEAN)", ["MAP([]::VARCHAR[], []::BOOLEAN[])"]))
@example(way="result", column=("UNION(u HUGEINT, i INTEGER)", [f"{2**127 - 1}::HUGEINT"]))
@example(way="result", column=("STRUCT(a HUGEINT[])", [f"{{'a': [{2**127 - 1}::HUGEINT]}}"]))
def test_nested_values_come_back_as_they_went(
    trip: Trip, way: str, column: tuple[str, list[str]]
) -> None:
    trip.check(way, *column)
