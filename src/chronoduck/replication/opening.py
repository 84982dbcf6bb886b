"""An archive from settings or an address."""

from __future__ import annotations

from pathlib import Path

from chronoduck.errors import SettingsError
from chronoduck.replication.archive import Archive
from chronoduck.replication.envelope import Envelope
from chronoduck.replication.local_state import LocalState
from chronoduck.settings import Settings
from chronoduck.storage import TimedBlobStore, open_store

__all__ = ["find_archive", "open_archive"]


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


def find_archive(settings: Settings, url: str | None) -> Archive:
    """Return the replica at ``url``, of the settings, or that the service last shipped to; for commands.

    Raises:
        SettingsError: see ``open_archive``.
    """
    return open_archive(
        settings, url or settings.replica.url or _remembered(settings.database_path)
    )


def _remembered(database: Path) -> str | None:
    """Return where the service that owns the database ships it to, as its note beside the file says."""
    note = LocalState.read(database)
    return note.url or None if note else None
