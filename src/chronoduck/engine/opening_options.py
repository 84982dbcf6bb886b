"""How the database file is opened: by a start, and by whoever finds out whether one would succeed."""

from __future__ import annotations

__all__ = ["OPENING_OPTIONS"]

OPENING_OPTIONS: dict[str, str | bool | int | float | list[str]] = {
    "allow_unsigned_extensions": "false",
    "python_enable_replacements": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "allow_community_extensions": "false",
    "errors_as_json": "true",
    "wal_autocheckpoint": "1TB",  # see engine/checkpoints.py
}
