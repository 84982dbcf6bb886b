"""A running service by HTTP, any endpoint of it."""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx2
import orjson

from chronoduck.client import Client, Retries
from chronoduck.client.calls import Call
from chronoduck.client.problems import connection_errors
from chronoduck.client.retrying import Repeat, repeat_of

__all__ = ["RemoteService"]

_RETRIES = Retries(attempts=3, total_seconds=2.0)
"""Somebody waits at a terminal: only the replacement of the service's process is waited out."""


class RemoteService:
    """Calls the API of one service."""

    def __init__(self, url: str, token: str | None, verify: ssl.SSLContext | bool = True) -> None:
        self._client = Client(url, token=token, retries=_RETRIES, verify=verify)
        self.url = self._client.url

    def call(self, method: str, path: str, **options: Any) -> Any:
        """Return the JSON of an endpoint; health reports are returned whatever their status.

        Raises:
            DuckDBException: the service answered a problem, or does not answer.
        """
        return self._client.send(_call(method, path, **options))

    @contextmanager
    def stream(self, method: str, path: str, **options: Any) -> Iterator[httpx2.Response]:
        """Enter a response whose body is read piece by piece."""
        with (
            self._client.open(_call(method, path, **options)) as response,
            connection_errors(self.url),
        ):
            yield response


def _call(
    method: str,
    path: str,
    *,
    params: Mapping[str, Any] | None = None,
    json: Mapping[str, Any] | None = None,
    content: Iterable[bytes] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Call[Any]:
    repeat = Repeat.READ if method == "GET" else repeat_of((json or {}).get("query", ""))
    return Call(
        method,
        path,
        lambda response: orjson.loads(response.content),
        repeat if content is None else Repeat.NEVER,
        params=params or {},
        body=json,
        content=content,
        headers=headers or {},
        deadline=float("inf"),  # statements have deadlines of their own
        is_checked=False,
    )
