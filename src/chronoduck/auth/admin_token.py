"""The admin token: made at the first start, kept in a file that only its owner reads."""

from __future__ import annotations

import hmac
import secrets
from pathlib import Path

from chronoduck.errors import DatabasePermissionError
from chronoduck.storage.secret_file import create_secret, read_secret

__all__ = ["AdminToken"]

_WHAT = "the token file"
_LEAST = 16
"""Characters of a token; one that the service makes has 46."""


class AdminToken:
    """Checks bearer tokens against the one in the file, in constant time."""

    def __init__(self, token: str) -> None:
        self._token = token.encode()

    @classmethod
    def load_or_create(cls, path: Path) -> AdminToken:
        """Return the token of the file, making both when there is none.

        Raises:
            DatabasePermissionError: the file may be read by other users, is empty or short, or
                cannot be written.
        """
        token = read_secret(path, _WHAT, least=_LEAST)
        if token is None:
            create_secret(path, f"cd_{secrets.token_urlsafe(32)}\n".encode(), _WHAT)
            token = read_secret(path, _WHAT, least=_LEAST)
        try:
            return cls((token or b"").decode().strip())
        except UnicodeDecodeError as error:
            raise DatabasePermissionError(
                f"{_WHAT} {path} is no text",
                hint=f"Delete {path}; a new one is made at start.",
            ) from error

    def could_be(self, token: str) -> bool:
        """Whether the text is as long as the token; its length is no secret."""
        return len(token.encode(errors="replace")) == len(self._token)

    def matches(self, token: str) -> bool:
        """Whether the text is the token."""
        return hmac.compare_digest(token.encode(errors="replace"), self._token)
