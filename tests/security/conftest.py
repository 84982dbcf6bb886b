"""A stage with traps, and a service on it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from chronoduck.assembly import DuckDBService
from chronoduck.settings import Settings
from tests.security.stage import Stage, stage_in


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with stage_in(tmp_path) as opened:
        yield opened


@pytest.fixture
async def service(
    stage: Stage, make_settings: Callable[..., Settings]
) -> AsyncIterator[DuckDBService]:
    async with DuckDBService(make_settings(database_path=stage.database)) as opened:
        yield opened
