"""``chronoduck keys``: issue, list and revoke API keys."""

from __future__ import annotations

import re
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer
from rich.markup import escape

from chronoduck.auth.keys import KeyWish, check_wish
from chronoduck.cli.output import console, errors, plain, print_json, print_table
from chronoduck.cli.place import database_place, token_place
from chronoduck.cli.remote import RemoteService
from chronoduck.cli.target import (
    DatabaseOption,
    JsonOption,
    Target,
    TokenFileOption,
    UrlOption,
    find_target,
    settings_for,
)
from chronoduck.errors import DatabaseLockedError, InvalidRequestError
from chronoduck.principals import Claims, Limits, Role, TableGrant, claims_of
from chronoduck.units import parse_bytes, parse_seconds

if TYPE_CHECKING:
    from chronoduck.auth.key_file import KeyFile

__all__ = ["app", "parse_table"]

app = typer.Typer(help="Issue, list and revoke API keys.", no_args_is_help=True)

_PART = r'(?:"(?:[^"]|"")+"|[^".=]+)'
_TABLE = re.compile(rf"(?:({_PART})\.)?({_PART})")
_FILTER = re.compile(rf"((?:{_PART}\.)?{_PART})=(.+)", re.DOTALL)


@app.command("create")
def create(
    name: Annotated[str, typer.Option(help="What the key is called in lists and logs.")],
    role: Annotated[Role, typer.Option(help="What it may do.")],
    expires: Annotated[
        str | None, typer.Option(help="For how long it is valid: 12h, 30d; default: for ever.")
    ] = None,
    table: Annotated[
        list[str] | None, typer.Option(help="See only this table; may be given again.")
    ] = None,
    schema: Annotated[
        list[str] | None, typer.Option(help="See every table of this schema; may be given again.")
    ] = None,
    row_filter: Annotated[
        list[str] | None,
        typer.Option("--filter", help="table=condition: see only such rows of a --table."),
    ] = None,
    claim: Annotated[
        list[str] | None,
        typer.Option(help="name=text: what a --filter names as $claim.name; may be given again."),
    ] = None,
    write: Annotated[
        list[str] | None,
        typer.Option(
            help="Of a writer: write only this schema (anna) or table (main.notes); may be given again."
        ),
    ] = None,
    requests_per_minute: Annotated[int | None, typer.Option(min=1)] = None,
    concurrent: Annotated[int | None, typer.Option(min=1, help="Statements at a time.")] = None,
    engine_seconds_per_hour: Annotated[float | None, typer.Option(min=0)] = None,
    max_rows: Annotated[int | None, typer.Option(min=1, help="Rows of one result.")] = None,
    max_result_bytes: Annotated[str | None, typer.Option(help="Bytes of one result: 50MB.")] = None,
    timeout: Annotated[
        str | None, typer.Option(help="The longest deadline of a statement: 30s.")
    ] = None,
    max_scan_rows: Annotated[
        int | None, typer.Option(min=1, help="Rows that a plan may expect to read.")
    ] = None,
    database: DatabaseOption = None,
    url: UrlOption = None,
    token_file: TokenFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Issue a key and print it, once: only its hash is kept."""
    wish = KeyWish(
        name=name,
        role=role,
        lifetime_seconds=_parsed(parse_seconds, expires, "--expires"),
        tables=_grants(table or [], row_filter or []),
        schemas=tuple(_unquoted(each) for each in schema or []),
        limits=Limits(
            requests_per_minute=requests_per_minute,
            concurrent_statements=concurrent,
            engine_seconds_per_hour=engine_seconds_per_hour,
            max_rows=max_rows,
            max_result_bytes=_parsed(parse_bytes, max_result_bytes, "--max-result-bytes"),
            statement_timeout=_parsed(parse_seconds, timeout, "--timeout"),
            max_scan_rows=max_scan_rows,
        ),
        write=tuple(write) if write else None,
        claims=_claims(claim or []),
    )
    store = _store(database, url, token_file)
    if isinstance(store, RemoteService):
        facts = store.call("POST", "/keys", json=_body(wish))
    else:
        facts = _add(store, wish, settings_for(database).database_path)
    if as_json:
        print_json(facts)
        return
    until = f", valid until {facts['expires_at']}" if facts["expires_at"] else ""
    errors.print(
        f"[dim]The key {plain(facts['name'])} ({facts['role']}{until}); it is shown only now:[/]"
    )
    console.print(facts["key"], soft_wrap=True)


def _add(store: KeyFile, wish: KeyWish, database: Path) -> dict[str, Any]:
    """Issue a key while no service runs, and return its facts."""
    from chronoduck.engine.scopes.unserved import check_unserved  # noqa: PLC0415 - opens the file
    from chronoduck.storage.durable_write import make_directories  # noqa: PLC0415

    check_wish(wish, database)
    if wish.tables or wish.schemas:
        check_unserved(database, wish.scope)
    make_directories(store.path.parent)
    now = time.time()
    key, token = store.add(wish, now)
    if not database.exists():
        # Somebody who forgot --database would wonder why the service does not know the key.
        errors.print(
            f"[dim]There is no database {escape(str(database))} yet: only a service that is "
            "started with it knows this key.[/]"
        )
    return {"key": token, **key.describe(now)}


@app.command("list")
def list_keys(
    database: DatabaseOption = None,
    url: UrlOption = None,
    token_file: TokenFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the keys, oldest first; when each was last used is known to a running service alone."""
    store = _store(database, url, token_file)
    if isinstance(store, RemoteService):
        keys = store.call("GET", "/keys")["keys"]
    else:
        now = time.time()
        keys = [key.describe(now) for key in store.read()]
    if as_json:
        print_json(keys)
        return
    if not keys:
        console.print("there is no key yet: chronoduck keys create makes one")
        return
    print_table(
        ("id", "name", "role", "state", "expires", "last used", "sees", "writes", "limits"),
        [
            (
                *(key[part] for part in ("id", "name", "role", "state")),
                _short(key["expires_at"]),
                _short(key["last_used_at"]),
                _sight(key),
                _reach(key),
                ", ".join(f"{name} {value:,}" for name, value in key["limits"].items()),
            )
            for key in keys
        ],
        whole=("id",),
    )


@app.command("revoke")
def revoke(
    key: Annotated[str, typer.Argument(help="The key's id or name, not the key itself.")],
    database: DatabaseOption = None,
    url: UrlOption = None,
    token_file: TokenFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Revoke a key; a running service refuses it from the next request on."""
    store = _store(database, url, token_file)
    if isinstance(store, RemoteService):
        facts = store.call("DELETE", f"/keys/{quote(key, safe='')}")
    else:
        facts = store.remove(key).describe(time.time())
    if as_json:
        print_json(facts)
    else:
        console.print(f"The key {plain(facts['name'])} ({facts['id']}) is revoked.")


@app.command("rotate-admin")
def rotate_admin(database: DatabaseOption = None, as_json: JsonOption = False) -> None:
    """Put a new admin token into its file; the old one is refused from the next request on."""
    from chronoduck.auth.admin_token import rotate_admin_token  # noqa: PLC0415 - of no other command

    path = token_place(database_place(database))
    rotate_admin_token(path)
    if as_json:
        print_json({"token_file": str(path)})
    else:
        console.print(
            f"{escape(str(path))} has a new admin token; the old one is refused from now on."
        )


def _store(
    database: Path | None, url: str | None, token_file: Path | None
) -> RemoteService | KeyFile:
    """Return the running service, or the file: a process that serves nothing notices its change."""
    try:
        target = find_target(database, url, token_file)
    except DatabaseLockedError:
        target = Target(None, database)
    if target.service is not None:
        return target.service
    from chronoduck.auth.key_file import KeyFile  # noqa: PLC0415 - a service needs none of it

    return KeyFile(target.settings.keys_path)


def _body(wish: KeyWish) -> dict[str, Any]:
    return {
        "name": wish.name,
        "role": wish.role,
        "expires_in_seconds": wish.lifetime_seconds,
        "tables": [
            {"name": grant.name, "schema": grant.schema, "filter": grant.row_filter}
            for grant in wish.tables
        ],
        "schemas": wish.schemas,
        "claims": {path[0]: value for path, value in wish.claims},
        "write": wish.write,
        "limits": asdict(wish.limits),
    }


def _parsed(parse: Any, text: str | None, option: str) -> Any:
    try:
        return None if text is None else parse(text)
    except ValueError as error:
        raise InvalidRequestError(f"{option}: {error}") from None


def parse_table(text: str) -> tuple[str, str]:
    """Return schema and name of ``name``, ``schema.name`` or either part in double quotes.

    Raises:
        InvalidRequestError: it is neither.
    """
    match = _TABLE.fullmatch(text.strip())
    if match is None:
        raise InvalidRequestError(
            f"{text!r} is not the name of a table", hint='Write it as name, schema.name or "a b".c.'
        )
    return _unquoted(match[1] or "main"), _unquoted(match[2])


def _unquoted(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') and name.endswith('"') else name


def _grants(tables: list[str], filters: list[str]) -> tuple[TableGrant, ...]:
    conditions: dict[tuple[str, str], str] = {}
    for text in filters:
        match = _FILTER.fullmatch(text)
        if match is None:
            raise InvalidRequestError(f"--filter {text!r} is not of the form table=condition")
        where = parse_table(match[1])
        if where in conditions:
            raise InvalidRequestError(
                f"--filter: {match[1]} has two", hint="Join the conditions by AND."
            )
        conditions[where] = match[2].strip()
    grants = []
    for text in tables:
        schema, name = parse_table(text)
        grants.append(TableGrant(name, schema, conditions.pop((schema, name), None)))
    if conditions:
        schema, name = next(iter(conditions))
        raise InvalidRequestError(
            f"--filter names {schema}.{name}, which is not granted",
            hint=f"Add --table {schema}.{name}.",
        )
    return tuple(grants)


def _claims(texts: list[str]) -> Claims:
    """Return the claims; a number stays a text, which DuckDB compares with a number's column."""
    for text in texts:
        if not text.partition("=")[0].strip() or "=" not in text:
            raise InvalidRequestError(f"--claim {text!r} is not of the form name=text")
    pairs = [text.split("=", 1) for text in texts]
    if len({name for name, _ in pairs}) != len(pairs):
        raise InvalidRequestError("--claim: one name is given twice")
    return claims_of({name.strip(): value for name, value in pairs})


def _short(moment: str | None) -> str | None:
    return None if moment is None else moment[:16].replace("T", " ")


def _reach(key: dict[str, Any]) -> str:
    """Return what a key writes, for a list."""
    if key["role"] not in (Role.WRITER, Role.ADMIN):
        return "nothing"
    grants = key.get("write")
    return "everything" if grants is None else ", ".join(grants)


def _sight(key: dict[str, Any]) -> str:
    """Return what a key sees, for a list."""
    tables = [
        f"{each['schema']}.{each['name']}" + (" (filtered)" if each["filter"] else "")
        for each in key["tables"]
    ]
    return ", ".join([*(f"{schema}.*" for schema in key["schemas"]), *tables]) or "everything"
