"""A store whose listings lag behind: what is written is there, but not listed yet."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator

from chronoduck.storage import BlobInfo, BlobStore, VersionedBlob

__all__ = ["LaggingBlobStore"]


class LaggingBlobStore:
    """Passes calls on. From ``lag`` to ``catch_up``, listings lack a share of what is written."""

    def __init__(self, store: BlobStore, *, seed: int = 1) -> None:
        self._store = store
        self._random = random.Random(seed)
        self._share = 0.0
        self.hidden: set[str] = set()
        """Names that listings lack."""

    @property
    def url(self) -> str:
        """Where the store behind it is."""
        return self._store.url

    def lag(self, share: float = 1.0) -> None:
        """Hide what is written from now on, with this probability each."""
        self._share = share

    def catch_up(self) -> None:
        """Show everything again."""
        self._share = 0.0
        self.hidden.clear()

    def _note(self, name: str) -> None:
        if self._random.random() < self._share:
            self.hidden.add(name)

    def put(self, name: str, data: bytes) -> None:
        """Write the blob, and perhaps do not list it."""
        self._note(name)
        self._store.put(name, data)

    def get(self, name: str) -> bytes:
        """Return the blob, listed or not."""
        return self._store.get(name)

    def list(self, prefix: str = "") -> Iterator[BlobInfo]:
        """Yield what is listed already."""
        for blob in self._store.list(prefix):
            if blob.name not in self.hidden:
                yield blob

    def delete(self, names: Iterable[str]) -> None:
        """Remove blobs."""
        self._store.delete(names)

    def get_versioned(self, name: str) -> VersionedBlob | None:
        """Return the blob with its version."""
        return self._store.get_versioned(name)

    def replace(self, name: str, data: bytes, expected: str | None) -> str:
        """Write the blob if it has the expected version."""
        version = self._store.replace(name, data, expected)
        self._note(name)
        return version
