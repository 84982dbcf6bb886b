"""``chronoduck demo``: real captures in a database, served, with commands to try."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from chronoduck.assembly import DuckDBService
from chronoduck.cli.load import load_file
from chronoduck.cli.output import console, plain
from chronoduck.cli.serve import UMASK, PortInUseError, run_loop, serve_until_stopped, take_over
from chronoduck.cli.succession import Succession
from chronoduck.engine.ownership import Owner, current_owner
from chronoduck.errors import NotFoundError
from chronoduck.logs import configure_logging
from chronoduck.settings import (
    BackupSettings,
    ExportSettings,
    ReplicaSettings,
    Settings,
    load_settings,
)

__all__ = ["demo"]

_SAMPLES = Path(__file__).parents[1] / "samples"
"""In the repository a link to ``examples/data``; the wheel has the files of one source."""
_PATTERNS = ("*.cdx", "*.cdx.gz", "*.cdxj", "*.cdxj.gz", "*.json", "*.json.gz", "*.jsonl")


def demo(
    data: Annotated[
        Path | None, typer.Option(help="A directory of captures; default: those of the package.")
    ] = None,
    directory: Annotated[Path, typer.Option(help="Where the database is made.")] = Path("var"),
    port: Annotated[int, typer.Option(help="The port to serve on.")] = 8000,
) -> None:
    """Load the sample captures once, serve them, and print what to try."""
    link, handover = take_over()
    settings = load_settings(
        database_path=directory / "chrono_analytics.db",
        temp_directory=directory / "tmp",
        log_file=directory / "chronoduck.log",
        port=port,
        replica=ReplicaSettings(url=str(directory.absolute() / "replica")),
        backup=BackupSettings(dir=directory / "backups"),
        export=ExportSettings(url=str(directory / "exports")),
    )
    owner = current_owner(settings.database_path)
    if owner is not None and owner.url is not None:
        console.print(f"The demo is running already, as process {owner.pid}.")
        _print_tour(settings, owner)
        return
    source = _SAMPLES if data is None else data
    files = sorted({file for pattern in _PATTERNS for file in source.glob(pattern)})
    if not files:
        raise NotFoundError(
            f"there are no captures in {source.absolute()}",
            hint=f"Name a directory that has some: *.cdx, *.cdxj or *.json; without --data the demo "
            f"takes {_SAMPLES}.",
        )
    os.umask(UMASK)
    configure_logging(settings)
    try:
        run_loop(_load_and_serve(settings, files, Succession(link, handover)))
    except PortInUseError as error:
        error.hint = (
            f"Stop the process that has it (ss -ltnp 'sport = :{port}'), "
            f"or choose another port: chronoduck demo --port {port + 1}, make demo PORT={port + 1}"
        )
        raise


async def _load_and_serve(settings: Settings, files: list[Path], succession: Succession) -> None:
    def on_ready(url: str) -> None:
        if succession.handover.listener is not None:
            return  # it was printed when the first server began
        _print_tour(settings, Owner(os.getpid(), url))
        console.print("\nCtrl-C stops it; the data stays in " + str(settings.database_path.parent))

    async def prepare(service: DuckDBService) -> None:
        loaded = await _loaded_sources(service)
        for file in files:
            if file.name not in loaded:
                await load_file((await service.parts()).loader, file, table="pages_analytics")

    await serve_until_stopped(settings, succession, on_ready, prepare)


async def _loaded_sources(service: DuckDBService) -> set[str]:
    exists = await service.execute_query(
        "SELECT count(*) FROM duckdb_tables() WHERE table_name = 'pages_analytics'"
    )
    if not exists.data[0][0]:
        return set()
    rows = (await service.execute_query("SELECT DISTINCT source FROM pages_analytics")).data
    return {str(row[0]) for row in rows}


def _print_tour(settings: Settings, owner: Owner) -> None:
    token = _relative(settings.token_path)
    api = f"{owner.url}/api/v1/duckdb"
    header = f'-H "Authorization: Bearer $(cat {token})"'
    by_status = "SELECT status_code, count(*) AS captures FROM pages_analytics GROUP BY ALL"
    by_domain = (
        "SELECT domain, min(captured_at) AS first, max(captured_at) AS last, count(*) AS captures "
        "FROM pages GROUP BY domain ORDER BY captures DESC LIMIT 5"
    )
    program = _relative(Path(sys.executable).with_name("chronoduck"))
    commands = [
        f"curl -s {header} '{api}/templates/page-stats?limit=5'",
        f'curl -s {header} {api}/query -d \'{{"query": "{by_status}"}}\'',
        f'{program} query --database {_relative(settings.database_path)} "{by_domain}"',
    ]
    console.print(f"\n[bold]Docs and API[/]   {owner.url}/docs/api/duckdb")
    console.print(f"[bold]Admin token[/]    in the file {plain(token)}")
    console.print("\n[bold]Try, in another terminal:[/]\n")
    for command in commands:
        console.print(f"  {command}\n", soft_wrap=True, markup=False)


def _relative(path: Path) -> Path:
    """Return the path as it is pasted from here, short where it can be."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
