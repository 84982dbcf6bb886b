"""A store for an address."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from chronoduck.errors import SettingsError
from chronoduck.settings import Settings
from chronoduck.storage.blob_store import BlobStore
from chronoduck.storage.directory import DirectoryBlobStore
from chronoduck.storage.s3 import S3BlobStore, S3Location

__all__ = ["open_store"]


def open_store(url: str, settings: Settings) -> BlobStore:
    """Return the store at a directory or ``s3://bucket/prefix``; sends and writes nothing.

    Raises:
        SettingsError: the address is of another kind, or an extra is missing.
    """
    parts = urlsplit(url)
    if parts.scheme == "s3":
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
    if parts.scheme not in ("", "file"):
        raise SettingsError(
            f"{url} is not a store that is known here",
            hint="Name a directory or s3://bucket/prefix.",
        )
    path = Path(parts.path if parts.scheme else url).expanduser()
    return DirectoryBlobStore(path)
