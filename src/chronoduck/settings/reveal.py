"""Settings for a process of our own: as JSON values, secrets in clear."""

from __future__ import annotations

from typing import Any

from pydantic import SecretStr

from chronoduck.settings.service import Settings

__all__ = ["reveal"]


def reveal(settings: Settings) -> dict[str, Any]:
    """Return the settings as JSON values, secrets in clear: only for a pipe to our own child."""
    return {name: _plain(value) for name, value in settings.model_dump().items()}


def _plain(value: Any) -> Any:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, bool | int | float) else str(value)
