"""Blobs in memory, for tests of what is built on stores."""

from __future__ import annotations

import builtins
import hashlib
import threading
import zlib
from collections.abc import Iterable, Iterator

from chronoduck.storage.blob_store import (
    BlobConflictError,
    BlobInfo,
    BlobNotFoundError,
    VersionedBlob,
    check_name,
)

__all__ = ["MemoryBlobStore"]


class MemoryBlobStore:
    """Blobs that live as long as the object."""

    url = "memory:"

    def __init__(self) -> None:
        self._blobs: dict[str, bytes] = {}
        self._lock = threading.Lock()

    def put(self, name: str, data: bytes) -> None:
        """Write the blob whole."""
        with self._lock:
            self._blobs[check_name(name)] = bytes(data)

    def get(self, name: str) -> bytes:
        """Return the blob."""
        with self._lock:
            if name not in self._blobs:
                raise BlobNotFoundError(f"{self.url} holds no {name}")
            return self._blobs[name]

    def list(self, prefix: str = "") -> Iterator[BlobInfo]:
        """Yield the blobs whose names begin with ``prefix``."""
        with self._lock:
            found: builtins.list[BlobInfo] = [
                BlobInfo(name, len(data), str(zlib.crc32(data)))
                for name, data in self._blobs.items()
                if name.startswith(prefix)
            ]
        yield from found

    def delete(self, names: Iterable[str]) -> None:
        """Remove blobs."""
        with self._lock:
            for name in names:
                self._blobs.pop(name, None)

    def get_versioned(self, name: str) -> VersionedBlob | None:
        """Return the blob with its version."""
        with self._lock:
            data = self._blobs.get(name)
        return None if data is None else VersionedBlob(data, _version(data))

    def replace(self, name: str, data: bytes, expected: str | None) -> str:
        """Write the blob if it has the expected version."""
        with self._lock:
            current = self._blobs.get(check_name(name))
            if (None if current is None else _version(current)) != expected:
                raise BlobConflictError(f"{name} was changed by somebody else")
            self._blobs[name] = bytes(data)
        return _version(data)


def _version(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
