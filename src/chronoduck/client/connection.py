"""Where the service is, as whom it is asked, and how long silence is borne."""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from chronoduck.client.calls import Call
from chronoduck.client.retrying import Retries
from chronoduck.errors import InvalidRequestError

__all__ = ["Connection"]

PREFIX = "/api/v1/duckdb"
_CONNECT_SECONDS = 5.0
_LONGEST_SECONDS = 300.0
"""A statement's deadline where none is given: what ``DUCKDB_MAX_STATEMENT_TIMEOUT`` is by default."""
_SILENCE_SECONDS = 15.0
"""What an answer may take beyond the statement's deadline."""


@dataclass(frozen=True)
class Connection:
    """What both clients are made with."""

    url: str
    token: str | None = field(repr=False)
    timeout: float | None
    retries: Retries

    @classmethod
    def of(
        cls,
        url: str | None,
        token: str | None,
        token_file: Path | str | None,
        timeout: float | None,
        retries: Retries | None,
    ) -> Connection:
        """Return the connection; what is not given is looked up in the environment.

        Raises:
            InvalidRequestError: no URL is known or it is not one, or two tokens are given.
        """
        url = url or os.environ.get("CHRONODUCK_URL")
        if not url:
            raise InvalidRequestError(
                "no service is named", hint="Give its URL, or set CHRONODUCK_URL."
            )
        _check_url(url)
        if token is not None and token_file is not None:
            raise InvalidRequestError("give a token or a token_file, not both")
        if token_file is not None:
            token = Path(token_file).read_text().strip()
        elif token is None:
            token = os.environ.get("CHRONODUCK_TOKEN") or None
        return cls(url.rstrip("/"), token, timeout, retries or Retries())

    def http_options(self, verify: ssl.SSLContext | str | bool, trust_env: bool) -> dict[str, Any]:
        """Return what the HTTP library's client is made with."""
        headers = {"User-Agent": "chronoduck-client"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        if isinstance(verify, str):
            verify = ssl.create_default_context(cafile=verify)
        return {
            "base_url": self.url + PREFIX,
            "headers": headers,
            "verify": verify,
            "trust_env": trust_env,
        }

    def request_options(self, call: Call[Any]) -> dict[str, Any]:
        """Return what a request is built with, but for the body of an upload."""
        body = call.body
        deadline = call.deadline
        if call.is_statement and deadline is None and self.timeout is not None:
            deadline = self.timeout
            body = {**(body or {}), "timeout_seconds": deadline}
        silence = (deadline or _LONGEST_SECONDS) + _SILENCE_SECONDS
        headers = dict(call.headers)
        if call.upload is not None:
            content = call.upload.content
            size = len(content) if isinstance(content, bytes) else content.stat().st_size
            headers["Content-Length"] = str(size)
        return {
            "method": call.method,
            "url": call.path,
            "params": dict(call.params),
            "headers": headers,
            "json": body,
            "content": call.content,
            "timeout": httpx2.Timeout(
                None if silence == float("inf") else silence, connect=_CONNECT_SECONDS
            ),
        }


def _check_url(url: str) -> None:
    """Refuse at once what no request can be sent to.

    Raises:
        InvalidRequestError: it has no scheme, no host, or no possible port.
    """
    try:
        parts = httpx2.URL(url)
    except (httpx2.InvalidURL, ValueError, TypeError):
        parts = None
    if parts is not None and parts.scheme in ("http", "https") and parts.host:
        return
    guess = url if "://" not in url else url.partition("://")[2]
    raise InvalidRequestError(
        f"{url!r} is not the address of a service", hint=f"Write it with its scheme: http://{guess}"
    )
