"""API keys: what one is, how it is issued, and what a narrowed one may be."""

from __future__ import annotations

import hashlib
import secrets
import string
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from chronoduck.errors import InvalidRequestError
from chronoduck.own_schema import OWN_SCHEMA
from chronoduck.principals import Claims, Limits, Principal, Role, Scope, TableGrant, WriteGrants
from chronoduck.table_names import parse_table_name, written_table_name

__all__ = [
    "ApiKey",
    "KeyWish",
    "check_wish",
    "digest_of",
    "issue_key",
    "key_id_of",
    "read_grants",
    "written_grants",
]

_PREFIX = "dak"
_ID_BYTES, _SECRET_BYTES = 6, 32
_HEX = frozenset("0123456789abcdef")
_NAME_BEGINS = frozenset(string.ascii_letters + string.digits)
_NAME_SIGNS = _NAME_BEGINS | frozenset("._@-")
_LONGEST_NAME = 64
_RESERVED = frozenset(
    {"admin", "cli", "export", "ingest", "load", "local", "python", "sync", "unknown"}
)
"""Names that mean somebody else in logs and in the audit trail."""
_MAX_LIFETIME_SECONDS = 10 * 365 * 86_400
_MAX_GRANTS = 1_000
_MAX_IDENTIFIER_CHARACTERS = 255
_MAX_FILTER_CHARACTERS = 4_000
_MAX_CLAIMS = 100
_MAX_CLAIM_CHARACTERS = 20_000
_NOBODYS_SCHEMAS = frozenset({"information_schema", "pg_catalog", "system", "temp", OWN_SCHEMA})


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as it is stored: everything but its secret. Times are Unix times."""

    id: str
    name: str
    role: Role
    digest: str
    """SHA-256 of the whole key in hex; 256 random bits need no slower hash."""
    created_at: float
    expires_at: float | None = None
    scope: Scope | None = None
    limits: Limits = field(default=Limits())
    writes: WriteGrants | None = None

    def is_expired(self, now: float) -> bool:
        """Whether it is no longer valid at that Unix time."""
        return self.expires_at is not None and now >= self.expires_at

    def principal(self) -> Principal:
        """Return whom the key stands for."""
        principal = Principal(self.name, self.role, f"key:{self.id}", self.scope, self.limits)
        return replace(principal, writes=self.writes)

    def describe(self, now: float, last_used_at: float | None = None) -> dict[str, Any]:
        """Return what may be shown of it, with times in ISO 8601."""
        scope = self.scope or Scope()
        return {
            "id": self.id,
            "name": self.name,
            "role": self.role,
            "state": "expired" if self.is_expired(now) else "active",
            "created_at": _iso(self.created_at),
            "expires_at": _iso(self.expires_at),
            "last_used_at": _iso(last_used_at),
            "tables": [
                {"name": grant.name, "schema": grant.schema, "filter": grant.row_filter}
                for grant in scope.tables
            ],
            "schemas": list(scope.schemas),
            "claims": {".".join(path): value for path, value in scope.claims},
            "write": None if self.writes is None else written_grants(self.writes),
            "limits": {k: v for k, v in asdict(self.limits).items() if v is not None},
        }


@dataclass(frozen=True, slots=True)
class KeyWish:
    """What is asked of a new key."""

    name: str
    role: Role
    lifetime_seconds: float | None = None
    tables: tuple[TableGrant, ...] = ()
    schemas: tuple[str, ...] = ()
    limits: Limits = field(default=Limits())
    write: tuple[str, ...] | None = None
    """Schemas, and tables as ``schema.table``; None: all, if the role writes."""
    claims: Claims = ()
    """What the filters of the tables name as ``$claim.name``."""

    @property
    def scope(self) -> Scope:
        """What the key would be narrowed to."""
        return Scope(self.tables, self.schemas, self.claims)


def digest_of(token: str) -> str:
    """Return what is stored of a key and compared."""
    return hashlib.sha256(token.encode()).hexdigest()


def key_id_of(token: str) -> str | None:
    """Return the id in a text that has the form of a key, else None."""
    prefix, _, rest = token.partition("_")
    key_id, _, secret = rest.partition("_")
    is_key = (prefix, len(key_id), len(secret)) == (_PREFIX, 2 * _ID_BYTES, 2 * _SECRET_BYTES)
    return key_id if is_key and _HEX.issuperset(key_id + secret) else None


def issue_key(wish: KeyWish, now: float) -> tuple[ApiKey, str]:
    """Return a new key, and its text, which is kept nowhere.

    Raises:
        InvalidRequestError: the wish cannot be granted.
    """
    _check(wish)
    key_id = secrets.token_hex(_ID_BYTES)
    token = f"{_PREFIX}_{key_id}_{secrets.token_hex(_SECRET_BYTES)}"
    key = ApiKey(
        id=key_id,
        name=wish.name,
        role=wish.role,
        digest=digest_of(token),
        created_at=now,
        expires_at=None if wish.lifetime_seconds is None else now + wish.lifetime_seconds,
        scope=wish.scope if wish.tables or wish.schemas else None,
        limits=wish.limits,
        writes=None if wish.write is None else read_grants(wish.write),
    )
    return key, token


def read_grants(texts: Iterable[str]) -> WriteGrants:
    """Return what ``schema`` and ``schema.table`` name; parts may stand in double quotes.

    Raises:
        InvalidRequestError: one is neither, or names what no key may write.
    """
    schemas: list[str] = []
    tables: list[tuple[str, str]] = []
    for text in texts:
        try:
            parts = parse_table_name(text.strip())
        except ValueError as error:
            raise _no_grant(text, str(error)) from None
        if len(parts) > 2 or not all(map(_is_granted_name, parts)):
            raise _no_grant(text, "it is neither a schema nor schema.table")
        if parts[0].lower() in _NOBODYS_SCHEMAS:
            raise _no_grant(text, f"{parts[0]} belongs to DuckDB or to the service")
        if len(parts) == 1:
            schemas.append(parts[0])
        else:
            tables.append((parts[0], parts[1]))
    return WriteGrants(tuple(dict.fromkeys(schemas)), tuple(dict.fromkeys(tables)))


def check_wish(wish: KeyWish, database: Path) -> None:
    """Refuse a wish that cannot be granted, whatever is in the database.

    Raises:
        InvalidRequestError: says why.
    """
    _check(wish)
    _check_write_names(wish.write or (), database)


def _check_write_names(texts: Iterable[str], database: Path) -> None:
    """Refuse grants that name the database where a schema is meant: they could never allow anything."""
    name = database.name.partition(".")[0]  # as DuckDB names it
    for text in texts:
        try:
            first, *rest = parse_table_name(text.strip())
        except ValueError:
            continue  # refused by ``read_grants``
        if first.lower() == name.lower() and first.lower() != "main":
            meant = ".".join(rest) or "main"
            raise InvalidRequestError(
                f"{text[:80]!r} cannot be granted for writing: {first} is the database itself",
                hint=f"Name a schema or a table in it, such as {meant}; a writer without such a limit "
                "writes everything.",
            )


def written_grants(grants: WriteGrants) -> list[str]:
    """Return the grants as ``read_grants`` reads them."""
    schemas = [written_table_name("main", name) for name in grants.schemas]
    tables = [
        f"{written_table_name('main', schema)}.{written_table_name('main', name)}"
        for schema, name in grants.tables
    ]
    return [*schemas, *tables]


def _is_granted_name(name: str) -> bool:
    return 0 < len(name) <= _MAX_IDENTIFIER_CHARACTERS and _is_name(name)


def _no_grant(text: str, why: str) -> InvalidRequestError:
    return InvalidRequestError(
        f"{text[:80]!r} cannot be granted for writing: {why}",
        hint="Name a schema (anna) or one table (main.notes).",
    )


def _check(wish: KeyWish) -> None:
    name = wish.name
    if (
        len(name) > _LONGEST_NAME
        or not _NAME_SIGNS.issuperset(name)
        or name[:1] not in _NAME_BEGINS
    ):
        raise InvalidRequestError(
            f"{wish.name[:80]!r} is not a key's name",
            hint="Use 1 to 64 letters, digits, dots, dashes, underscores and @, a letter or "
            "digit first.",
        )
    if wish.name.lower() in _RESERVED:
        raise InvalidRequestError(
            f"{wish.name} means somebody else here", hint="Choose another name for the key."
        )
    lifetime = wish.lifetime_seconds
    if lifetime is not None and not 0 < lifetime <= _MAX_LIFETIME_SECONDS:
        raise InvalidRequestError(
            f"a key cannot expire {lifetime:g} s from now",
            hint="Name a time above 0 and up to 10 years, such as 30d, or none.",
        )
    for name, value in asdict(wish.limits).items():
        if value is not None and not 0 < value < float("inf"):
            raise InvalidRequestError(f"the limit {name} is {value:g}; it must be above 0")
    _check_scope(wish)
    _check_write(wish)
    _check_claims(wish)


def _check_claims(wish: KeyWish) -> None:
    if wish.claims and not any(grant.row_filter is not None for grant in wish.tables):
        raise InvalidRequestError(
            "claims are for row filters, and this key has none",
            hint="Grant a table with a filter that names them.",
        )
    if len(wish.claims) > _MAX_CLAIMS or len(repr(wish.claims)) > _MAX_CLAIM_CHARACTERS:
        raise InvalidRequestError(
            f"a key has at most {_MAX_CLAIMS} claims of {_MAX_CLAIM_CHARACTERS:,} characters together"
        )


def _check_write(wish: KeyWish) -> None:
    if wish.write is None:
        return
    if wish.role is not Role.WRITER:
        raise InvalidRequestError(
            f"a key that writes some schemas or tables is a writer, not {wish.role}",
            hint="Make it --role writer, or leave out what it writes.",
        )
    if not wish.write:
        raise InvalidRequestError(
            "a key that writes nothing is an analyst",
            hint="Name a schema or table, or leave it out.",
        )
    if len(wish.write) > _MAX_GRANTS:
        raise InvalidRequestError(
            f"a key names at most {_MAX_GRANTS} tables and schemas", hint="Grant whole schemas."
        )


def _check_scope(wish: KeyWish) -> None:
    if not (wish.tables or wish.schemas):
        return
    if wish.role not in (Role.VIEWER, Role.ANALYST):
        raise InvalidRequestError(
            f"a key that sees only some tables cannot be {wish.role}: a narrowed key only reads",
            hint="Make it viewer or analyst. A writer reads everything: what it writes is limited by "
            "--write (`write` over HTTP), not by tables and schemas.",
        )
    if len(wish.tables) + len(wish.schemas) > _MAX_GRANTS:
        raise InvalidRequestError(
            f"a key names at most {_MAX_GRANTS} tables and schemas", hint="Grant whole schemas."
        )
    names = [*wish.schemas, *(part for grant in wish.tables for part in (grant.schema, grant.name))]
    for name in names:
        if not 0 < len(name) <= _MAX_IDENTIFIER_CHARACTERS or not _is_name(name):
            raise InvalidRequestError(f"{name[:80]!r} is not the name of a table or schema")
    # DuckDB compares names without case.
    whole = {schema.lower() for schema in wish.schemas}
    seen = set()
    for grant in wish.tables:
        where = (grant.schema.lower(), grant.name.lower())
        if where in seen:
            raise InvalidRequestError(f"the table {grant.schema}.{grant.name} is granted twice")
        seen.add(where)
        if where[0] in whole:
            raise InvalidRequestError(
                f"the table {grant.schema}.{grant.name} is in a schema that is granted whole",
                hint="Name the schema or its tables, not both: a filter would not hold.",
            )
        row_filter = grant.row_filter
        if row_filter is not None and "\0" in row_filter:
            raise InvalidRequestError(
                f"the filter of {grant.schema}.{grant.name} holds a NUL byte", hint="Remove it."
            )
        if row_filter is not None and not 0 < len(row_filter.strip()) <= _MAX_FILTER_CHARACTERS:
            raise InvalidRequestError(
                f"the filter of {grant.schema}.{grant.name} is empty or longer than "
                f"{_MAX_FILTER_CHARACTERS} characters"
            )


def _is_name(name: str) -> bool:
    """Whether a table could have the name: DuckDB takes every text but for these."""
    return "\0" not in name and not any("\ud800" <= each <= "\udfff" for each in name)


def _iso(moment: float | None) -> str | None:
    if moment is None:
        return None
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds")
