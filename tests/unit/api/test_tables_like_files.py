"""Tables with names of files that are there: the table is read, and never the file."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import duckdb
import httpx2
import pytest

from chronoduck.assembly import DuckDBService
from chronoduck.engine.tables_like_files import check_tables
from chronoduck.errors import StatementRefusedError
from chronoduck.principals import Role
from chronoduck.settings import Settings


async def run(client: httpx2.AsyncClient, sql: str) -> httpx2.Response:
    return await client.post("/query", json={"query": sql})


async def rows(client: httpx2.AsyncClient, sql: str) -> list[list[object]]:
    answer = await run(client, sql)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["data"])


async def refused(client: httpx2.AsyncClient, sql: str) -> None:
    answer = await run(client, sql)
    assert answer.status_code == 403, answer.text
    assert answer.json()["rule"] == "files", answer.text


@pytest.fixture
def file(settings: Settings) -> Path:
    """A Parquet file in the one directory that the engine itself may read."""
    path = settings.temp_directory / "secret.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.parent.chmod(0o700)
    duckdb.connect().execute(f"COPY (SELECT 'secret' AS a) TO '{path}'")
    return path


async def test_the_table_is_read_and_not_the_file(
    admin: httpx2.AsyncClient, file: Path, log_in: Callable[..., httpx2.AsyncClient]
) -> None:
    writer, name = log_in("writer", Role.WRITER), f'"{file}"'
    reads = (f"FROM {name}", f"FROM main.{name}", f"FROM test.{name}", f"FROM test.main.{name}")
    for sql in reads:
        await refused(admin, sql)
    await rows(writer, f"CREATE TABLE {name} AS SELECT 'mine' AS a")
    file.write_bytes(file.read_bytes())  # it is still there
    for sql in reads:
        assert await rows(writer, sql) == [["mine"]]
    await rows(writer, f"CREATE VIEW v AS FROM {name}")
    await rows(writer, f"CREATE MACRO m() AS TABLE FROM {name}")
    for sql in ("FROM v", "FROM m()", f"SELECT * FROM (FROM {name})", "WITH w AS (FROM v) FROM w"):
        assert await rows(writer, sql) == [["mine"]]
    await rows(writer, f"DROP TABLE {name}")
    for sql in (*reads, "FROM v", "FROM m()", f"CREATE TABLE t AS FROM {name}", f"DESCRIBE {name}"):
        await refused(writer, sql)
    body = {"queries": [f"CREATE TABLE {name} (a INT)", f"DROP TABLE {name}", f"FROM {name}"]}
    answer = await writer.post("/batch", json=body)
    assert answer.status_code == 400
    assert "there is no table" in answer.json()["detail"], answer.text
    body = {"queries": [f"CREATE TABLE {name} (a INT)", f"INSERT INTO {name} VALUES (1)"]}
    assert (await writer.post("/batch", json=body)).status_code == 200
    assert await rows(writer, f"FROM {name}") == [[1]]


async def test_a_table_that_goes_between_judgement_and_run(
    admin: httpx2.AsyncClient, file: Path, app_service: DuckDBService
) -> None:
    """Tables come and go, and each answer is the table's or an error."""
    name, done = f'"{file}"', asyncio.Event()

    async def come_and_go() -> None:
        for _ in range(3):
            await rows(admin, f"CREATE OR REPLACE TABLE {name} AS SELECT 'mine' AS a")
            await rows(admin, f"DROP TABLE {name}")
        done.set()

    async def read() -> None:
        while not done.is_set():
            answer = await run(admin, f"FROM {name}")
            assert "secret" not in answer.text.replace(str(file), ""), answer.text
            assert answer.status_code in (200, 400, 403, 409), answer.text

    await asyncio.gather(come_and_go(), read(), read())


def test_names_are_looked_up_as_duckdb_does() -> None:
    connection = duckdb.connect()
    connection.execute(
        'CREATE SCHEMA "s.t"; CREATE TABLE "a/B" (i INT); CREATE VIEW "s.t".v AS SELECT 1'
    )
    there = [("a/b",), ("main", "A/B"), ("memory", "a/b"), ("memory", "main", "a/b"), ("S.T", "v")]
    for path in (*there, ("memory", "s.t", "v")):
        check_tables(connection, [path])
    for path in (("a/c",), ("s.t", "a/b"), ("other", "main", "a/b"), ("v",), ("other", "a/b")):
        with pytest.raises(StatementRefusedError, match="no table") as told:
            check_tables(connection, [("a/b",), path])
        assert told.value.rule == "files"
