"""Whom a command believes to be the service, when it talks to it over https."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

from chronoduck.errors import SettingsError

__all__ = ["trust"]

_CA_FILE = "CHRONODUCK_CA_FILE"
_END = "-----END CERTIFICATE-----"


def trust(url: str, own: Path | None = None) -> ssl.SSLContext | bool:
    """Return how the certificate at ``url`` is checked.

    By the authorities in ``CHRONODUCK_CA_FILE``, else by the system's. ``own`` is the certificate of
    a service on this machine that was found by its lock file: it is accepted under any name, and no
    other one, for nobody gets one for 127.0.0.1.

    Raises:
        SettingsError: a file of certificates cannot be used.
    """
    if not url.startswith("https://"):
        return True
    named = os.environ.get(_CA_FILE)
    if own is None:
        return _context(_CA_FILE, Path(named)) if named else True
    context = _context("DUCKDB_TLS_CERT_FILE", own, only_first=True)
    context.check_hostname = False
    return context


def _context(variable: str, path: Path, *, only_first: bool = False) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        text = path.read_text()
        if only_first:
            # Those behind it sign for others too. The first alone is no authority, and is trusted so.
            text = text.partition(_END)[0] + _END + "\n"
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.load_verify_locations(cadata=text)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise SettingsError(
            f"{variable}: {path} holds no certificates that can be read: {error}",
            hint="It must be PEM and readable for you.",
        ) from error
    return context
