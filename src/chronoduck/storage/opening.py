"""A store for an address."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from chronoduck.errors import SettingsError
from chronoduck.settings import Settings
from chronoduck.storage.blob_store import BlobStore
from chronoduck.storage.directory import DirectoryBlobStore
from chronoduck.storage.s3 import S3BlobStore, S3Location

__all__ = ["open_store", "s3_store"]


def open_store(url: str, settings: Settings) -> BlobStore:
    """Return the store at a directory or ``s3://bucket/prefix``; sends and writes nothing.

    Raises:
        SettingsError: the address is of another kind, or an extra is missing.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("", "file"):
        return s3_store(url, settings)
    return DirectoryBlobStore(Path(parts.path if parts.scheme else url).expanduser())


def s3_store(url: str, settings: Settings) -> S3BlobStore:
    """Return the bucket and prefix at ``s3://bucket/prefix``, with the credentials of the settings.

    Raises:
        SettingsError: the address is of another kind, or the extra is missing.
    """
    parts = urlsplit(url)
    if parts.scheme != "s3":
        raise SettingsError(
            f"{url} is not a store that is known here",
            hint="Name a directory or s3://bucket/prefix.",
        )
    if not parts.netloc:
        raise SettingsError(f"{url} names no bucket", hint="Write s3://bucket/prefix.")
    key, secret = settings.aws_access_key_id, settings.aws_secret_access_key
    token = settings.aws_session_token
    return S3BlobStore(
        S3Location(
            bucket=parts.netloc,
            prefix=parts.path.strip("/"),
            region=settings.aws_default_region,
            endpoint=settings.replica.endpoint,
            access_key_id=key.get_secret_value() if key else None,
            secret_access_key=secret.get_secret_value() if secret else None,
            session_token=token.get_secret_value() if token else None,
        )
    )
