"""One Meilisearch for all tests here, an index of its own for each."""

from __future__ import annotations

import itertools
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from chronoduck.assembly import DuckDBService
from chronoduck.settings import Settings
from tests.export.running import MakeService
from tests.meilisearch import KEY, Meilisearch

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def shared_search(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Meilisearch]:
    """The server."""
    with Meilisearch(tmp_path_factory.mktemp("meilisearch")) as server:
        yield server


@pytest.fixture
def search(shared_search: Meilisearch, monkeypatch: pytest.MonkeyPatch) -> Meilisearch:
    """The server; its key is in the environment."""
    monkeypatch.setenv("TEST_SEARCH_KEY", KEY)
    return shared_search


@pytest.fixture
def index(search: Meilisearch) -> Iterator[str]:
    """The name of an index that nobody else uses."""
    name = f"items-{os.getpid()}-{next(_numbers)}"
    yield name
    for each in (name, f"{name}_new"):
        if search.count(each) >= 0:
            search.wait(search.client.delete(f"/indexes/{each}"))


@pytest.fixture
def make_service(
    make_settings: Callable[..., Settings], tmp_path: Path, search: Meilisearch, index: str
) -> MakeService:
    """Return what opens a service with exports: the file's text, and more lines of its server."""

    @asynccontextmanager
    async def make(text: str, server: str = "") -> AsyncIterator[DuckDBService]:
        file = tmp_path / "export.toml"
        head = f'[meilisearch.search]\nurl = "{search.url}"\n'
        key = "" if "key_" in server else 'key_env = "TEST_SEARCH_KEY"\n'
        file.write_text(head + key + server + text.replace("INDEX", index))
        settings = make_settings()
        export = settings.export.model_copy(update={"file": file})
        async with DuckDBService(settings.model_copy(update={"export": export})) as service:
            yield service

    return make
