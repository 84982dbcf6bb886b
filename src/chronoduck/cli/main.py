"""The ``chronoduck`` command."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from chronoduck import __version__
from chronoduck.cli.output import print_error
from chronoduck.cli.parameters import read_lightly
from chronoduck.cli.suggestions import SuggestingGroup
from chronoduck.environment_file import OPTION
from chronoduck.errors import DuckDBException
from chronoduck.errors.system import reason_of

__all__ = ["build_app", "run"]

_EPILOG = (
    "Exit codes: 0 done, 64 wrong usage, 65 bad data or statement, 66 not found, 69 service or "
    "database unavailable, 70 internal error, 73 output exists, 74 I/O error, 75 try again later, "
    "77 not permitted, 78 wrong settings."
)


class LocalFileError(DuckDBException):
    """A file of the caller's own, such as the one for the result, cannot be read or written."""

    code = "local_file"
    title = "File error"
    exit_code = 74

    @classmethod
    def of(cls, error: OSError) -> LocalFileError:
        """Name the file and what the system says of it."""
        reason = reason_of(error, shows_text=True)
        return cls(
            f"{error.filename}: {reason}"
            if error.filename
            else f"reading or writing failed: {reason}",
            hint="Check the path, its permissions and the space on its disk.",
        )


# In the order of the help; a command's module and function, or the module of a group of commands.
_COMMANDS = {
    "serve": ("serve", "serve"),
    "demo": ("demo", "demo"),
    "load": ("load", "load"),
    "query": ("query", "query"),
    "status": ("status", "status"),
    "top": ("top", "top"),
    "kill": ("top", "kill"),
    "usage": ("usage", "usage"),
    "doctor": ("doctor", "doctor"),
    "install": ("install", "install"),
    "help": ("help", "show_help"),
    "runbook": ("runbook", "runbook"),
    "capacity": ("capacity", "capacity"),
    "restore": ("restore", "restore"),
    "recover": ("restore", "recover"),
    "compact": ("compact", "compact"),
    "verify": ("verify", "verify"),
    "drill": ("drill", "drill"),
}
_GROUPS = (
    *("keys", "replication", "backup", "sync", "export", "templates", "audit", "breaker"),
    *("maintenance", "penalties", "captures"),
)


def build_app(name: str = "") -> typer.Typer:
    """Return the command line: of the one command of that name, or of all if there is none.

    Each command imports what it needs; all of them together need more than a second of CPU time.
    """
    app = typer.Typer(
        name="chronoduck",
        cls=SuggestingGroup,
        help="Run a DuckDB file as a service, and use it.",
        epilog=_EPILOG,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
    )
    app.callback()(_main)
    is_known = name in _COMMANDS or name in _GROUPS or name == "--version"
    for command, (module, function) in _COMMANDS.items():
        if command == name or not is_known:
            app.command(command)(getattr(_module(module), function))
    for group in _GROUPS:
        if group == name or not is_known:
            app.add_typer(_module(group).app, name=group)
    return app


def _module(name: str) -> Any:
    return importlib.import_module(f"chronoduck.cli.{name}")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"chronoduck {__version__}")
        raise typer.Exit


def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show it.")
    ] = False,
    env_file: Annotated[
        Path | None,
        typer.Option(
            OPTION,
            help="Settings, as a file that systemd reads. They replace those of the environment.",
        ),
    ] = None,
) -> None:
    """Show both options; the file was read before this module was imported."""


def run() -> None:
    """Run the command of this process's arguments and exit with its code."""
    try:
        command = typer.main.get_command(build_app(sys.argv[1] if len(sys.argv) > 1 else ""))
        read_lightly(command)
        command()
    except DuckDBException as error:
        print_error(error, "--json" in sys.argv)
        sys.exit(error.exit_code)
    except SystemExit as end:
        # The command-line library ends with 2 after wrong usage; sysexits.h has a code for that.
        sys.exit(64 if end.code == 2 else end.code)
    except OSError as error:
        print_error(LocalFileError.of(error), "--json" in sys.argv)
        sys.exit(LocalFileError.exit_code)
