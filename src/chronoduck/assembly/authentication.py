"""The door's keeper, built from settings: the admin token, the keys, the platform's tokens."""

from __future__ import annotations

from chronoduck.auth.admin_token import AdminToken
from chronoduck.auth.authentication import Authenticator, PlatformTokens
from chronoduck.auth.key_file import KeyFile
from chronoduck.auth.key_ring import KeyRing
from chronoduck.auth.signed_links import SignedLinks
from chronoduck.errors import SettingsError
from chronoduck.resilience.attempts import AttemptLimit
from chronoduck.settings import Settings

__all__ = ["check_credentials", "open_authenticator", "open_links"]


def check_credentials(settings: Settings) -> None:
    """Refuse what ``open_authenticator`` would refuse, before a start has made anything.

    Raises:
        DatabasePermissionError: a file of tokens is open to others or damaged.
        SettingsError: the package for the platform's tokens is missing.
    """
    if settings.token_path.exists():
        AdminToken.load_or_create(settings.token_path)
    KeyFile(settings.keys_path).read()
    open_links(settings).check_key()
    _platform_tokens(settings)


def open_links(settings: Settings) -> SignedLinks:
    """Return what signs links to files."""
    return SignedLinks(settings.jobs_path / "links.key")


def open_authenticator(settings: Settings) -> Authenticator:
    """Return what tells who asks; makes the admin token when there is none. Reads files.

    Raises:
        DatabasePermissionError: a file of tokens is open to others, damaged or cannot be written.
        SettingsError: the package for the platform's tokens is missing.
    """
    open_links(settings).check_key()
    limit = settings.auth
    return Authenticator(
        AdminToken.load_or_create(settings.token_path),
        KeyRing(KeyFile(settings.keys_path)),
        _platform_tokens(settings),
        AttemptLimit(limit.max_failures, limit.first_wait, limit.max_wait),
    )


def _platform_tokens(settings: Settings) -> PlatformTokens | None:
    if settings.jwt.algorithm is None:
        return None
    try:
        from chronoduck.auth.platform_tokens import JwtTokens  # noqa: PLC0415 - optional
    except ImportError as error:
        raise SettingsError(
            f"DUCKDB_JWT_ALGORITHM is set, but a package is missing: {error}",
            hint="pip install 'chronoduck[jwt]'",
        ) from error
    return JwtTokens(settings.jwt)
