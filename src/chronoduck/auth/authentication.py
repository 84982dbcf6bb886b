"""Who asks: the one place where a credential becomes a principal, or is refused."""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Protocol

from chronoduck.auth.admin_token import AdminToken
from chronoduck.auth.key_ring import KeyRing
from chronoduck.auth.keys import key_id_of
from chronoduck.errors import AuthenticationError, TooManyAttemptsError
from chronoduck.logs import get_logger
from chronoduck.principals import Principal, Role
from chronoduck.resilience.attempts import AttemptLimit

__all__ = ["Authenticator", "PlatformTokens"]

_log = get_logger("auth")
_ADMIN = Principal("admin", Role.ADMIN, "admin")
_MAX_TOKEN_CHARACTERS = 8_192
_HINT = (
    "Send one header 'Authorization: Bearer <token>' (or Basic, with the token as the password: curl "
    "-u :TOKEN) with a key, a token of the platform or the admin "
    "token, which is in the file admin.token beside the database. Commands take it by --token-file or "
    "CHRONODUCK_TOKEN."
)


class PlatformTokens(Protocol):
    """Checks the signed tokens of a platform."""

    async def check(self, token: str, now: float, /) -> Principal:
        """Return whom the token stands for, or raise AuthenticationError."""
        ...

    def start(self) -> None:
        """Begin what runs in the background."""
        ...

    async def close(self) -> None:
        """End it."""
        ...


class Authenticator:
    """Knows the admin token, the keys and, when it is set up, the platform's tokens.

    Guessing is slowed by address and by what is guessed: an address that failed at one key still gets
    in with every other one. Where ten attempts failed, the next ones are not even looked at for a
    while. Tokens of the platform are always looked at: a signature cannot be guessed, and another
    user behind the same address must get in with a token that is new.
    """

    def __init__(
        self,
        admin: AdminToken,
        keys: KeyRing,
        platform: PlatformTokens | None,
        attempts: AttemptLimit,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.keys = keys
        self._admin = admin
        self._platform = platform
        self._attempts = attempts
        self._clock = clock

    async def authenticate(self, credentials: list[bytes], address: str | None) -> Principal:
        """Return the principal of a request with these Authorization headers, from this address.

        Raises:
            AuthenticationError: not exactly one header, or no valid token in it.
            TooManyAttemptsError: too many failed from there; try again later.
        """
        token = _bearer_token(credentials)
        if key_id_of(token) is not None:
            await self.keys.follow()
        else:
            await self._admin.follow()
        now = self._clock()
        origin = _origin(address)
        target = self._target(token)
        is_signed = target == "platform"
        waiting = self._attempts.wait(origin, target, now)
        if waiting and not is_signed:
            raise _too_many(waiting)
        try:
            principal = await self._check(token, target, now)
        except AuthenticationError as error:
            seconds = self._attempts.fail(origin, target, now)
            if not seconds:
                error.hint = error.hint or _HINT
                raise
            if not waiting:  # one line for each wait, not for each guess
                _log.warning(
                    "authentication_blocked",
                    address=origin,
                    target=target,
                    seconds=round(seconds, 1),
                    reason=error.detail,
                )
            raise _too_many(seconds) from None
        if not is_signed:
            self._attempts.succeed(origin, target, now)
        return principal

    def _target(self, token: str) -> str:
        """Return what this token could be a guess at: a public name, never the token."""
        key_id = key_id_of(token)
        if key_id is not None:
            return f"key:{key_id}" if self.keys.knows(key_id) else "unknown"
        if self._platform is not None and token.count(".") == 2:
            return "platform"
        return "admin" if self._admin.could_be(token) else "unknown"

    async def _check(self, token: str, target: str, now: float) -> Principal:
        if target.startswith("key:"):
            return self.keys.check(token, now)
        if target == "platform" and self._platform is not None:
            return await self._platform.check(token, now)
        if self._admin.matches(token):
            return _ADMIN
        raise AuthenticationError("the bearer token is not valid")

    def start(self) -> None:
        """Begin what runs in the background; call it on the event loop."""
        if self._platform is not None:
            self._platform.start()

    async def close(self) -> None:
        """End what runs in the background; nothing is valid afterwards."""
        await asyncio.to_thread(self.keys.close)
        if self._platform is not None:
            await self._platform.close()


def _bearer_token(credentials: list[bytes]) -> str:
    if not credentials:
        raise AuthenticationError("the request has no bearer token", hint=_HINT)
    if len(credentials) > 1:
        raise AuthenticationError("the request has more than one Authorization header", hint=_HINT)
    scheme, _, rest = credentials[0].partition(b" ")
    token = rest.strip(b" ")
    if scheme.lower() == b"basic":
        token = _password(token)
    elif scheme.lower() != b"bearer":
        token = b""
    if not token:
        raise AuthenticationError("the request has no bearer token", hint=_HINT)
    if len(token) > _MAX_TOKEN_CHARACTERS:
        raise AuthenticationError(
            f"the bearer token has more than {_MAX_TOKEN_CHARACTERS} characters", hint=_HINT
        )
    if not token.isascii():
        raise AuthenticationError("the bearer token is not valid", hint=_HINT)
    return token.decode("ascii")


def _password(credentials: bytes) -> bytes:
    """Return what stands behind the user's name, which is not looked at: the key says who asks."""
    if len(credentials) > 2 * _MAX_TOKEN_CHARACTERS:
        return b""
    try:
        _, colon, password = base64.b64decode(credentials, validate=True).partition(b":")
    except ValueError:
        return b""
    return password.strip(b" ") if colon else b""


@lru_cache(maxsize=4096)
def _origin(address: str | None) -> str:
    """Return what counts as one client: an address, or the /64 that one IPv6 customer has."""
    try:
        parsed = ipaddress.ip_address(address or "")
    except ValueError:
        return "local"
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed.packed, 64), strict=False))
    return str(parsed)


def _too_many(seconds: float) -> TooManyAttemptsError:
    error = TooManyAttemptsError(
        f"too many invalid tokens came from this address; the next one is looked at in {seconds:.0f} s"
    )
    error.retry_after_seconds = seconds
    return error
