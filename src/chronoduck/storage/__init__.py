"""Blob stores: a directory, S3, memory, and one that fails on purpose; and files of the web.

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
from chronoduck.storage.opening import open_store, s3_store
from chronoduck.storage.timed import TimedBlobStore
from chronoduck.storage.web import FetchError, fetch, shown_url

__all__ = [
    "BlobConflictError",
    "BlobInfo",
    "BlobNotFoundError",
    "BlobStore",
    "DirectoryBlobStore",
    "FailingBlobStore",
    "FetchError",
    "FileStore",
    "MemoryBlobStore",
    "StoreError",
    "TimedBlobStore",
    "VersionedBlob",
    "check_name",
    "fetch",
    "open_files",
    "open_store",
    "s3_store",
    "shown_url",
]
