"""The public keys of a platform: a JSON Web Key Set that is fetched, kept and replaced as a whole."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx2
import jwt
import orjson
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from chronoduck.errors.system import reason_of
from chronoduck.logs import get_logger

__all__ = ["KeySet", "KeySetError", "fetch_file", "fetch_url", "parse_key_set"]

_log = get_logger("auth")
_MAX_BYTES = 1_000_000
_MAX_KEYS = 100
_MIN_RSA_BITS = 2048
_FETCH_SECONDS = 5.0
_RETRY_SECONDS = 10.0
"""The shortest time between two fetches, whatever the tokens ask for."""


class KeySetError(Exception):
    """A key set cannot be fetched or understood."""


def fetch_url(url: str) -> bytes:
    """Return what is there, within 5 s and 1 MB and without following redirects; blocks.

    Raises:
        KeySetError: it cannot be had.
    """
    end = time.monotonic() + _FETCH_SECONDS
    body = bytearray()
    try:
        with (
            # Without encryption it is on this machine, and no proxy's business.
            httpx2.Client(
                timeout=_FETCH_SECONDS, follow_redirects=False, trust_env=url.startswith("https:")
            ) as client,
            client.stream("GET", url, headers={"Accept": "application/json"}) as response,
        ):
            if response.status_code != 200:
                raise KeySetError(f"the server answered {response.status_code}")
            for piece in response.iter_bytes():
                body += piece
                if len(body) > _MAX_BYTES:
                    raise KeySetError(f"the answer has more than {_MAX_BYTES} bytes")
                # A timeout of the client is one of each read: a server that drips would never end.
                if time.monotonic() > end:
                    raise KeySetError(f"the answer took longer than {_FETCH_SECONDS:g} s")
    except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError, OSError) as error:
        raise KeySetError(f"{type(error).__name__}: {error}") from error
    return bytes(body)


def fetch_file(path: Path) -> bytes:
    """Return the file's bytes.

    Raises:
        KeySetError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(_MAX_BYTES)
    except OSError as error:
        raise KeySetError(f"{path}: {reason_of(error)}") from error


def parse_key_set(text: bytes, algorithm: str) -> dict[str, Any]:
    """Return the usable public keys by their id; others are left out.

    Raises:
        KeySetError: it is no key set, or no key in it fits the algorithm.
    """
    try:
        records = orjson.loads(text)["keys"]
        if not isinstance(records, list):
            raise TypeError
    except (orjson.JSONDecodeError, KeyError, TypeError):
        raise KeySetError("it is no JSON Web Key Set") from None
    keys: dict[str, Any] = {}
    for record in records[:_MAX_KEYS]:
        if isinstance(record, dict) and (key := _public_key(record, algorithm)) is not None:
            keys[str(record.get("kid", ""))] = key
    if not keys:
        raise KeySetError(f"there is no usable key for {algorithm} in it")
    return keys


def _public_key(record: dict[str, Any], algorithm: str) -> Any:
    if record.get("use", "sig") != "sig" or record.get("alg", algorithm) != algorithm:
        return None
    try:
        key = jwt.PyJWK(record, algorithm).key
    except (jwt.PyJWTError, ValueError, TypeError, KeyError):
        return None
    if algorithm == "RS256" and isinstance(key, RSAPublicKey) and key.key_size >= _MIN_RSA_BITS:
        return key
    if (
        algorithm == "ES256"
        and isinstance(key, EllipticCurvePublicKey)
        and isinstance(key.curve, SECP256R1)
    ):
        return key
    return None  # another kind of key, a weak one, or a private one that should not be there


class KeySet:
    """Keeps the newest keys. Nobody waits for a fetch but a token whose key is not known yet.

    One fetch runs at a time, in a thread, and begins at most every 10 s: forged key ids cannot make
    it fetch more. While the source fails the last keys stay in use until they are ``max_age`` old.
    """

    def __init__(
        self,
        fetch: Callable[[], bytes],
        algorithm: str,
        refresh_seconds: float,
        max_age_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fetch = fetch
        self._algorithm = algorithm
        self._refresh_seconds = refresh_seconds
        self._max_age_seconds = max_age_seconds
        self._clock = clock
        self._keys: Mapping[str, Any] = {}
        self._fetched_at = float("-inf")
        self._tried_at = float("-inf")
        self._running: asyncio.Task[None] | None = None
        self.generation = 0
        """Grows when the keys change: what was verified by older ones must be verified anew."""

    @property
    def is_usable(self) -> bool:
        """Whether there are keys that are not too old."""
        return bool(self._keys) and self._clock() - self._fetched_at <= self._max_age_seconds

    def follow(self) -> None:
        """Begin a fetch in the background when one is due; never waits."""
        age = self._clock() - self._fetched_at
        if age > self._refresh_seconds:
            self._begin()

    async def find(self, key_id: str | None) -> Any:
        """Return the key of that id, None when there is none; waits for one fetch at most.

        Without an id the only key of a set is meant.
        """
        self.follow()
        key = self._known(key_id)
        if key is None and (running := self._begin()) is not None:
            # The fetch goes on for the others when this request is cancelled.
            with suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(running), 2 * _FETCH_SECONDS)
            key = self._known(key_id)
        return key

    def _known(self, key_id: str | None) -> Any:
        if not self.is_usable:
            return None
        if key_id is not None:
            return self._keys.get(key_id)
        return next(iter(self._keys.values())) if len(self._keys) == 1 else None

    def _begin(self) -> asyncio.Task[None] | None:
        if self._running is not None and not self._running.done():
            return self._running
        if self._clock() - self._tried_at < _RETRY_SECONDS:
            return None
        self._tried_at = self._clock()
        self._running = asyncio.get_running_loop().create_task(self._renew())
        return self._running

    async def _renew(self) -> None:
        began = self._clock()
        try:
            text = await asyncio.to_thread(self._fetch)
            keys = parse_key_set(text, self._algorithm)
        except KeySetError as error:
            _log.warning("key_set_not_fetched", reason=str(error), has_usable_keys=self.is_usable)
            return
        self._fetched_at = began
        self._keys = keys
        self.generation += 1

    async def close(self) -> None:
        """End a fetch that is on its way."""
        if self._running is not None:
            self._running.cancel()
            with suppress(asyncio.CancelledError):
                await self._running
