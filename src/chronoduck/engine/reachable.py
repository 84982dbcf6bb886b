"""What statements may reach by their paths: never the service's own files."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from chronoduck.errors import SettingsError
from chronoduck.settings import Settings

__all__ = ["check_reachable"]


def _local_path(url: str | None) -> Path | None:
    """Return the directory that a URL of a replica names, None when it is on another machine."""
    parts = urlsplit(url or "")
    if not url or parts.scheme not in ("", "file"):
        return None
    return Path(parts.path if parts.scheme else url).expanduser().absolute()


def check_reachable(settings: Settings) -> None:
    """Refuse allowed directories in which the service keeps something, or which lie in its own.

    Links are followed: DuckDB compares paths as they are written.

    Raises:
        SettingsError: names the directory, and what a statement could reach there.
    """
    own: dict[str, Path | None] = {
        "the database itself, so that any COPY could overwrite it": settings.database_path,
        "the results of jobs and the key of download links": settings.jobs_path,
        "the admin token": settings.token_path,
        "the API keys": settings.keys_path,
        "the audit trail": settings.audit_path,
        "the query log": settings.query_log_path,
        "the shadow's copy": settings.shadow_path,
        "the use of principals": settings.usage_path,
        "backups": settings.backup.dir,
        "the replica": _local_path(settings.replica.url),
        "the log": settings.log_file,
        "the TLS key": settings.transport.tls_key_file,
    }
    for directory in settings.allowed_directories:
        if "://" in directory:
            continue
        allowed = Path(directory).resolve()
        for what, path in own.items():
            if path is None:
                continue
            place = path.resolve()
            if place.is_relative_to(allowed) or allowed.is_relative_to(place):
                raise SettingsError(
                    f"DUCKDB_ALLOWED_DIRECTORIES: {directory} holds {what} ({path})",
                    hint="Name a directory that holds nothing of the service.",
                )
