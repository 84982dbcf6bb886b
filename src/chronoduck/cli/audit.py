"""``chronoduck audit``: list, export and verify the audit trail."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from chronoduck.cli.output import console, print_json, print_table
from chronoduck.cli.target import (
    DatabaseOption,
    JsonOption,
    Target,
    TokenFileOption,
    UrlOption,
    require_service,
)
from chronoduck.errors import InvalidRequestError, NotFoundError
from chronoduck.monitoring.audit import AuditFilter, AuditPage, AuditReader, moment, verify_chain

__all__ = ["app"]

app = typer.Typer(
    help="Look at who did what: from the files, or with --url from a service.",
    no_args_is_help=True,
)
_PAGE_EVENTS = 1000
_EXIT_BROKEN = 65
_HASH_DIGITS = 64
_OF_ALL_EVENTS = frozenset(
    {"v", "seq", "time", "event", "principal", "name", "role", "sub_user", "address"}
    | {"request_id", "verdict", "code", "rule", "prev"}
)
"""Members that tell who, when and how it ended; the others tell what it was."""
_HEX = frozenset("0123456789abcdef")

SinceOption = Annotated[
    str | None, typer.Option(help="A time, or how long ago: 2026-11-23T10:00:00Z, 1h, 7d.")
]
UntilOption = Annotated[str | None, typer.Option(help="A time, or how long ago.")]
PrincipalOption = Annotated[str | None, typer.Option(help="An id or a name.")]
EventOption = Annotated[str | None, typer.Option(help="statement, authentication_failed, ...")]
VerdictOption = Annotated[str | None, typer.Option(help="ok, refused, error, timeout, ...")]
CodeOption = Annotated[str | None, typer.Option(help="An error's code.")]


@app.command("list")
def list_events(
    since: SinceOption = None,
    until: UntilOption = None,
    principal: PrincipalOption = None,
    event: EventOption = None,
    verdict: VerdictOption = None,
    code: CodeOption = None,
    limit: Annotated[int, typer.Option(min=1, help="The newest so many.")] = 50,
    database: DatabaseOption = None,
    url: UrlOption = None,
    token_file: TokenFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the newest events, newest first."""
    asked = _asked(since, until, principal, event, verdict, code)
    found: list[dict[str, Any]] = []
    cursor = None
    while len(found) < limit:
        wanted = min(limit - len(found), _PAGE_EVENTS)
        if url is None:
            page = _reader(database).page(_filter(asked), wanted, cursor)
        else:
            query = {**asked, "limit": str(wanted), **({"cursor": cursor} if cursor else {})}
            service = require_service(database, url, token_file)
            page = AuditPage(**service.call("GET", "/audit", params=query))
        found += page.events
        cursor = page.next_cursor
        if cursor is None:
            break
    if as_json:
        print_json(found)
    else:
        columns = ("time", "who", "from", "event", "what", "verdict")
        print_table(columns, list(map(_row, found)), whole=("time",))


@app.command("export")
def export(
    since: SinceOption = None,
    until: UntilOption = None,
    principal: PrincipalOption = None,
    event: EventOption = None,
    verdict: VerdictOption = None,
    code: CodeOption = None,
    database: DatabaseOption = None,
    url: UrlOption = None,
    token_file: TokenFileOption = None,
) -> None:
    """Write events to standard output as they are in the file, one JSON object a line, oldest first."""
    asked = _asked(since, until, principal, event, verdict, code)
    for block in _exported(asked, database, url, token_file):
        sys.stdout.buffer.write(block)
    sys.stdout.flush()


@app.command("verify")
def verify(
    head: Annotated[
        str | None,
        typer.Option(
            help="A head noted earlier, which must be in the chain: its hash, or the JSON object "
            "of the statistics."
        ),
    ] = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check that no event was removed or edited; exit code 65 when one was."""
    path = _path(database)
    report = verify_chain(path, None if head is None else _hash_of(head))
    if as_json:
        print_json({"file": path, "is_intact": report.is_intact, **asdict(report)})
    else:
        console.print(
            f"{report.events:,} events, {report.first_seq} to {report.last_seq}, from "
            f"{report.first_time or '-'} to {report.last_time or '-'}"
        )
        console.print(f"head: {report.head}", soft_wrap=True)
        if report.torn_lines or report.dropped_events:
            console.print(
                f"torn by crashes: {report.torn_lines}; dropped by the service, as it says itself: "
                f"{report.dropped_events}"
            )
        for problem in report.problems or ["the chain is whole"]:
            console.print(problem, soft_wrap=True)
    if not report.is_intact:
        raise typer.Exit(_EXIT_BROKEN)


def _hash_of(head: str) -> str:
    """Return the hash in a head, which is that hash or ``{"seq": 7, "hash": "5f0c..."}``."""
    found: Any = head.strip()
    with suppress(orjson.JSONDecodeError):
        found = orjson.loads(found)
    if isinstance(found, dict):
        found = found.get("hash")
    if not isinstance(found, str) or len(found) != _HASH_DIGITS or not _HEX.issuperset(found):
        raise InvalidRequestError(
            f"{head.strip()[:80]!r} is no head of an audit trail",
            hint="Give its 64 hexadecimal digits: curl .../statistics | jq .audit.head.hash",
        )
    return found


def _asked(
    since: str | None,
    until: str | None,
    principal: str | None,
    event: str | None,
    verdict: str | None,
    code: str | None,
) -> dict[str, str]:
    given = {
        "since": since,
        "until": until,
        "principal": principal,
        "event": event,
        "verdict": verdict,
        "code": code,
    }
    return {name: value for name, value in given.items() if value is not None}


def _filter(asked: dict[str, str]) -> AuditFilter:
    rest = {name: value for name, value in asked.items() if name not in ("since", "until")}
    return AuditFilter(moment(asked.get("since")), moment(asked.get("until")), **rest)


def _path(database: Path | None) -> Path:
    path = Target(None, database).own_settings.audit_path
    if not path.exists():
        raise NotFoundError(
            f"there is no audit trail at {path}",
            hint="Name the database by --database, or the trail by DUCKDB_AUDIT_FILE.",
        )
    return path


def _reader(database: Path | None) -> AuditReader:
    return AuditReader(_path(database))


def _exported(
    asked: dict[str, str], database: Path | None, url: str | None, token_file: Path | None
) -> Iterator[bytes]:
    if url is None:
        yield from _reader(database).export(_filter(asked))
        return
    service = require_service(database, url, token_file)
    with service.stream("GET", "/audit", params={**asked, "format": "ndjson"}) as response:
        yield from response.iter_bytes()


def _fact(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value, default=str).decode()


def _row(event: dict[str, Any]) -> tuple[str, ...]:
    if event["event"] == "statement":
        what = f"{event['kind']} {event['query_hash']}, {event['rows']} rows, "
        what += f"{event['duration_ms']:.0f} ms"
    else:
        what = ", ".join(
            f"{name} {_fact(value)}" for name, value in event.items() if name not in _OF_ALL_EVENTS
        )
    # Before the rest, which may be cut; with the verdict the table would not fit into 80 characters.
    what = ", ".join(filter(None, (event.get("code"), event.get("rule"), what)))
    return (
        event["time"].replace("T", " ").partition(".")[0],
        event.get("name", ""),
        event.get("address", ""),
        event["event"],
        what,
        event.get("verdict", ""),
    )
