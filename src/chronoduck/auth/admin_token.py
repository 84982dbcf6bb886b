"""The admin token: made at the first start, kept in a file of its owner's, and followed there."""

from __future__ import annotations

import asyncio
import hmac
import os
import secrets
from pathlib import Path

from chronoduck.errors import DatabasePermissionError
from chronoduck.logs import get_logger
from chronoduck.storage.secret_file import create_secret, read_secret, replace_secret

__all__ = ["AdminToken", "rotate_admin_token"]

_log = get_logger("auth")
_WHAT = "the token file"
_LEAST = 16
"""Characters of a token; one that the service makes has 46."""
_Version = tuple[int, ...] | None


class AdminToken:
    """Checks bearer tokens against the one in the file, in constant time.

    ``follow`` looks (1 µs) whether the file is another one: then its token is the valid one, and the old
    one is refused. While there is no file, or one that cannot be trusted, no token is valid.
    """

    def __init__(self, token: str, path: Path | None = None, seen: _Version = None) -> None:
        """Without ``path`` the token stays as it is."""
        self._token = token.encode()
        self._path = path
        self._seen = seen
        self._reading = asyncio.Lock()

    @classmethod
    def load_or_create(cls, path: Path) -> AdminToken:
        """Return the token of the file, making both when there is none.

        Raises:
            DatabasePermissionError: the file may be read by other users, is empty or short, or
                cannot be written.
        """
        seen = _version(path)
        token = _read(path)
        if token is None:
            create_secret(path, _new_token(), _WHAT)
            seen = _version(path)
            token = _read(path)
        return cls(token or "", path, seen)

    async def follow(self) -> None:
        """Take in what the file says now."""
        if self._path is None or _version(self._path) == self._seen:
            return
        async with self._reading:
            seen = _version(self._path)
            if seen == self._seen:
                return
            try:
                token = await asyncio.to_thread(_read, self._path)
            except DatabasePermissionError as error:
                token = None
                _log.error("admin_token_refused", reason=error.detail, hint=error.hint)
            self._token, self._seen = (token or "").encode(), seen
            _log.warning("admin_token_changed", is_valid=bool(token))

    def could_be(self, token: str) -> bool:
        """Whether the text is as long as the token; its length is no secret."""
        return len(token.encode(errors="replace")) == len(self._token)

    def matches(self, token: str) -> bool:
        """Whether the text is the token."""
        is_same = hmac.compare_digest(token.encode(errors="replace"), self._token)
        return is_same and bool(self._token)


def rotate_admin_token(path: Path) -> None:
    """Put a new token into the file; a running service takes it from the next request on.

    Raises:
        DatabasePermissionError: it cannot be written; the old one stays valid.
    """
    replace_secret(path, _new_token(), _WHAT)


def _new_token() -> bytes:
    return f"cd_{secrets.token_urlsafe(32)}\n".encode()


def _read(path: Path) -> str | None:
    token = read_secret(path, _WHAT, least=_LEAST)
    try:
        return None if token is None else token.decode().strip()
    except UnicodeDecodeError as error:
        raise DatabasePermissionError(
            f"{_WHAT} {path} is no text",
            hint=f"Delete {path}; a new one is made at start.",
        ) from error


def _version(path: Path) -> _Version:
    try:
        facts = os.stat(path)  # noqa: PTH116 - half a Path's cost
    except OSError:
        return None
    return (facts.st_ino, facts.st_dev, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_size)
