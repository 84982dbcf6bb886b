"""Signed tokens of a platform (JWT): one pinned algorithm, every claim checked, refused when in doubt."""

from __future__ import annotations

import hashlib
import math
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import jwt
import orjson

from chronoduck.auth.key_set import KeySet, fetch_file, fetch_url
from chronoduck.errors import AuthenticationError, ServiceUnavailableError
from chronoduck.principals import Principal, Role, Scope, TableGrant, claims_of
from chronoduck.settings import JwtSettings
from chronoduck.table_names import parse_table_name

__all__ = ["JwtTokens", "role_of"]

_MAX_VERIFIED = 10_000
_MAX_NAME_CHARACTERS = 255
_MAX_KEY_ID_CHARACTERS = 255
_PASSING = frozenset({"exp", "iat", "nbf", "jti", "auth_time", "nonce", "at_hash", "sid"})
"""Claims of one token or login, and not of its bearer; each other value needs a catalogue of its own."""


@dataclass(frozen=True, slots=True)
class _Verified:
    principal: Principal
    valid_until: float
    generation: int


class JwtTokens:
    """Checks tokens by the settings alone: nothing in a token says how, or with which key from where,
    it is to be checked. Its key id only chooses among the keys that are known.
    """

    def __init__(self, settings: JwtSettings, keys: KeySet | None = None) -> None:
        """``keys`` defaults to the set that the settings name; HS256 needs none."""
        assert settings.algorithm is not None  # noqa: S101 - the caller asks for it
        self._settings = settings
        self._algorithm = settings.algorithm
        self._secret = settings.secret.get_secret_value().encode() if settings.secret else b""
        self._keys = keys or _key_set(settings)
        self._tables = tuple(
            TableGrant(path[-1], path[0] if len(path) == 2 else "main", row_filter)
            for path, row_filter in (
                (parse_table_name(name), text) for name, text in settings.tables.items()
            )
        )
        self._verified: OrderedDict[bytes, _Verified] = OrderedDict()
        self._signatures = jwt.PyJWS(algorithms=[self._algorithm])

    def start(self) -> None:
        """Begin to fetch the keys; call it on the event loop."""
        if self._keys is not None:
            self._keys.follow()

    async def check(self, token: str, now: float) -> Principal:
        """Return whom the token stands for at that Unix time.

        Raises:
            AuthenticationError: it is not valid, or gives no role here.
            ServiceUnavailableError: the keys to check it by could not be fetched yet.
        """
        digest = hashlib.sha256(token.encode()).digest()
        found = self._verified.get(digest)
        if found is not None and now < found.valid_until and self._is_current(found):
            if self._keys is not None:
                self._keys.follow()
            return found.principal
        key = await self._key(token)
        generation = self._generation
        claims = self._signed_claims(token, key)
        valid_until = _check_times(claims, now, self._settings.clock_skew)
        principal = self._principal(claims)
        self._verified[digest] = _Verified(principal, valid_until, generation)
        self._verified.move_to_end(digest)
        if len(self._verified) > _MAX_VERIFIED:
            self._verified.popitem(last=False)
        return principal

    @property
    def _generation(self) -> int:
        return self._keys.generation if self._keys is not None else 0

    def _is_current(self, found: _Verified) -> bool:
        usable = self._keys is None or self._keys.is_usable
        return usable and found.generation == self._generation

    async def _key(self, token: str) -> Any:
        header = _header(token)
        if header.get("alg") != self._algorithm:
            raise AuthenticationError("the bearer token is not valid")
        if self._keys is None:
            return self._secret
        key_id = header.get("kid")
        if key_id is not None and not (
            isinstance(key_id, str) and len(key_id) <= _MAX_KEY_ID_CHARACTERS
        ):
            raise AuthenticationError("the bearer token is not valid")
        key = await self._keys.find(key_id)
        if key is not None:
            return key
        if not self._keys.is_usable:
            raise ServiceUnavailableError(
                "tokens of the platform cannot be checked: its keys could not be fetched yet",
                hint="Try again in a moment; the log of the service tells why.",
            )
        raise AuthenticationError("the bearer token is not valid")

    def _signed_claims(self, token: str, key: Any) -> dict[str, Any]:
        try:
            payload = self._signatures.decode_complete(
                token,
                key,
                algorithms=[self._algorithm],
                options={"verify_signature": True, "enforce_minimum_key_length": True},
            )["payload"]
            claims = orjson.loads(payload)
        except (jwt.PyJWTError, ValueError, RecursionError):
            raise AuthenticationError("the bearer token is not valid") from None
        if not isinstance(claims, dict):
            raise AuthenticationError("the bearer token is not valid")
        audience = claims.get("aud")
        if claims.get("iss") != self._settings.issuer or (
            audience != self._settings.audience
            and not (isinstance(audience, list) and self._settings.audience in audience)
        ):
            raise AuthenticationError(
                "the bearer token is of another issuer or for another service"
            )
        return claims

    def _principal(self, claims: dict[str, Any]) -> Principal:
        subject = claims.get("sub")
        if (
            not isinstance(subject, str)
            or not 0 < len(subject) <= _MAX_NAME_CHARACTERS
            or not subject.isprintable()
        ):
            raise AuthenticationError("the bearer token names no subject")
        role = role_of(claims, self._settings.role_claim, self._settings.roles)
        if role is None:
            raise AuthenticationError(
                "the bearer token gives no role here",
                hint="The platform must put a role into the token that DUCKDB_JWT_ROLES knows.",
            )
        # As the name, too: a subject may be called like the admin, or like a key.
        name = f"jwt:{subject}"
        return Principal(name, role, name, self._scope(claims, role))

    def _scope(self, claims: dict[str, Any], role: Role) -> Scope | None:
        """Return what the token's bearer sees, with the claims that row filters may name."""
        if not self._tables or role.includes(Role.WRITER):
            return None
        lasting = {name: value for name, value in claims.items() if name not in _PASSING}
        return Scope(tables=self._tables, claims=claims_of(lasting))

    async def close(self) -> None:
        """End a fetch that is on its way."""
        if self._keys is not None:
            await self._keys.close()


def _key_set(settings: JwtSettings) -> KeySet | None:
    url, path = settings.jwks_url, settings.jwks_file
    if settings.algorithm is None or (url is None and path is None):
        return None
    return KeySet(
        (lambda: fetch_url(url)) if url is not None else (lambda: fetch_file(path)),  # type: ignore[arg-type]
        settings.algorithm,
        settings.jwks_refresh,
        settings.jwks_max_age,
    )


def _header(token: str) -> dict[str, Any]:
    """Return the header's claims about itself: unverified, only to choose the key by."""
    try:
        header = jwt.get_unverified_header(token)
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise AuthenticationError("the bearer token is not valid") from None
    # Extensions that must be understood are none that are understood here.
    if "crit" in header or "b64" in header:
        raise AuthenticationError("the bearer token is not valid")
    return header


def _check_times(claims: dict[str, Any], now: float, skew: float) -> float:
    """Return until when the token is valid.

    Raises:
        AuthenticationError: it has expired, is not valid yet, or does not say so in numbers.
    """
    expires = _moment(claims, "exp")
    if expires is None:
        raise AuthenticationError("the bearer token has no expiry")
    if now >= expires + skew:
        raise AuthenticationError("the bearer token has expired", hint="Get a new one.")
    for name in ("nbf", "iat"):
        begins = _moment(claims, name)
        if begins is not None and now < begins - skew:
            raise AuthenticationError("the bearer token is not valid yet")
    return expires + skew


def _moment(claims: dict[str, Any], name: str) -> float | None:
    value = claims.get(name)
    if value is None:
        return None
    moment = math.nan
    if isinstance(value, int | float) and not isinstance(value, bool):
        with suppress(OverflowError):
            moment = float(value)
    if not math.isfinite(moment):
        raise AuthenticationError(f"the claim {name} of the bearer token is no time")
    return moment


def role_of(claims: dict[str, Any], claim: str, roles: dict[str, Role]) -> Role | None:
    """Return the most powerful role that the claim's values mean, None when none means one."""
    value: Any = claims.get(claim)
    if value is None:
        value = claims
        for part in claim.split("."):
            value = value.get(part) if isinstance(value, dict) else None
    values = value if isinstance(value, list) else [value]
    found = [roles[each] for each in values if isinstance(each, str) and each in roles]
    return max(found, key=lambda role: role.rank, default=None)
