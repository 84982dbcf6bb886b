"""``chronoduck install``: the files of a service under systemd, shown or written, and their removal."""

from __future__ import annotations

import os
import sysconfig
from pathlib import Path
from typing import Annotated

import typer

from chronoduck.cli.output import print_text
from chronoduck.cli.result_file import OutputExistsError
from chronoduck.cli.unit_files import SETTINGS, UNIT, Action, UnitFile, plan, unit_files, write
from chronoduck.environment_file import parse_environment
from chronoduck.errors import PermissionDeniedError

__all__ = ["install"]

_HIDDEN_FROM_UNIT = ("/home", "/root", "/run/user")
"""What ``ProtectHome=yes`` of the unit hides."""
_NEXT = (
    "systemd-sysusers /etc/sysusers.d/chronoduck.conf",
    "systemd-tmpfiles --create /etc/tmpfiles.d/chronoduck.conf",
    "systemctl daemon-reload",
    "systemctl enable --now chronoduck",
    ". /etc/chronoduck/shell.sh && chronoduck doctor",
)
_STAYS = {
    "DUCKDB_DATABASE_PATH": ("/var/lib/duckdb/chrono_analytics.db", "the database"),
    "DUCKDB_REPLICA_URL": ("", "the replica"),
    "DUCKDB_BACKUP_DIR": ("", "the backups"),
    "DUCKDB_EXPORT_URL": ("", "the exports"),
    "DUCKDB_LOG_FILE": ("/var/log/chrono-scraper/duckdb.log", "the log"),
}
"""Setting to the unit's value for it, and what lies there."""


def install(
    ctx: typer.Context,
    systemd: Annotated[
        bool, typer.Option("--systemd", help="As a service of systemd; the only kind there is.")
    ] = False,
    is_written: Annotated[
        bool, typer.Option("--write", help="Write the files instead of showing them; as root.")
    ] = False,
    root: Annotated[
        Path, typer.Option("--root", help="Write below this directory, for a package or an image.")
    ] = Path("/"),
    user: Annotated[
        str, typer.Option("--user", help="The service's user; created if it is not there.")
    ] = "chronoduck",
    is_forced: Annotated[
        bool, typer.Option("--force", help="Replace files that differ; the old ones are kept.")
    ] = False,
    is_removed: Annotated[
        bool, typer.Option("--remove", help="Show what to remove, and what stays behind.")
    ] = False,
) -> None:
    """Show or write unit, user, directories and settings of a service under systemd."""
    if not systemd:
        ctx.fail("Say --systemd. Containers and clusters: `chronoduck help install`.")
    if not (user.isascii() and user.replace("-", "_").isidentifier() and user.islower()):
        ctx.fail(f"'{user}' is not the name of a user.")
    if is_removed:
        if is_written:
            ctx.fail("--remove writes nothing.")
        _show_removal(root)
        return
    programs = Path(sysconfig.get_path("scripts"))
    files = unit_files(programs, user)
    if is_written:
        _write(files, root, is_forced)
    else:
        for file in files:
            print_text(f"==> {file.path} (mode {file.mode:04o}) <==")
            typer.echo(file.text)
    _say_what_is_next(programs, is_written)


def _write(files: list[UnitFile], root: Path, is_forced: bool) -> None:
    if root == Path("/") and os.geteuid() != 0:
        raise PermissionDeniedError(
            "only root may write below /etc",
            hint="Run the command as root, or without --write to see the files.",
        )
    planned = plan(files, root, is_forced=is_forced)
    differing = [str(each.file.below(root)) for each in planned if each.action is Action.REFUSE]
    if differing:
        raise OutputExistsError(
            f"{', '.join(differing)} differs from what would be written; nothing was written",
            hint="Keep your changes by `systemctl edit chronoduck`, and give --force: it keeps the old "
            "file as NAME.old.",
        )
    for each in write(planned, root):
        was = f" (the old one: {each.old})" if each.old else ""
        print_text(f"{each.action.value:10} {each.file.below(root)}{was}")


def _say_what_is_next(programs: Path, is_written: bool) -> None:
    if str(programs).startswith(_HIDDEN_FROM_UNIT):
        print_text(
            f"\nThe unit may not read home directories, and chronoduck is in {programs}: install it into "
            "/opt/chronoduck, and call the one there."
        )
    if not is_written:
        print_text("\nNothing was written. As root: chronoduck install --systemd --write")
        return
    print_text(f"\nWhat to do next, as root; settings are in {SETTINGS}:")
    for command in _NEXT:
        print_text(f"  {command}")


def _show_removal(root: Path) -> None:
    there = [
        str(file.path)
        for file in unit_files(Path("/"), "chronoduck")
        if file.path != SETTINGS and file.below(root).exists()
    ]
    if not there:
        print_text(f"There are no files of a service below {root}.")
    else:
        print_text("What removes the service, as root:")
        if str(UNIT) in there:
            print_text("  systemctl disable --now chronoduck")
        print_text(f"  rm {' '.join(there)}")
        print_text("  systemctl daemon-reload")
        print_text(f"  {sysconfig.get_path('scripts')}/pip uninstall chronoduck")
    print_text("\nWhat stays behind, and is yours to delete:")
    settings = root / SETTINGS.relative_to("/")
    given: dict[str, str] = {}
    try:
        given = parse_environment(settings.read_text(encoding="utf-8"))
    except FileNotFoundError:
        pass
    else:
        print_text(f"  {'the settings':13} {SETTINGS}")
    for name, (usual, what) in _STAYS.items():
        if place := given.get(name) or usual:
            print_text(f"  {what:13} {place}")
    print_text(f"  {'the user':13} {_user_of(root)}")


def _user_of(root: Path) -> str:
    """Return the user that the installed unit names."""
    try:
        unit = parse_environment((root / UNIT.relative_to("/")).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return "chronoduck"
    return unit.get("User", "chronoduck")
