"""Links that let whoever has them fetch one thing for a while."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from pathlib import Path

import orjson

from chronoduck.errors import AuthenticationError, DatabasePermissionError
from chronoduck.storage.secret_file import create_secret, read_secret

__all__ = ["SignedLinks"]


_WHAT = "the key of links"
_KEY_BYTES = 32


class SignedLinks:
    """Signs and checks; the key is a file of its own, so that removing it ends all links.

    Only ``sign`` makes the key: a public route never does.
    """

    def __init__(self, key_path: Path) -> None:
        self._path = key_path

    def check_key(self) -> None:
        """Refuse a key with which links could be forged; there may be none yet. Reads a file.

        Raises:
            DatabasePermissionError: it is empty, short, or open to other users.
        """
        self._key()

    def _key(self) -> bytes | None:
        return read_secret(self._path, _WHAT, least=_KEY_BYTES)

    def sign(self, what: list[str], expires_at: int) -> str:
        """Return the token of a link to ``what`` until that Unix time; reads, or makes, a file.

        Raises:
            DatabasePermissionError: the key cannot be used, or not be made.
        """
        try:
            key = self._key()
            if key is None:
                create_secret(self._path, secrets.token_bytes(_KEY_BYTES), _WHAT)
                key = self._key()
        except DatabasePermissionError as error:  # its text tells the path
            raise DatabasePermissionError(
                "the key of links cannot be read or written",
                hint="Tell the operator: the service's log says why.",
                operator_detail=str(error),
            ) from error
        if key is None:
            raise AuthenticationError("the key of links was removed", hint="Ask again.")
        text = _encoded(orjson.dumps([expires_at, *what]))
        return f"{text}.{_signature(key, text)}"

    def check(self, token: str, now: float) -> list[str]:
        """Return what the link is to; reads a file.

        Raises:
            AuthenticationError: it was not signed here, or its time is over.
        """
        text, _, signature = token.partition(".")
        try:
            key = self._key()
        except DatabasePermissionError as error:
            raise AuthenticationError(
                "links cannot be checked now", operator_detail=str(error)
            ) from error
        # Compared as bytes: a signature that is not ASCII is no error of ours.
        if key is None or not hmac.compare_digest(
            _signature(key, text).encode(), signature.encode(errors="replace")
        ):
            raise AuthenticationError("this link was not made here", hint="Ask for a new one.")
        expires_at, *what = orjson.loads(_decoded(text))
        if now >= expires_at:
            raise AuthenticationError("this link has expired", hint="Ask for a new one.")
        return [str(each) for each in what]


def _signature(key: bytes, text: str) -> str:
    return _encoded(hmac.digest(key, text.encode(errors="replace"), hashlib.sha256))


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
