"""One PostgreSQL for all tests here, a database of its own for each."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from chronoduck.assembly import DuckDBService
from chronoduck.settings import Settings
from tests.postgres import PostgresServer, SourceDatabase, postgres_or_skip
from tests.sync.running import SOURCE, MakeService

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """The server."""
    with postgres_or_skip() as server:
        yield server


@pytest.fixture
def source(postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> SourceDatabase:
    """A new database; its connection string is in the environment."""
    made = postgres.create_database(f"platform{next(_numbers)}")
    monkeypatch.setenv("TEST_PLATFORM_DSN", made.dsn)
    return made


@pytest.fixture
def make_service(make_settings: Callable[..., Settings], tmp_path: Path) -> MakeService:
    """Return what opens a service with syncs: the file's text, without its source."""

    @asynccontextmanager
    async def make(text: str, source: str = SOURCE) -> AsyncIterator[DuckDBService]:
        file = tmp_path / "sync.toml"
        file.write_text(source + text)
        async with DuckDBService(make_settings(sync_file=file)) as service:
            yield service

    return make
