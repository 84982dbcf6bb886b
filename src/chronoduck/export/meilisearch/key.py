"""The API key of a server: read when it is needed, kept nowhere else."""

from __future__ import annotations

import os

from chronoduck.errors.system import reason_of
from chronoduck.export.declaration import MeilisearchDeclaration
from chronoduck.export.failures import ExportServerError

__all__ = ["read_key"]


def read_key(server: MeilisearchDeclaration) -> str | None:
    """Return the key from where the declaration says, None when it names no place.

    Raises:
        ExportServerError: it is not there.
    """
    if not server.key_env and server.key_file is None:
        return None
    where = server.key_env or str(server.key_file)
    try:
        if server.key_file is not None:
            key = server.key_file.read_text().strip()
        else:
            key = os.environ.get(server.key_env, "").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = reason_of(error) if isinstance(error, OSError) else "it is no text"
        raise ExportServerError(
            f"the key of Meilisearch {server.name} cannot be read from {where}: {reason}",
            hint="The service's user must be able to read it.",
        ) from None
    if not key or not key.isascii() or not key.isprintable():
        raise ExportServerError(
            f"the key of Meilisearch {server.name} is not in {where}, or is no key",
            hint="Put an API key with the rights that `chronoduck help meilisearch` lists there.",
        )
    return key
