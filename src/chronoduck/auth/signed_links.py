"""Links that let whoever has them fetch one thing for a while."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import secrets
from pathlib import Path

import orjson

from chronoduck.errors import AuthenticationError

__all__ = ["SignedLinks"]


class SignedLinks:
    """Signs and checks; the key is a file of its own, so that removing it ends all links."""

    def __init__(self, key_path: Path) -> None:
        self._path = key_path

    def _key(self) -> bytes:
        try:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            return self._path.read_bytes()
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(32))
        return self._path.read_bytes()

    def sign(self, what: list[str], expires_at: int) -> str:
        """Return the token of a link to ``what`` until that Unix time; reads a file."""
        text = _encoded(orjson.dumps([expires_at, *what]))
        return f"{text}.{self._signature(text)}"

    def check(self, token: str, now: float) -> list[str]:
        """Return what the link is to; reads a file.

        Raises:
            AuthenticationError: it was not signed here, or its time is over.
        """
        text, _, signature = token.partition(".")
        # Compared as bytes: a signature that is not ASCII is no error of ours.
        if not hmac.compare_digest(self._signature(text).encode(), signature.encode()):
            raise AuthenticationError("this link was not made here", hint="Ask for a new one.")
        expires_at, *what = orjson.loads(_decoded(text))
        if now >= expires_at:
            raise AuthenticationError("this link has expired", hint="Ask for a new one.")
        return [str(each) for each in what]

    def _signature(self, text: str) -> str:
        return _encoded(hmac.digest(self._key(), text.encode(), hashlib.sha256))


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
