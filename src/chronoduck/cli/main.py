"""The ``chronoduck`` command."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from chronoduck import __version__
from chronoduck.cli import (
    audit,
    backup,
    breaker,
    capacity,
    compact,
    demo,
    doctor,
    drill,
    export,
    keys,
    load,
    maintenance,
    query,
    replication,
    restore,
    runbook,
    serve,
    status,
    sync,
    templates,
    top,
    usage,
    verify,
)
from chronoduck.cli.output import print_error
from chronoduck.cli.suggestions import SuggestingGroup
from chronoduck.errors import DuckDBException

__all__ = ["app", "run"]

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
        return cls(
            f"{error.filename or 'a file'}: {error.strerror or error}",
            hint="Check the path, its permissions and the space on its disk.",
        )


app = typer.Typer(
    name="chronoduck",
    cls=SuggestingGroup,
    help="Run a DuckDB file as a service, and use it.",
    epilog=_EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.command("serve")(serve.serve)
app.command("demo")(demo.demo)
app.command("load")(load.load)
app.command("query")(query.query)
app.command("status")(status.status)
app.command("top")(top.top)
app.command("kill")(top.kill)
app.command("usage")(usage.usage)
app.command("doctor")(doctor.doctor)
app.command("runbook")(runbook.runbook)
app.command("capacity")(capacity.capacity)
app.command("restore")(restore.restore)
app.command("recover")(restore.recover)
app.command("compact")(compact.compact)
app.command("verify")(verify.verify)
app.command("drill")(drill.drill)
app.add_typer(keys.app, name="keys")
app.add_typer(replication.app, name="replication")
app.add_typer(backup.app, name="backup")
app.add_typer(sync.app, name="sync")
app.add_typer(export.app, name="export")
app.add_typer(templates.app, name="templates")
app.add_typer(audit.app, name="audit")
app.add_typer(breaker.app, name="breaker")
app.add_typer(maintenance.app, name="maintenance")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"chronoduck {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show it.")
    ] = False,
) -> None:
    pass


def run() -> None:
    """Run the command of this process's arguments and exit with its code."""
    try:
        app()
    except DuckDBException as error:
        print_error(error, "--json" in sys.argv)
        sys.exit(error.exit_code)
    except SystemExit as end:
        # The command-line library ends with 2 after wrong usage; sysexits.h has a code for that.
        sys.exit(64 if end.code == 2 else end.code)
    except OSError as error:
        print_error(LocalFileError.of(error), "--json" in sys.argv)
        sys.exit(LocalFileError.exit_code)
