"""TLS from certificate files."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

from chronoduck.errors import SettingsError
from chronoduck.permissions import file_advice
from chronoduck.settings import TransportSettings

__all__ = ["reload_certificate", "tls_context"]


def tls_context(transport: TransportSettings) -> ssl.SSLContext | None:
    """Return the context for TLS 1.2 and newer, or None when there is no certificate.

    Raises:
        SettingsError: a file cannot be read, is open to other users, or is not what it should be.
    """
    certificate, key = transport.tls_cert_file, transport.tls_key_file
    if certificate is None or key is None:
        return None
    _check_readable("DUCKDB_TLS_CERT_FILE", certificate)
    _check_readable("DUCKDB_TLS_KEY_FILE", key)
    mode = key.stat().st_mode & 0o777
    if mode & 0o027:
        raise SettingsError(
            f"DUCKDB_TLS_KEY_FILE: {key} has mode {mode:04o}: other users may read or change it",
            hint=file_advice(key, 0o600),
        )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    try:
        # Without the function OpenSSL would ask for a passphrase on the terminal.
        context.load_cert_chain(certificate, key, password=lambda: b"")
    except (ssl.SSLError, ValueError) as error:
        raise SettingsError(
            f"{certificate} and {key} are not a certificate and its key: {error}",
            hint="Both must be PEM and belong together; the key must have no passphrase.",
        ) from error
    return context


def reload_certificate(context: ssl.SSLContext, transport: TransportSettings) -> None:
    """Have connections from now on get what is in the files now; the present ones go on.

    Raises:
        SettingsError: the files are unusable; the context is as it was.
    """
    tls_context(transport)  # a pair that does not belong together would stay half loaded
    assert transport.tls_cert_file is not None  # noqa: S101 - there is a context
    context.load_cert_chain(transport.tls_cert_file, transport.tls_key_file, lambda: b"")


def _check_readable(variable: str, path: Path) -> None:
    if not path.is_file() or not os.access(path, os.R_OK):
        raise SettingsError(
            f"{variable}: {path} does not exist or cannot be read",
            hint="Check the path, and that the service's user may read it.",
        )
