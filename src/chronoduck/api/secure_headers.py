"""What every answer tells the browser it reaches, so that no page can be made of our data."""

from __future__ import annotations

__all__ = ["SECURE_HEADERS", "secured"]

_Headers = list[tuple[bytes, bytes]]

SECURE_HEADERS: _Headers = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cache-control", b"no-store"),
]
"""For data; an answer that needs another value brings its own."""
_HSTS = (b"strict-transport-security", b"max-age=31536000")


def secured(given: _Headers, scheme: str) -> _Headers:
    """Return an answer's headers with those added that it does not bring itself."""
    names = {name for name, _ in given}
    headers = [*given, *(header for header in SECURE_HEADERS if header[0] not in names)]
    if scheme == "https":
        headers.append(_HSTS)
    return headers
