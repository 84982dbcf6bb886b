"""``chronoduck drill``: try the restore before it is needed."""

from __future__ import annotations

from chronoduck.cli.jobs import follow_job
from chronoduck.cli.output import console, print_json
from chronoduck.cli.progress import progress_bar
from chronoduck.cli.target import DatabaseOption, JsonOption, find_target
from chronoduck.tasks.work import TASKS
from chronoduck.units import format_bytes, format_count, format_seconds

__all__ = ["drill"]


def drill(database: DatabaseOption = None, as_json: JsonOption = False) -> None:
    """Restore the replica's newest point elsewhere, read every column, time it and note it for health."""
    target = find_target(database, None, None)
    with progress_bar() as show:
        if target.service is not None:
            job = target.service.call("POST", "/replication/drill")
            facts = follow_job(target.service, job, show)
        else:
            facts = TASKS["drill"](target.settings, show)
    if as_json:
        print_json(facts)
        return
    console.print(
        f"restored {format_bytes(facts['bytes'])} as of {facts['time']} "
        f"in {format_seconds(facts['seconds'])}"
    )
    console.print(
        f"  verified: {facts['rows']:,} rows in {facts['tables']} tables, "
        f"{format_count(facts['transactions'], 'transaction')}"
    )
