"""The keys of a running service: found by one hash, one look-up and one comparison."""

from __future__ import annotations

import hmac
import os

from chronoduck.auth.key_file import KeyFile
from chronoduck.auth.keys import ApiKey, digest_of, key_id_of
from chronoduck.errors import AuthenticationError, DatabasePermissionError
from chronoduck.logs import get_logger
from chronoduck.principals import Principal

__all__ = ["KeyRing"]

_log = get_logger("auth")
_NO_DIGEST = "0" * 64


class KeyRing:
    """Follows the key file: each check looks (1 µs) whether it was replaced, so a revocation by any
    process holds from the next request on. A file that cannot be trusted means: no key is valid.
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
        self._follow()

    def close(self) -> None:
        """Let go of the file; no key is valid afterwards."""
        self._keys = {}
        self._let_go()

    def knows(self, key_id: str) -> bool:
        """Whether there is a key of that id."""
        self._refresh()
        return key_id in self._keys

    def principal_of(self, key_id: str) -> Principal | None:
        """Return whom the key of that id stands for, expired or not; None if there is none."""
        self._refresh()
        found = self._keys.get(key_id)
        return None if found is None else found[1]

    def check(self, token: str, now: float) -> Principal:
        """Return whom the key stands for.

        Raises:
            AuthenticationError: there is no such key, or it has expired.
        """
        self._refresh()
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
        self._refresh()
        return [(key, self._last_used.get(key.id)) for key, _ in self._keys.values()]

    def _refresh(self) -> None:
        try:
            now = _version(os.stat(self._path, follow_symlinks=False))  # noqa: PTH116 - half a Path's cost
        except OSError:
            now = None
        if now != self._seen:
            try:
                self._follow()
            except DatabasePermissionError as error:
                self._seen = now  # told once, and looked at again when it changes
                _log.error("keys_refused", reason=error.detail, hint=error.hint)

    def _follow(self) -> None:
        self._keys = {}
        self._seen = None
        self._let_go()
        self._descriptor = self.file.open()
        if self._descriptor is None:
            return
        # Kept open: the number of a file that is still open is never given to another one, so that
        # no two versions look alike.
        self._seen = _version(os.fstat(self._descriptor))
        keys = self.file.load(self._descriptor)
        self._keys = {key.id: (key, key.principal()) for key in keys}
        self._last_used = {i: t for i, t in self._last_used.items() if i in self._keys}

    def _let_go(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _version(facts: os.stat_result) -> tuple[int, ...]:
    return (facts.st_ino, facts.st_dev, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_size)
