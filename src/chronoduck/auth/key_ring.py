"""The keys of a running service: found by one hash, one look-up and one comparison."""

from __future__ import annotations

import asyncio
import hmac
import os
import time
from dataclasses import dataclass

from chronoduck.auth.key_file import KeyFile
from chronoduck.auth.keys import ApiKey, digest_of, key_id_of
from chronoduck.errors import AuthenticationError, DatabasePermissionError
from chronoduck.logs import get_logger
from chronoduck.principals import Principal

__all__ = ["KeyRing"]

_log = get_logger("auth")
_NO_DIGEST = "0" * 64
_UNREADABLE = (-1,)
"""The version of a file that the volume does not give."""
_RETRY_SECONDS = 1.0


@dataclass(frozen=True)
class _Read:
    """What a key file said."""

    descriptor: int | None
    """Kept open: the number of a file that is still open is never given to another one, so that no two
    versions look alike."""
    version: tuple[int, ...] | None
    keys: dict[str, tuple[ApiKey, Principal]]


class KeyRing:
    """Follows the key file: ``follow`` before each check looks (1 µs) whether it was replaced, so a
    revocation by any process holds from the next request on. A file that cannot be trusted means: no key
    is valid. For one event loop; a thread reads a file that has changed.
    """

    def __init__(self, file: KeyFile) -> None:
        """Read the keys.

        Raises:
            DatabasePermissionError: the file is damaged or open to others.
        """
        self.file = file
        self._path = str(file.path)
        self._keys: dict[str, tuple[ApiKey, Principal]] = {}
        self._descriptor: int | None = None
        self._seen: tuple[int, ...] | None = None
        self._last_used: dict[str, float] = {}
        self._reading = asyncio.Lock()
        self._not_before = 0.0
        """When a file that could not be read is tried again."""
        self._take_in(self._read())

    def close(self) -> None:
        """Let go of the file; no key is valid afterwards. Blocks."""
        descriptor = self._take_in(_Read(None, self._seen, {}))
        if descriptor is not None:
            os.close(descriptor)

    def knows(self, key_id: str) -> bool:
        """Whether there is a key of that id."""
        return key_id in self._keys

    def principal_of(self, key_id: str) -> Principal | None:
        """Return whom the key of that id stands for, expired or not; None if there is none."""
        found = self._keys.get(key_id)
        return None if found is None else found[1]

    def check(self, token: str, now: float) -> Principal:
        """Return whom the key stands for.

        Raises:
            AuthenticationError: there is no such key, or it has expired.
        """
        key_id = key_id_of(token)
        found = self._keys.get(key_id) if key_id else None
        expected = found[0].digest if found else _NO_DIGEST
        if not hmac.compare_digest(digest_of(token), expected) or found is None:
            raise AuthenticationError("the bearer token is not valid")
        key, principal = found
        if key.is_expired(now):
            raise AuthenticationError(
                f"the key {key.name} has expired", hint="Ask an admin for a new one."
            )
        self._last_used[key.id] = now
        return principal

    def list(self) -> list[tuple[ApiKey, float | None]]:
        """Return the keys and when each was last used since this process began."""
        return [(key, self._last_used.get(key.id)) for key, _ in self._keys.values()]

    async def follow(self) -> None:
        """Take in what the file says now.

        The look itself asks the kernel for one name that it has in memory. A thread for it would cost
        each request more than the rest of its check.
        """
        if self._version_now() == self._seen or self._is_waiting:
            return
        async with self._reading:
            now = self._version_now()
            if now != self._seen and not self._is_waiting:
                # To its end, also without its caller: a descriptor may just be opened.
                await asyncio.shield(asyncio.ensure_future(self._follow(now)))

    @property
    def _is_waiting(self) -> bool:
        return self._seen == _UNREADABLE and time.monotonic() < self._not_before

    async def _follow(self, now: tuple[int, ...] | None) -> None:
        try:
            read = await asyncio.to_thread(self._read)
        except (DatabasePermissionError, OSError) as error:
            read = _Read(None, now, {})  # told once, and looked at again when it changes
            if isinstance(error, OSError) or isinstance(error.__cause__, OSError):
                # The volume, perhaps for a moment: nobody has to change the file to have it read again.
                read = _Read(None, _UNREADABLE, {})
                self._not_before = time.monotonic() + _RETRY_SECONDS
            if self._seen != _UNREADABLE:
                hint = getattr(error, "hint", None)
                _log.error("keys_refused", reason=getattr(error, "detail", str(error)), hint=hint)
        old = self._take_in(read)
        if old is not None:
            await asyncio.to_thread(os.close, old)

    def _version_now(self) -> tuple[int, ...] | None:
        try:
            return _version(os.stat(self._path, follow_symlinks=False))  # noqa: PTH116 - half a Path's cost
        except OSError:
            return None

    def _read(self) -> _Read:
        descriptor = self.file.open()
        if descriptor is None:
            return _Read(None, None, {})
        try:
            seen = _version(os.fstat(descriptor))
            keys = self.file.load(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        return _Read(descriptor, seen, {key.id: (key, key.principal()) for key in keys})

    def _take_in(self, read: _Read) -> int | None:
        """Have the keys of a file valid from now on; return the descriptor of the one before."""
        old, self._descriptor = self._descriptor, read.descriptor
        self._seen, self._keys = read.version, read.keys
        self._last_used = {i: t for i, t in self._last_used.items() if i in self._keys}
        return old


def _version(facts: os.stat_result) -> tuple[int, ...]:
    return (facts.st_ino, facts.st_dev, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_size)
