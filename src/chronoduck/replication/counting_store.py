"""Counts the calls to a store: what a replica costs, and how often it fails."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from chronoduck.storage import (
    BlobConflictError,
    BlobInfo,
    BlobNotFoundError,
    BlobStore,
    StoreError,
    VersionedBlob,
)

__all__ = ["CountingBlobStore"]

T = TypeVar("T")


class CountingBlobStore:
    """Passes every call on."""

    def __init__(self, store: BlobStore) -> None:
        self._store = store
        self.url = store.url
        self.requests = 0
        self.failures = 0

    def _count(self, call: Callable[[], T]) -> T:
        self.requests += 1
        try:
            return call()
        except (BlobNotFoundError, BlobConflictError):
            raise
        except StoreError:
            self.failures += 1
            raise

    def put(self, name: str, data: bytes) -> None:
        """Write a blob."""
        self._count(lambda: self._store.put(name, data))

    def get(self, name: str) -> bytes:
        """Return a blob."""
        return self._count(lambda: self._store.get(name))

    def list(self, prefix: str = "") -> Iterator[BlobInfo]:
        """Yield a listing."""
        yield from self._count(lambda: list(self._store.list(prefix)))

    def delete(self, names: Iterable[str]) -> None:
        """Remove blobs."""
        self._count(lambda: self._store.delete(names))

    def get_versioned(self, name: str) -> VersionedBlob | None:
        """Return a blob with its version."""
        return self._count(lambda: self._store.get_versioned(name))

    def replace(self, name: str, data: bytes, expected: str | None) -> str:
        """Write a blob of a known version."""
        return self._count(lambda: self._store.replace(name, data, expected))
