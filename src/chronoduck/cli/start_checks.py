"""The doctor's checks of the database: would the next start be refused, and why?"""

from __future__ import annotations

from collections.abc import Iterator

from chronoduck.assembly.start_check import check_start
from chronoduck.cli.findings import Check, Severity
from chronoduck.engine.ownership import current_owner
from chronoduck.engine.paths import check_database_file
from chronoduck.errors import DuckDBException
from chronoduck.errors.system import reason_of
from chronoduck.permissions import describe_path
from chronoduck.settings import Settings
from chronoduck.units import format_bytes

__all__ = ["check_database"]


def check_database(settings: Settings) -> Iterator[Check]:
    """Yield how the file is; when no process has it open, also whether a start would be refused."""
    path = settings.database_path
    try:
        check_database_file(path)
    except DuckDBException as error:
        yield _refused("database", error)
        return
    if path.exists():
        size = format_bytes(path.stat().st_size)
        yield Check("database", Severity.OK, f"{describe_path(path)}, {size}")
    if current_owner(path) is None:
        yield from _start(settings)


def _start(settings: Settings) -> Iterator[Check]:
    path = settings.database_path
    try:
        notes = check_start(settings)
    except DuckDBException as error:
        yield _refused("start", error)
        return
    except OSError as error:
        yield Check(
            "start",
            Severity.ERROR,
            f"not checked: {error.filename or path}: {reason_of(error, shows_text=True)}",
            "Run the doctor as the service's user, with space beside the database for a copy of it",
        )
        return
    for note in notes:
        yield Check(
            "start", Severity.WARNING, note, "The service's log tells what the start came to"
        )
    if not path.exists() and not notes:
        yield Check("database", Severity.OK, f"{path} will be made at the first start")
    elif not notes:
        yield Check("start", Severity.OK, "a start would not be refused")


def _refused(name: str, error: DuckDBException) -> Check:
    return Check(name, Severity.ERROR, error.operator_detail, error.hint, error.exit_code)
