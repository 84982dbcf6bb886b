"""DuckDB itself as a client: tables, templates and statements by their address, as docs/api.md says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import duckdb
import pytest

from chronoduck.engine.extensions import extension_wheel
from tests.patience import PATIENCE_SECONDS
from tests.server import Server

HTTPFS = extension_wheel("httpfs")
TABLES = (
    "CREATE TABLE sold AS SELECT range AS n, n / 4 AS price, 'größe ' || n AS what FROM range(50000)",
    'CREATE TABLE "a b" AS SELECT 42 AS answer',
)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(HTTPFS is None, reason="the wheel of httpfs for this DuckDB is not there"),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    patient = {"DUCKDB_STATEMENT_TIMEOUT": PATIENCE_SECONDS}
    with Server(tmp_path_factory.mktemp("http"), **patient) as started:
        with started.client() as client:
            for statement in TABLES:
                made = client.post("/query", json={"query": statement})
                assert made.status_code == 200, made.text
        yield started


@pytest.fixture
def outside(server: Server, tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """DuckDB with a secret, and nothing else that it knows of the service."""
    connection = duckdb.connect(str(tmp_path / "mine.db"))
    connection.execute(f"LOAD '{HTTPFS}'")
    connection.execute(
        f"CREATE SECRET (TYPE http, SCOPE '{server.url}', "
        f"EXTRA_HTTP_HEADERS MAP {{'Authorization': 'Bearer {server.token}'}})"
    )
    yield connection
    connection.close()


def address(server: Server, path: str) -> str:
    return f"{server.url}/api/v1/duckdb/{path}"


def test_a_table_comes_whole_and_equal(server: Server, outside: duckdb.DuckDBPyConnection) -> None:
    sql = "SELECT count(*), sum(n), sum(price), max(what) FROM"
    with server.client() as client:
        there = client.post("/query", json={"query": f"{sql} sold"}).json()["data"]
    for reader, form in (("read_parquet", "parquet"), ("read_csv", "csv")):
        where = address(server, f"tables/sold?format={form}")
        found = outside.execute(f"{sql} {reader}('{where}')").fetchall()
        assert [[row[0], row[1], float(row[2]), row[3]] for row in found] == [
            [row[0], row[1], float(row[2]), row[3]] for row in there
        ], form


def test_a_name_with_a_space_and_a_statement(
    server: Server, outside: duckdb.DuckDBPyConnection
) -> None:
    named = address(server, "tables/%22a%20b%22?format=parquet")
    assert outside.execute(f"FROM read_parquet('{named}')").fetchall() == [(42,)]
    asked = address(server, f"query?format=csv&query={quote('SELECT 6 * 7 AS answer')}")
    assert outside.execute(f"FROM read_csv('{asked}')").fetchall() == [(42,)]


def test_without_the_secret_nothing_comes(server: Server, tmp_path: Path) -> None:
    connection = duckdb.connect(str(tmp_path / "mine.db"))
    connection.execute(f"LOAD '{HTTPFS}'")
    where = address(server, "tables/sold?format=parquet")
    with pytest.raises(duckdb.HTTPException):
        connection.execute(f"FROM read_parquet('{where}')")
    connection.close()
