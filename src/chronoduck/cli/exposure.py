"""What lets strangers nearer than they should be; told at start and by the doctor.

Nothing here refuses to start: a container's port must be public inside it, a proxy may end TLS before
it, and a first try as root harms nobody. Authentication cannot be switched off at all.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterator
from dataclasses import dataclass

from chronoduck.settings import Settings

__all__ = ["Exposure", "exposures"]


@dataclass(frozen=True)
class Exposure:
    """What is open, and how it is closed; ``id`` is the event in the log and the doctor's check."""

    id: str
    finding: str
    fix: str


def exposures(settings: Settings) -> Iterator[Exposure]:
    """Yield what the settings and this process's user expose."""
    transport = settings.transport
    is_encrypted = bool(transport.tls_cert_file or transport.trusted_proxies)
    if not is_encrypted and not _is_loopback(settings.host):
        yield Exposure(
            "plain-http",
            f"the port on {settings.host} is not only for this machine and speaks plain http: "
            "whoever is between reads tokens and data",
            "Set DUCKDB_TLS_CERT_FILE and DUCKDB_TLS_KEY_FILE; behind a proxy that speaks https "
            "name it in DUCKDB_TRUSTED_PROXIES; for this machine alone: DUCKDB_HOST=127.0.0.1",
        )
    if any(ipaddress.ip_network(each).prefixlen == 0 for each in transport.trusted_proxies):
        yield Exposure(
            "trust-in-everybody",
            "DUCKDB_TRUSTED_PROXIES names every address: anybody may say who the client is",
            "Name the proxies alone",
        )
    if os.geteuid() == 0:
        yield Exposure(
            "root",
            "the process's user is root: a fault in it is a fault in the whole machine",
            "Run it as a user of its own: sudo useradd --system chronoduck; in a container: USER",
        )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
