"""The admin token: made at the first start, kept in a file that only its owner reads."""

from __future__ import annotations

import contextlib
import hmac
import os
import secrets
import stat
import tempfile
from pathlib import Path

from chronoduck.errors import AuthenticationError, DatabasePermissionError
from chronoduck.storage.durable_write import fsync_directory

__all__ = ["AdminToken", "read_token"]


def read_token(path: Path) -> str:
    """Return the token in the file.

    Raises:
        AuthenticationError: the file is missing or unreadable.
    """
    try:
        return path.read_text().strip()
    except OSError as error:
        raise AuthenticationError(
            f"the token file {path} cannot be read: {error.strerror}",
            hint="Run this as the service's user, or pass --token-file or CHRONODUCK_TOKEN.",
        ) from error


class AdminToken:
    """Checks bearer tokens against the one in the file, in constant time."""

    def __init__(self, token: str) -> None:
        self._token = token.encode()

    @classmethod
    def load_or_create(cls, path: Path) -> AdminToken:
        """Return the token of the file, making both when there is none.

        Raises:
            DatabasePermissionError: the file may be read by other users, or cannot be written.
        """
        if not path.exists():
            try:
                _create(path, f"cd_{secrets.token_urlsafe(32)}\n")
            except OSError as error:
                raise DatabasePermissionError(
                    f"the token file {path} cannot be written: {error.strerror}",
                    hint="Make the directory of the database writable for this user.",
                ) from error
        return cls._load(path)

    @classmethod
    def _load(cls, path: Path) -> AdminToken:
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077:
            raise DatabasePermissionError(
                f"the token file {path} has mode {mode:04o}: other users may read it",
                hint=f"Run: chmod 600 {path}",
            )
        token = read_token(path)
        if not token:
            raise DatabasePermissionError(
                f"the token file {path} is empty",
                hint=f"Delete {path}; a new one is made at start.",
            )
        return cls(token)

    def could_be(self, token: str) -> bool:
        """Whether the text is as long as the token; its length is no secret."""
        return len(token.encode(errors="replace")) == len(self._token)

    def matches(self, token: str) -> bool:
        """Whether the text is the token."""
        return hmac.compare_digest(token.encode(errors="replace"), self._token)


def _create(path: Path, text: str) -> None:
    """Make the file with its text, or leave the one that somebody else made meanwhile.

    It appears under its name only when it is on disk: a crash leaves no empty token.
    """
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mode 0600
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(name, path)
            fsync_directory(path.parent)
    finally:
        Path(name).unlink()
