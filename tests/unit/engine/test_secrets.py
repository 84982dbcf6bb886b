"""AWS keys become a secret of the engine: statements use it, and nobody reads or changes it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import duckdb
import pytest

from chronoduck.assembly import DuckDBService
from chronoduck.errors import DuckDBQueryError, StatementRefusedError
from chronoduck.settings import Settings

KEYS = {
    "AWS_ACCESS_KEY_ID": "AKIAEXAMPLEKEY",
    "AWS_SECRET_ACCESS_KEY": "a-very-secret-key",
    "AWS_SESSION_TOKEN": "a-session-token",
}
HIDDEN = ("a-very-secret-key", "a-session-token")

pytestmark = pytest.mark.skipif(
    not duckdb.__version__.startswith("1."), reason="httpfs is pinned for DuckDB 1.5"
)


@pytest.fixture
async def service(
    make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[DuckDBService]:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    async with DuckDBService(make_settings(enable_s3=True)) as opened:
        yield opened


async def test_no_statement_reads_the_keys(service: DuckDBService) -> None:
    listed = await service.execute_query("SELECT name, secret_string FROM duckdb_secrets()")
    assert [name for name, _ in listed.data] == ["aws"]
    settings = await service.execute_query("SELECT name, value FROM duckdb_settings()")
    assert ("s3_secret_access_key", "") in settings.data
    for text in (str(listed.data), str(settings.data)):
        assert not any(hidden in text for hidden in HIDDEN)


@pytest.mark.parametrize(
    "sql",
    [
        "FROM duckdb_secrets(redact=false)",
        "RESET GLOBAL s3_secret_access_key",  # its default is what the environment held
        "SET s3_secret_access_key = DEFAULT",
        "SELECT getenv('AWS_SECRET_ACCESS_KEY')",
        "SELECT content FROM read_text('/proc/self/environ')",
    ],
)
async def test_ways_to_the_keys_are_closed(service: DuckDBService, sql: str) -> None:
    with pytest.raises((DuckDBQueryError, StatementRefusedError)) as caught:
        await service.execute_query(sql)
    assert not any(hidden in str(caught.value) for hidden in HIDDEN)
    value = await service.execute_query("SELECT current_setting('s3_secret_access_key')")
    assert value.data == [("",)]


@pytest.mark.parametrize(
    "sql",
    [
        "DROP SECRET aws",
        "drop /* nested /* comment */ ü */ persistent secret aws",
        "CREATE SECRET mine (TYPE s3)",
        "CREATE -- a comment\n OR REPLACE TEMPORARY SECRET aws (TYPE s3, ENDPOINT 'localhost')",
    ],
)
async def test_nobody_changes_the_secret(service: DuckDBService, sql: str) -> None:
    with pytest.raises(StatementRefusedError, match="secrets belong to the service"):
        await service.execute_query(sql)
    names = await service.execute_query("SELECT name FROM duckdb_secrets()")
    assert names.data == [("aws",)]


async def test_a_table_may_be_called_secret(service: DuckDBService) -> None:
    await service.execute_query("CREATE TABLE secret AS SELECT 'secret' AS secret")
    assert (await service.execute_query("FROM secret")).data == [("secret",)]


async def test_a_bucket_out_of_reach_is_the_statements_error(service: DuckDBService) -> None:
    """Nothing listens there; the engine says 'IO Error' as it does of its own file."""
    address = "s3://bucket/x.parquet?s3_endpoint=127.0.0.1:9&s3_use_ssl=false&s3_url_style=path"
    for _ in range(6):
        with pytest.raises(DuckDBQueryError) as caught:
            await service.execute_query(f"SELECT * FROM read_parquet('{address}')")
    assert "network" in str(caught.value.hint)
    assert (await service.execute_query("SELECT 1")).data == [(1,)]  # the breaker is closed
