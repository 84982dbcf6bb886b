"""``chronoduck backup``: make, list and verify plain backups."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from chronoduck.backup.records import Backup
from chronoduck.backup.shelf import Shelf
from chronoduck.backup.take import take_backup
from chronoduck.backup.verification import verify_backup
from chronoduck.cli.auditing import record_locally
from chronoduck.cli.jobs import follow_job
from chronoduck.cli.output import console, plain, print_json, print_table
from chronoduck.cli.progress import progress_bar
from chronoduck.cli.target import DatabaseOption, JsonOption, find_target, settings_for
from chronoduck.errors import SettingsError
from chronoduck.settings import Settings
from chronoduck.units import format_bytes, format_seconds

__all__ = ["app"]

app = typer.Typer(help="Make, list and verify plain backups.", no_args_is_help=True)


@app.command("create")
def create(
    tables: Annotated[
        str, typer.Option(help="Only these tables, separated by commas, as Parquet files.")
    ] = "",
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Back the database up into DUCKDB_BACKUP_DIR; a service that runs goes on meanwhile."""
    names = [name.strip() for name in tables.split(",") if name.strip()]
    target = find_target(database, None, None)
    with progress_bar() as show:
        if target.service is not None:
            facts = follow_job(
                target.service,
                target.service.call("POST", "/backups", json={"tables": names}),
                show,
            )
        else:
            record_locally(target.own_settings, "backup_started", tables=names or None)
            facts = take_backup(target.settings, names, show).as_dict()
    if as_json:
        print_json(facts)
        return
    console.print(f"backup {plain(facts['id'])}: {plain(facts['file'])}", soft_wrap=True)
    console.print(
        f"  {facts['rows']:,} rows in {facts['tables']} tables, "
        f"{format_bytes(facts['size_bytes'])}, verified, in {format_seconds(facts['seconds'])}"
    )


@app.command("list")
def list_backups(database: DatabaseOption = None, as_json: JsonOption = False) -> None:
    """Show the backups, oldest first."""
    backups = _shelf(_settings(database)).list()
    if as_json:
        print_json([backup.as_dict() for backup in backups])
        return
    if not backups:
        console.print("there is no backup yet: chronoduck backup create makes one")
        return
    print_table(
        ("id", "file", "size", "rows"),
        [(each.name.id, each.path.name, format_bytes(each.size), _rows(each)) for each in backups],
        numeric=(False, False, True, True),
        whole=("id",),
    )


@app.command("verify")
def verify(
    backup: Annotated[str, typer.Argument(help="A backup's id, latest, or a file.")] = "latest",
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Restore a backup into a scratch directory, read every column and compare it with its manifest."""
    settings = _settings(database)
    path = Path(backup) if Path(backup).exists() else _shelf(settings).find(backup).path
    with progress_bar() as show:
        inspection = verify_backup(
            path, settings.backup, Path(tempfile.gettempdir()), on_progress=show
        )
    if as_json:
        print_json({"file": path, "tables": len(inspection.tables), "rows": inspection.rows})
    else:
        console.print(
            f"{path.name} is whole: {inspection.rows:,} rows in {len(inspection.tables)} tables"
        )


def _settings(database: Path | None) -> Settings:
    return settings_for(database)


def _shelf(settings: Settings) -> Shelf:
    shelf = Shelf.of(settings)
    if shelf is None:
        raise SettingsError("there is no backup directory", hint="Set DUCKDB_BACKUP_DIR.")
    return shelf


def _rows(backup: Backup) -> int | None:
    return None if backup.manifest is None else sum(t.rows for t in backup.manifest.tables)
