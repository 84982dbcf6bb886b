"""Words near which secrets stand: ``password``, ``token``, ``ATTACH``, ``key =``."""

from __future__ import annotations

from collections.abc import Iterator

from chronoduck.sql.masking.runs import Runs, lower

__all__ = ["SCHEMES", "SPACES", "WORDS", "is_telling", "telling_words"]

WORDS = Runs(lambda sign: sign.isalnum() or sign == "_")
SPACES = Runs(str.isspace)

SCHEMES = frozenset("bearer basic digest token negotiate apikey".split())
"""Words before a credential in a header ``Authorization``."""

_KINDS_OF_KEY = (
    *(
        "api",
        "access",
        "private",
        "encryption",
        "account",
        "shared",
        "signing",
        "service",
        "master",
    ),
    *("license", "auth", "deploy", "ssh", "gpg", "hmac", "aes", "ssl", "tls", "client", "license"),
)
_ANYWHERE = (
    *("passw", "passphrase", "pwd", "secret", "token", "credential", "signature", "authoriz"),
    *("bearer", "cookie", "http_header", "http-header", "connection_string", "connectionstring"),
    *("connection-string", "connection string", "postgres", "mysql", "keyid", "key_id", "key-id"),
    *(f"{kind}{between}key" for kind in _KINDS_OF_KEY for between in ("", "_", "-", " ")),
)
_ALONE = ("dsn", "attach", "pw", "pass", "auth", "sig", "psk", "otp", "pin", "creds", "cred")
"""Telling as a word, or as the last part of a name: ``db_pass``, but not ``compass``."""


def is_telling(text: str) -> bool:
    """Whether a secret may stand anywhere in the text."""
    low = lower(text)
    return any(word in low for word in _ANYWHERE) or any(True for _ in _alone(low))


def telling_words(text: str) -> list[tuple[int, int]]:
    """Return start and end of the telling words, by their starts; some may overlap."""
    low = lower(text)
    found = list(_alone(low))
    for word in _ANYWHERE:
        at = low.find(word)
        while at >= 0:
            found.append((at, at + len(word)))
            at = low.find(word, at + len(word))
    found.sort()
    return found


def _alone(low: str) -> Iterator[tuple[int, int]]:
    """Yield the telling words that stand alone, and ``key`` before a sign that gives it a value."""
    for word in _ALONE:
        at = low.find(word)
        while at >= 0:
            end = at + len(word)
            if not low[end : end + 1].isalnum() and not (at and low[at - 1].isalnum()):
                yield at, end
            at = low.find(word, end)
    at = low.find("key")
    if at < 0:
        return
    spaces = SPACES.of(low)
    while at >= 0:
        end = at + len("key")
        sign = end + 1 if low[end : end + 1] in ("'", '"', "`", "\\") else end
        sign = spaces.end(sign)
        if low[sign : sign + 1] in ("=", ":") and not (at and _is_part(low[at - 1])):
            yield at, end
        at = low.find("key", end)


def _is_part(sign: str) -> bool:
    return sign.isalnum() or sign == "_"
