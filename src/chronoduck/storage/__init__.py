"""Blob stores: a directory, S3, memory, and one that fails on purpose.

Knows names, bytes and versions. Must not know what the bytes are, nor DuckDB.
"""

from chronoduck.storage.blob_store import (
    BlobConflictError,
    BlobInfo,
    BlobNotFoundError,
    BlobStore,
    StoreError,
    VersionedBlob,
    check_name,
)
from chronoduck.storage.directory import DirectoryBlobStore
from chronoduck.storage.failing import FailingBlobStore
from chronoduck.storage.files import FileStore, open_files
from chronoduck.storage.memory import MemoryBlobStore
from chronoduck.storage.opening import open_store

__all__ = [
    "BlobConflictError",
    "BlobInfo",
    "BlobNotFoundError",
    "BlobStore",
    "DirectoryBlobStore",
    "FailingBlobStore",
    "FileStore",
    "MemoryBlobStore",
    "StoreError",
    "VersionedBlob",
    "check_name",
    "open_files",
    "open_store",
]
