"""A file that cannot be read is its uploader's fault: no disk is blamed, and no database reopened."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chronoduck.assembly import DuckDBService
from chronoduck.errors import LoadError
from chronoduck.settings import Settings
from chronoduck.transfer.detect import FileFormat


@pytest.fixture
async def service(settings: Settings) -> AsyncIterator[DuckDBService]:
    async with DuckDBService(settings) as opened:
        await opened.execute_query("CREATE TABLE t (i BIGINT, t VARCHAR, d DOUBLE)")
        yield opened
        health = await opened.health_check()
        assert health["healing"]["count"] == 0
        assert health["circuit_breaker"]["metrics"]["failed_requests"] == 0
        assert (await opened.parts()).instance.generation == 1


async def refusal(service: DuckDBService, body: bytes, file_format: FileFormat, table: str) -> str:
    """Return what is said of the file; it must not load."""
    loader = (await service.parts()).loader
    with pytest.raises(LoadError) as caught:
        async for _ in loader.load(
            io.BytesIO(body), name="upload", table=table, file_format=file_format
        ):
            pass
    assert caught.value.http_status == 422
    told = f"{caught.value.detail} {caught.value.hint}"
    assert str(service.spool_directory) not in told
    assert "Stack" not in told
    return told


def parquet() -> bytes:
    sink = io.BytesIO()
    rows = {
        "i": list(range(300)),
        "t": [f"text{i % 50}" for i in range(300)],
        "d": [i / 7 for i in range(300)],
    }
    pq.write_table(pa.table(rows), sink, row_group_size=100, compression="none")
    return sink.getvalue()


async def test_a_parquet_file_with_one_byte_of_its_footer_changed(
    service: DuckDBService, tmp_path: Path
) -> None:
    """The offsets become negative, or lie behind the end: DuckDB calls that an I/O error."""
    data = parquet()
    footer = int.from_bytes(data[-8:-4], "little")
    path, kinds = tmp_path / "bad.parquet", dict[str, bytes]()
    alone = duckdb.connect()
    alone.execute("SET enable_external_file_cache = false")
    for position in range(len(data) - 8 - footer, len(data) - 8):
        bad = bytearray(data)
        bad[position] = 0x7F
        path.write_bytes(bad)
        try:
            alone.execute(f"SELECT min(hash(COLUMNS(*))) FROM read_parquet('{path}')").fetchall()
        except duckdb.Error as error:
            kinds.setdefault(type(error).__name__, bytes(bad))
    assert "IOException" in kinds
    for bad in kinds.values():
        for _ in range(6):
            await refusal(service, bad, FileFormat.PARQUET, "t")


async def test_a_parquet_file_that_is_an_internal_error_ends_no_instance_of_others(
    service: DuckDBService, tmp_path: Path
) -> None:
    path = tmp_path / "variant.parquet"
    duckdb.connect().execute(
        f"COPY (SELECT {{'a': i}}::VARIANT AS v FROM range(50) t(i)) TO '{path}' (FORMAT parquet)"
    )
    good = path.read_bytes()
    bad = good.replace(b"metadata", b"m\xfetadata", 1)
    assert bad != good
    for _ in range(2):
        await refusal(service, bad, FileFormat.PARQUET, "made")
    loader = (await service.parts()).loader
    source = io.BytesIO(parquet())
    async for _ in loader.load(source, name="u", table="t", file_format=FileFormat.PARQUET):
        pass
    assert (await service.execute_query("SELECT count(*) FROM t")).data == [(300,)]


async def test_an_arrow_stream_whose_metadata_is_no_json(service: DuckDBService) -> None:
    column = pa.array([b"x"], pa.binary())
    field = pa.field(
        "v",
        column.type,
        metadata={
            b"ARROW:extension:name": b"geoarrow.wkb",
            b"ARROW:extension:metadata": b"not json",
        },
    )
    sink, schema = io.BytesIO(), pa.schema([field])
    with pa.ipc.new_stream(sink, schema) as out:
        out.write_batch(pa.record_batch([column], schema=schema))
    for _ in range(6):
        await refusal(service, sink.getvalue(), FileFormat.ARROW, "made")
