"""The admin token, read from its file by whoever asks a service: a command, and nothing that serves."""

from __future__ import annotations

from pathlib import Path

from chronoduck.errors import AuthenticationError
from chronoduck.errors.system import reason_of

__all__ = ["read_token"]


def read_token(path: Path) -> str:
    """Return the token in the file.

    Raises:
        AuthenticationError: the file is missing or unreadable.
    """
    try:
        return path.read_text().strip()
    except OSError as error:
        raise AuthenticationError(
            f"the token file {path} cannot be read: {reason_of(error)}",
            hint="Run this as the service's user, or pass --token-file or CHRONODUCK_TOKEN.",
        ) from error
