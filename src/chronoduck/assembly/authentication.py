"""The door's keeper, built from settings: the admin token, the keys, the platform's tokens."""

from __future__ import annotations

from chronoduck.auth.admin_token import AdminToken
from chronoduck.auth.authentication import Authenticator
from chronoduck.auth.key_file import KeyFile
from chronoduck.auth.key_ring import KeyRing
from chronoduck.errors import SettingsError
from chronoduck.resilience.attempts import AttemptLimit
from chronoduck.settings import Settings

__all__ = ["open_authenticator"]


def open_authenticator(settings: Settings) -> Authenticator:
    """Return what tells who asks; makes the admin token when there is none. Reads files.

    Raises:
        DatabasePermissionError: a file of tokens is open to others, damaged or cannot be written.
        SettingsError: the package for the platform's tokens is missing.
    """
    limit = settings.auth
    platform = None
    if settings.jwt.algorithm is not None:
        try:
            from chronoduck.auth.platform_tokens import JwtTokens  # noqa: PLC0415 - optional
        except ImportError as error:
            raise SettingsError(
                f"DUCKDB_JWT_ALGORITHM is set, but a package is missing: {error}",
                hint="pip install 'chronoduck[jwt]'",
            ) from error
        platform = JwtTokens(settings.jwt)
    return Authenticator(
        AdminToken.load_or_create(settings.token_path),
        KeyRing(KeyFile(settings.keys_path)),
        platform,
        AttemptLimit(limit.max_failures, limit.first_wait, limit.max_wait),
    )
