"""Settings of who may come in (``DUCKDB_AUTH_*``, ``DUCKDB_JWT_*``)."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, NoDecode

from chronoduck.principals import Role
from chronoduck.settings.values import (
    Delay,
    OptionalPath,
    OptionalText,
    Seconds,
    Unset,
    from_environment,
)
from chronoduck.table_names import parse_table_name

__all__ = ["AuthSettings", "JwtSettings"]

_LOCAL_HOSTS = ("127.0.0.1", "localhost", "::1")


def _names(value: Any) -> Any:
    """Read ``platform,reports``."""
    if not isinstance(value, str):
        return value
    return tuple(filter(None, (name.strip() for name in value.split(","))))


NameList = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_names)]


class AuthSettings(BaseSettings):
    """How guessing is slowed (``DUCKDB_AUTH_*``)."""

    model_config = from_environment("DUCKDB_AUTH_")

    max_failures: Annotated[int, Field(ge=1)] = 10
    """Invalid tokens from one address after which it has to wait."""
    first_wait: Seconds = 1.0
    """The first wait; each further failure doubles it."""
    max_wait: Seconds = 30.0
    """The longest wait."""
    sub_user_keys: NameList = ()
    """Names of the keys that serve many people, separated by commas. They may name whom they ask for in
    the header ``X-Chronoduck-User``: the penalty box then holds for that person, not for the key."""


def _role_map(value: Any) -> Any:
    """Read ``staff=analyst,editors=writer``."""
    if not isinstance(value, str):
        return value
    roles: dict[str, str] = {}
    for pair in filter(None, (part.strip() for part in value.split(","))):
        name, separator, role = pair.rpartition("=")
        if not separator or not name.strip():
            raise ValueError(f"{pair!r} is not of the form value=role")
        if name.strip() in roles:
            raise ValueError(f"{name.strip()!r} is given two roles")
        roles[name.strip()] = role.strip()
    return roles


def _table_map(value: object) -> object:
    """Return the tables and row filters of a JSON object.

    Raises:
        ValueError: it is none, or a name is no table's.
    """
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError as error:
            raise ValueError(f"it is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise ValueError('it must be an object such as {"user_metrics": "user_id = $claim.sub"}')
    for name in value:
        if len(parse_table_name(str(name))) > 2:
            raise ValueError(f"{name} is neither table nor schema.table")
    return value


class JwtSettings(BaseSettings):
    """Signed tokens of a platform as credentials (``DUCKDB_JWT_*``); off without an algorithm."""

    model_config = from_environment("DUCKDB_JWT_")

    algorithm: Annotated[Literal["HS256", "RS256", "ES256"] | None, Unset] = None
    """The only algorithm that is accepted; what a token's header says does not count."""
    secret: Annotated[SecretStr | None, Unset] = None
    """The shared secret of HS256, 32 bytes at least."""
    jwks_url: OptionalText = None
    """Where the public keys of RS256 or ES256 are, as a JSON Web Key Set."""
    jwks_file: OptionalPath = None
    """A file with the key set; read again as an address is."""
    issuer: OptionalText = None
    """What the claim ``iss`` must be."""
    audience: OptionalText = None
    """What the claim ``aud`` must be or contain."""
    role_claim: str = "role"
    """The claim that holds a role's name or a list of them; ``a.b`` is b inside a."""
    roles: Annotated[dict[str, Role], NoDecode, BeforeValidator(_role_map)] = Field(
        default_factory=dict
    )
    """Which value of the claim means which role: ``staff=analyst,editors=writer``."""
    tables: Annotated[dict[str, str | None], NoDecode, BeforeValidator(_table_map)] = Field(
        default_factory=dict
    )
    """The only tables that viewers and analysts with tokens see, and of which rows, as JSON:
    ``{"user_metrics": "user_id = $claim.sub", "main.notes": null}``."""
    clock_skew: Delay = 30.0
    """How far the clocks of platform and service may differ."""
    jwks_refresh: Seconds = 600.0
    """How often the key set is fetched again."""
    jwks_max_age: Seconds = 86_400.0
    """How long the last keys are used while the key set cannot be fetched."""

    @model_validator(mode="after")
    def _consistent(self) -> JwtSettings:
        if self.algorithm is None:
            if self.secret or self.jwks_url or self.jwks_file:
                raise ValueError("a key is given, but DUCKDB_JWT_ALGORITHM is not set")
            return self
        if not (self.issuer and self.audience and self.roles):
            raise ValueError(
                "DUCKDB_JWT_ISSUER, DUCKDB_JWT_AUDIENCE and DUCKDB_JWT_ROLES must be set as well"
            )
        self._check_keys()
        return self

    def _check_keys(self) -> None:
        if self.algorithm == "HS256":
            if self.jwks_url or self.jwks_file:
                raise ValueError("HS256 takes DUCKDB_JWT_SECRET and no key set")
            secret = self.secret.get_secret_value() if self.secret else ""
            if len(secret.encode()) < 32:
                raise ValueError("HS256 needs DUCKDB_JWT_SECRET with at least 32 bytes")
            if "-----BEGIN" in secret:
                raise ValueError("DUCKDB_JWT_SECRET is a key pair's key; it belongs to RS256")
            return
        if self.secret:
            raise ValueError(f"{self.algorithm} takes a key set and no DUCKDB_JWT_SECRET")
        if (self.jwks_url is None) == (self.jwks_file is None):
            raise ValueError(
                f"{self.algorithm} needs either DUCKDB_JWT_JWKS_URL or DUCKDB_JWT_JWKS_FILE"
            )
        # Who can change what comes from there can make tokens.
        if self.jwks_url is not None and not _is_safe(self.jwks_url):
            raise ValueError("DUCKDB_JWT_JWKS_URL must be https://, or http:// on this machine")


def _is_safe(url: str) -> bool:
    parts = urlsplit(url)
    if not parts.hostname:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOCAL_HOSTS)
