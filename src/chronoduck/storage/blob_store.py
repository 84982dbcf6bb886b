"""What every store of blobs can do, and how it fails."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from chronoduck.errors import DuckDBException

__all__ = [
    "BlobConflictError",
    "BlobInfo",
    "BlobNotFoundError",
    "BlobStore",
    "StoreError",
    "VersionedBlob",
    "check_name",
]

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*(/[a-z0-9][a-z0-9._-]*)*")


class StoreError(DuckDBException):
    """The store could not be reached, refused or broke off; nothing is known about the write."""

    code = "store_unavailable"
    title = "Store unavailable"
    http_status = 503
    exit_code = 69
    retryable = True
    default_hint = "Check the store's address, keys, free space and network; then try again."


class BlobNotFoundError(StoreError):
    """No blob has that name."""

    code = "blob_not_found"
    title = "No such blob"
    exit_code = 66
    retryable = False


class BlobConflictError(StoreError):
    """The blob is not in the version that the write expected; nothing was written."""

    code = "blob_conflict"
    title = "Blob changed by somebody else"
    exit_code = 75


@dataclass(frozen=True)
class BlobInfo:
    """One line of a listing."""

    name: str
    size: int
    """Bytes."""
    version: str = ""
    """Another one whenever the blob was written again, as far as the store tells."""


@dataclass(frozen=True)
class VersionedBlob:
    """A blob and the version that a conditional write names."""

    data: bytes
    version: str


class BlobStore(Protocol):
    """Immutable blobs by name (lower case, ``/`` between parts); safe from any thread.

    Every method raises :class:`StoreError` when the store fails. A ``put`` that returned is durable
    and visible to every later call of any process; one that raised may or may not have happened.
    """

    @property
    def url(self) -> str:
        """Where the store is, for people; without secrets."""
        ...

    def put(self, name: str, data: bytes) -> None:
        """Write the blob whole, or not at all."""
        ...

    def get(self, name: str) -> bytes:
        """Return the blob. Raises BlobNotFoundError."""
        ...

    def list(self, prefix: str = "") -> Iterator[BlobInfo]:
        """Yield the blobs whose names begin with ``prefix``, which ends with ``/`` or is empty.

        In no particular order; a name is yielded once.
        """
        ...

    def delete(self, names: Iterable[str]) -> None:
        """Remove blobs; one that is not there is fine."""
        ...

    def get_versioned(self, name: str) -> VersionedBlob | None:
        """Return the blob with its version, None when there is none."""
        ...

    def replace(self, name: str, data: bytes, expected: str | None) -> str:
        """Write the blob if its version is ``expected`` (None: if there is none); return the new one.

        Raises:
            BlobConflictError: it has another version.
        """
        ...


def check_name(name: str) -> str:
    """Return the name if it is one; raises ValueError, for a name comes from our own code."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not a blob's name")
    return name
