"""An archive from settings or an address."""

from __future__ import annotations

from chronoduck.errors import SettingsError
from chronoduck.replication.archive import Archive
from chronoduck.replication.envelope import Envelope
from chronoduck.settings import Settings
from chronoduck.storage import TimedBlobStore, open_store

__all__ = ["open_archive"]


def open_archive(
    settings: Settings, url: str | None = None, *, seconds: float | None = None
) -> Archive:
    """Return the replica at ``url``, or the one of the settings; nothing is read yet.

    ``seconds``: how long to wait for each answer of the store; without it as long as it takes.

    Raises:
        SettingsError: there is none, or the address or key is wrong.
    """
    url = url or settings.replica.url
    if url is None:
        raise SettingsError(
            "there is no replica",
            hint="Set DUCKDB_REPLICA_URL to a directory or s3://bucket/prefix, or name one: --from.",
        )
    key = settings.replica.encryption_key
    envelope = Envelope(
        key.get_secret_value() if key else None, level=settings.replica.compression_level
    )
    store = open_store(url, settings)
    return Archive(store if seconds is None else TimedBlobStore(store, seconds), envelope)
