"""``chronoduck compact``: give back the space that deleted rows left in the file."""

from __future__ import annotations

from chronoduck.cli.jobs import follow_job
from chronoduck.cli.output import console, print_json
from chronoduck.cli.progress import progress_bar
from chronoduck.cli.target import (
    DatabaseOption,
    JsonOption,
    TokenFileOption,
    UrlOption,
    require_service,
)
from chronoduck.units import format_bytes, format_seconds

__all__ = ["compact"]


def compact(
    database: DatabaseOption = None,
    url: UrlOption = None,
    token_file: TokenFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the database into a new file while the service runs; writers wait until it is in place."""
    service = require_service(database, url, token_file)
    with progress_bar() as show:
        facts = follow_job(service, service.call("POST", "/compact"), show)
    if as_json:
        print_json(facts)
        return
    console.print(
        f"{format_bytes(facts['bytes_before'])} before, {format_bytes(facts['bytes_after'])} now; "
        f"writers waited {format_seconds(facts['writers_waited_seconds'])}"
    )
