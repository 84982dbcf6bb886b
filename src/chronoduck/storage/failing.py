"""A store that fails on purpose: what drills and tests put in front of a real one."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from chronoduck.storage.blob_store import BlobInfo, BlobStore, StoreError, VersionedBlob

__all__ = ["FailingBlobStore"]

T = TypeVar("T")


class FailingBlobStore:
    """Passes calls on, some of which fail: before they reach the store, or after they took effect.

    ``failure_rate`` (0..1) may be changed while it is used; ``delay_seconds`` slows every call.
    """

    def __init__(
        self,
        store: BlobStore,
        *,
        failure_rate: float = 0.5,
        delay_seconds: float = 0.0,
        seed: int | None = None,
    ) -> None:
        self._store = store
        self._random = random.Random(seed)  # noqa: S311 - not for secrets
        self.failure_rate = failure_rate
        self.delay_seconds = delay_seconds
        self.failures = 0

    @property
    def url(self) -> str:
        """Where the store behind it is."""
        return self._store.url

    def _call(self, call: Callable[[], T]) -> T:
        if self.delay_seconds:
            time.sleep(self.delay_seconds)
        if self._random.random() >= self.failure_rate:
            return call()
        self.failures += 1
        if self._random.random() < 0.5:
            call()  # it happened, and the answer was lost
        raise StoreError(f"{self.url} did not answer (made to fail)")

    def put(self, name: str, data: bytes) -> None:
        """Write the blob, or fail."""
        self._call(lambda: self._store.put(name, data))

    def get(self, name: str) -> bytes:
        """Return the blob, or fail."""
        return self._call(lambda: self._store.get(name))

    def list(self, prefix: str = "") -> Iterator[BlobInfo]:
        """Yield a listing, or fail before its first line."""
        yield from self._call(lambda: list(self._store.list(prefix)))

    def delete(self, names: Iterable[str]) -> None:
        """Remove blobs, or fail."""
        self._call(lambda: self._store.delete(names))

    def get_versioned(self, name: str) -> VersionedBlob | None:
        """Return the blob with its version, or fail."""
        return self._call(lambda: self._store.get_versioned(name))

    def replace(self, name: str, data: bytes, expected: str | None) -> str:
        """Write the blob if it has the expected version, or fail."""
        return self._call(lambda: self._store.replace(name, data, expected))
