"""API keys: what one is, how it is issued, and what a narrowed one may be."""

from __future__ import annotations

import hashlib
import secrets
import string
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from chronoduck.errors import InvalidRequestError
from chronoduck.principals import Limits, Principal, Role, Scope, TableGrant

__all__ = ["ApiKey", "KeyWish", "digest_of", "issue_key", "key_id_of"]

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

    def is_expired(self, now: float) -> bool:
        """Whether it is no longer valid at that Unix time."""
        return self.expires_at is not None and now >= self.expires_at

    def principal(self) -> Principal:
        """Return whom the key stands for."""
        return Principal(self.name, self.role, f"key:{self.id}", self.scope, self.limits)

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
        scope=Scope(wish.tables, wish.schemas) if wish.tables or wish.schemas else None,
        limits=wish.limits,
    )
    return key, token


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


def _check_scope(wish: KeyWish) -> None:
    if not (wish.tables or wish.schemas):
        return
    if wish.role not in (Role.VIEWER, Role.ANALYST):
        raise InvalidRequestError(
            f"a key that sees only some tables cannot be {wish.role}: a narrowed key only reads",
            hint="Make it viewer or analyst, or leave out tables and schemas.",
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
