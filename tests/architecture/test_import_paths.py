"""The import paths that clients use."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]


def test_the_guides_import_works_from_the_repository_root(tmp_path: Path) -> None:
    code = (
        "import asyncio; from app.services.duckdb_service import get_duckdb_service\n"
        "async def main():\n"
        "    service = await get_duckdb_service()\n"
        "    print((await service.execute_query('SELECT 42')).data)\n"
        "    await service.shutdown()\n"
        "asyncio.run(main())"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        cwd=REPOSITORY,
        env={
            "PATH": "/usr/bin:/bin",
            "DUCKDB_DATABASE_PATH": str(tmp_path / "x.db"),
            "DUCKDB_TEMP_DIRECTORY": str(tmp_path / "temp"),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "[(42,)]\n", done.stderr


def test_the_platforms_names_are_there_and_its_errors_are_the_packages() -> None:
    from app.services import duckdb_service as paths
    from app.services.duckdb_skin.home import HomeService
    from chronoduck import DuckDBException, DuckDBService

    assert paths.DuckDBException is DuckDBException
    assert issubclass(HomeService, DuckDBService)
    assert all(hasattr(paths, name) for name in paths.__all__)
    assert paths.__all__ == sorted(paths.__all__)
