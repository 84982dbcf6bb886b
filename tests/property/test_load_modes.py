"""Appends, upserts and replaces of any rows, against a model of the table; a failure changes nothing."""

from __future__ import annotations

import asyncio
import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chronoduck.assembly import DuckDBService
from chronoduck.errors import DuckDBException
from chronoduck.settings import load_settings
from chronoduck.transfer import FileFormat, LoadMode, LoadOptions, LoadSummary, OnError

Row = tuple[int, str | None]
ROWS = st.lists(
    st.tuples(st.integers(0, 6), st.none() | st.sampled_from(["x", "y", 'q"\\', "é"])), max_size=8
)
FORMATS = [FileFormat.NDJSON, FileFormat.JSON, FileFormat.CSV, FileFormat.PARQUET, FileFormat.ARROW]


@st.composite
def loads(draw: st.DrawFn) -> dict[str, Any]:
    return {
        "rows": draw(ROWS.filter(bool)),
        "mode": draw(st.sampled_from(list(LoadMode))),
        "format": draw(st.sampled_from(FORMATS)),
        "dry_run": draw(st.integers(0, 4)) == 0,
        "bad": draw(st.none() | st.integers(0, 8)),
        "skip": draw(st.booleans()),
    }


def encoded(rows: list[Row], format_: FileFormat, bad: int | None) -> bytes:
    """Return the rows as a file; at ``bad`` there is one whose key is no number."""
    values: list[tuple[Any, Any]] = list(rows)
    if bad is not None:
        values.insert(min(bad, len(values)), ("bad", "x"))
    if format_ is FileFormat.CSV:
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow(["k", "v"])
        writer.writerows(values)
        return text.getvalue().encode()
    objects = [{"k": k, "v": v} for k, v in values]
    if format_ is FileFormat.JSON:
        return orjson.dumps(objects)
    if format_ is FileFormat.NDJSON:
        return b"".join(orjson.dumps(row) + b"\n" for row in objects)
    table = pa.table(
        {"k": [str(k) for k, _ in values], "v": pa.array([v for _, v in values], "string")}
    )
    sink = io.BytesIO()
    if format_ is FileFormat.ARROW:
        with pa.ipc.new_stream(sink, table.schema) as writer_:
            writer_.write_table(table)
    else:
        pa.parquet.write_table(table, sink)
    return sink.getvalue()


def after(table: list[Row], rows: list[Row], mode: LoadMode) -> list[Row]:
    """Return the model's table after a load."""
    if mode is LoadMode.APPEND:
        return table + rows
    if mode is LoadMode.REPLACE:
        return list(rows)
    new = dict(rows)
    return [row for row in table if row[0] not in new] + list(new.items())


class Table:
    """A table of a real service, and its model."""

    def __init__(self, directory: Path) -> None:
        self.runner = asyncio.Runner()
        self.service = DuckDBService(
            load_settings(
                database_path=directory / "data" / "test.db",
                temp_directory=directory / "temp",
                memory_limit="500MB",
                worker_threads=2,
                ballast_size=0,
            )
        )
        self.runner.run(self.service.initialize())

    def close(self) -> None:
        self.runner.run(self.service.shutdown())
        self.runner.close()

    async def play(self, constraint: str, steps: list[dict[str, Any]]) -> None:
        await self.service.execute_query(
            f"CREATE OR REPLACE TABLE t (k INTEGER {constraint}, v VARCHAR)"
        )
        model: list[Row] = []
        for step in steps:
            model = await self._step(model, step, is_unique=bool(constraint))
            found = (await self.service.execute_query("FROM t")).data
            assert sorted(found, key=repr) == sorted(model, key=repr), step

    async def _step(self, model: list[Row], step: dict[str, Any], *, is_unique: bool) -> list[Row]:
        mode, rows, format_ = step["mode"], step["rows"], step["format"]
        skips = step["skip"] and format_ in (FileFormat.NDJSON, FileFormat.CSV)
        options = LoadOptions(
            mode,
            key=("k",) if mode is LoadMode.UPSERT else (),
            dry_run=step["dry_run"],
            on_error=OnError.SKIP if skips else OnError.ABORT,
        )
        wanted = after(model, rows, mode)
        fits = not is_unique or len({k for k, _ in wanted}) == len(wanted)
        is_good = (step["bad"] is None or skips) and fits
        loader = (await self.service.parts()).loader
        body = io.BytesIO(encoded(rows, format_, step["bad"]))
        try:
            events = [
                event
                async for event in loader.load(
                    body, name="x", table="t", file_format=format_, options=options
                )
            ]
        except DuckDBException:
            assert not is_good, step
            return model
        assert is_good, step
        summary = events[-1]
        assert isinstance(summary, LoadSummary)
        assert summary.rejected == (step["bad"] is not None)
        assert summary.rows_added - summary.rows_removed == len(wanted) - len(model)
        return model if step["dry_run"] else wanted


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Table]:
    made = Table(tmp_path_factory.mktemp("modes"))
    yield made
    made.close()


@pytest.mark.parametrize("constraint", ["", "PRIMARY KEY"])
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(steps=st.lists(loads(), min_size=1, max_size=6))
def test_the_table_is_always_the_models(
    table: Table, constraint: str, steps: list[dict[str, Any]]
) -> None:
    table.runner.run(table.play(constraint, steps))
