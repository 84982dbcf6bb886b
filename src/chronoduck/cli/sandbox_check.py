"""The doctor's check of the walls: which stand, and why one does not."""

from __future__ import annotations

from collections.abc import Iterator

from chronoduck.cli.findings import Check, Severity
from chronoduck.cli.target import find_target
from chronoduck.errors import DuckDBException
from chronoduck.monitoring.sandbox import absences_at_rest
from chronoduck.settings import WALLS, Settings

__all__ = ["check_sandbox"]


def check_sandbox(settings: Settings) -> Iterator[Check]:
    """Yield the walls of the running service, else those that a start would find."""
    absences = _of_service(settings) or absences_at_rest(settings)
    standing = [name for name, reason in absences.items() if not reason]
    yield Check(
        "walls", Severity.OK, f"{len(standing)} of {len(WALLS)} walls stand: {', '.join(standing)}"
    )
    for name, reason in absences.items():
        if reason and name in settings.require_sandbox:
            yield Check(
                "wall",
                Severity.ERROR,
                f"{name} is demanded and does not stand: {reason}",
                "Change that, or take it out of DUCKDB_REQUIRE_SANDBOX; see `chronoduck help security`",
            )
        elif reason:
            yield Check("wall", Severity.OK, f"{name} does not stand: {reason}")


def _of_service(settings: Settings) -> dict[str, str]:
    try:
        service = find_target(settings.database_path, None, None).service
        report = {} if service is None else service.call("GET", "/health")
    except DuckDBException:
        return {}  # the check "service" says what is wrong with it
    walls = report.get("sandbox", {}).get("walls", {})
    return {str(name): str(wall["reason"]) for name, wall in walls.items()}
