"""How everything in a replica is wrapped: named, compressed, encrypted, and hashed.

::

    8 bytes   magic, with the version of the format
    1 byte    flags: 1 = compressed by zstd, 2 = encrypted by age
    n bytes   body; when opened: 4 bytes length of the header, header (JSON), payload
    32 bytes  SHA-256 of everything before

The header repeats the blob's name, so that a blob under a wrong name is noticed; the payload may be
anything. Integrity rests on the hash; secrecy, and integrity against forgers, on age.
"""

from __future__ import annotations

import hashlib
import sys
from typing import Any

import orjson

from chronoduck.errors import SettingsError
from chronoduck.replication.failures import ReplicaDamagedError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

try:
    import pyrage
except ImportError:  # the extra is not installed
    pyrage = None

__all__ = ["Envelope", "new_key"]

_MAGIC = b"CDREPL1\n"
_COMPRESSED, _ENCRYPTED = 1, 2
_DIGEST_BYTES = 32
_LENGTH_BYTES = 4


def new_key() -> str:
    """Return a new age secret key.

    Raises:
        SettingsError: the library for it is missing.
    """
    _require_library()
    return str(pyrage.x25519.Identity.generate())


def _require_library() -> None:
    if pyrage is None:
        raise SettingsError(
            "encryption needs a library that is not installed",
            hint="Run: pip install 'chronoduck[encryption]'",
        )


class Envelope:
    """Wraps and unwraps blobs; ``key`` is an age secret key (``AGE-SECRET-KEY-1...``)."""

    def __init__(self, key: str | None = None, *, level: int = 3) -> None:
        """Prepare.

        Raises:
            SettingsError: the key is none, or the library for it is missing.
        """
        self._level = level
        self._identity = None
        if key is not None:
            _require_library()
            try:
                self._identity = pyrage.x25519.Identity.from_str(key.strip())
            except pyrage.IdentityError as error:
                raise SettingsError(
                    "DUCKDB_REPLICA_ENCRYPTION_KEY is not an age secret key",
                    hint="Make one: chronoduck replication key",
                ) from error

    @property
    def is_encrypting(self) -> bool:
        """Whether new blobs are encrypted."""
        return self._identity is not None

    def seal(self, name: str, header: dict[str, Any], payload: bytes = b"") -> bytes:
        """Return the bytes to store under ``name``."""
        head = orjson.dumps({**header, "name": name})
        body = b"".join((len(head).to_bytes(_LENGTH_BYTES, "little"), head, payload))
        body, flags = zstd.compress(body, self._level), _COMPRESSED
        if self._identity is not None:
            body = pyrage.encrypt(body, [self._identity.to_public()])
            flags |= _ENCRYPTED
        sealed = b"".join((_MAGIC, bytes((flags,)), body))
        return sealed + hashlib.sha256(sealed).digest()

    def open(self, name: str, sealed: bytes) -> tuple[dict[str, Any], memoryview]:
        """Return header and payload.

        Raises:
            ReplicaDamagedError: the bytes are not what was stored under that name.
            SettingsError: it is encrypted, and there is no key or another one.
        """
        view = memoryview(sealed)
        content, digest = view[:-_DIGEST_BYTES], view[-_DIGEST_BYTES:]
        if bytes(content[: len(_MAGIC)]) != _MAGIC:
            raise ReplicaDamagedError(f"{name} in the replica is not of a format known here")
        if hashlib.sha256(content).digest() != digest:
            raise ReplicaDamagedError(f"{name} in the replica is damaged: its hash is wrong")
        flags = content[len(_MAGIC)]
        body = bytes(content[len(_MAGIC) + 1 :])
        if flags & _ENCRYPTED:
            body = self._decrypt(name, body)
        if flags & _COMPRESSED:
            body = zstd.decompress(body)
        length = int.from_bytes(body[:_LENGTH_BYTES], "little")
        header: dict[str, Any] = orjson.loads(body[_LENGTH_BYTES : _LENGTH_BYTES + length])
        if header.get("name") != name:
            raise ReplicaDamagedError(
                f"{name} in the replica holds {header.get('name')}: somebody renamed a file"
            )
        return header, memoryview(body)[_LENGTH_BYTES + length :]

    def _decrypt(self, name: str, body: bytes) -> bytes:
        if self._identity is None:
            raise SettingsError(
                "the replica is encrypted, and there is no key",
                hint="Set DUCKDB_REPLICA_ENCRYPTION_KEY to the age secret key it was written with.",
            )
        try:
            return bytes(pyrage.decrypt(body, [self._identity]))
        except pyrage.DecryptError as error:
            raise SettingsError(
                f"DUCKDB_REPLICA_ENCRYPTION_KEY does not open {name} in the replica",
                hint="Set the age secret key that the replica was written with.",
            ) from error
