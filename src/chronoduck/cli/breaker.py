"""``chronoduck breaker``: the circuit breaker of the running service."""

from __future__ import annotations

import typer

from chronoduck.cli.output import console, print_json
from chronoduck.cli.target import (
    DatabaseOption,
    JsonOption,
    TokenFileOption,
    UrlOption,
    require_service,
)

__all__ = ["app"]

app = typer.Typer(help="Look at the circuit breaker, or close it.", no_args_is_help=True)


@app.command("status")
def status(
    database: DatabaseOption = None,
    url: UrlOption = None,
    token_file: TokenFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the state and what led to it."""
    breaker = require_service(database, url, token_file).call("GET", "/health")["circuit_breaker"]
    if as_json:
        print_json(breaker)
        return
    console.print(f"{breaker['state']}: {breaker['recent_failures']} recent failures")
    if breaker["seconds_until_retry"]:
        console.print(f"next trial in {breaker['seconds_until_retry']:.1f} s")


@app.command("reset")
def reset(
    database: DatabaseOption = None,
    url: UrlOption = None,
    token_file: TokenFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Close the circuit breaker, once the cause of the failures is mended."""
    answer = require_service(database, url, token_file).call("POST", "/circuit-breaker/reset")
    if as_json:
        print_json(answer)
    else:
        console.print(answer["message"])
