"""Where the database and its service are, found without reading all settings.

Reading them takes longer than a command that only asks; a test compares both ways.
"""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["certificate_place", "database_place", "token_place"]

_DEFAULT = "/var/lib/duckdb/chrono_analytics.db"


def database_place(named: Path | None) -> Path:
    """Return the database file: the named one, else that of the environment, else the default."""
    place = _absolute(named or _variable("DUCKDB_DATABASE_PATH") or _DEFAULT)
    return place.resolve() if place.is_symlink() else place


def token_place(database: Path) -> Path:
    """Return the file of the admin token of a database's service."""
    return database.parent / "admin.token"


def certificate_place() -> Path | None:
    """Return the certificate of a service with this environment, None when it has none."""
    named = _variable("DUCKDB_TLS_CERT_FILE")
    return _absolute(named) if named else None


def _absolute(path: str | Path) -> Path:
    return Path(path).expanduser().absolute()


def _variable(name: str) -> str:
    """Return a variable as the settings read it: in either case, the empty text when it is unset."""
    return next((value for key, value in os.environ.items() if key.upper() == name and value), "")
