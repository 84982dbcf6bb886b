"""A store for an address."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

from chronoduck.errors import SettingsError
from chronoduck.settings import Settings
from chronoduck.storage.blob_store import BlobStore
from chronoduck.storage.directory import DirectoryBlobStore
from chronoduck.storage.s3 import S3BlobStore, S3Location
from chronoduck.storage.web import shown_url

__all__ = ["open_store", "s3_store"]

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]")
"""Anything else could name a server or hold a password."""


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
    scheme, _, rest = url.partition("://")
    if scheme != "s3":
        raise SettingsError(
            f"{shown_url(url)} is not a store that is known here",
            hint="Name a directory or s3://bucket/prefix.",
        )
    bucket, _, prefix = rest.partition("/")
    if not _BUCKET.fullmatch(bucket):
        raise SettingsError(
            f"{shown_url(url)} is not the address of a bucket",
            hint="Write s3://bucket/prefix; keys are set by AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, another server by DUCKDB_REPLICA_ENDPOINT.",
        )
    key, secret = settings.aws_access_key_id, settings.aws_secret_access_key
    token = settings.aws_session_token
    return S3BlobStore(
        S3Location(
            bucket=bucket,
            prefix=prefix.strip("/"),
            region=settings.aws_default_region,
            endpoint=settings.replica.endpoint,
            access_key_id=key.get_secret_value() if key else None,
            secret_access_key=secret.get_secret_value() if secret else None,
            session_token=token.get_secret_value() if token else None,
        )
    )
