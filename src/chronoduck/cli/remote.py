"""A running service by HTTP, with its problems as this program's errors."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx2
import orjson

from chronoduck.errors import DuckDBException, EngineRestartedError, ServiceUnavailableError

__all__ = ["RemoteProblem", "RemoteService"]

_PREFIX = "/api/v1/duckdb"
_ATTEMPTS = 3
"""While the service's process is replaced it answers that nothing was done: ask the next one."""


class RemoteProblem(DuckDBException):
    """A problem that the service answered."""

    def __init__(self, fields: dict[str, Any]) -> None:
        position = fields.get("position")
        where = f" (line {position['line']}, column {position['column']})" if position else ""
        super().__init__(f"{fields['detail']}{where}", hint=fields.get("hint", ""))
        self.code = fields["code"]  # type: ignore[misc] # the service's, not this class's
        self.exit_code = _exit_code(self.code)  # type: ignore[misc]


def _exit_code(code: str) -> int:
    """Return the exit code that this program has for an error's code."""
    classes = [DuckDBException]
    for each in classes:
        if each.code == code:
            return each.exit_code
        classes += each.__subclasses__()
    return 1


class RemoteService:
    """Calls the API of one service."""

    def __init__(self, url: str, token: str | None, verify: ssl.SSLContext | bool = True) -> None:
        self.url = url.rstrip("/")
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        # Statements have deadlines of their own; only the connection attempt is bounded here.
        self._client = httpx2.Client(
            base_url=self.url + _PREFIX,
            headers=headers,
            timeout=httpx2.Timeout(None, connect=5.0),
            trust_env=False,
            verify=verify,
        )

    @contextmanager
    def _unreachable(self) -> Iterator[None]:
        try:
            yield
        except httpx2.RemoteProtocolError as error:
            raise ServiceUnavailableError(
                f"the service at {self.url} broke the answer off before its end: {error}",
                hint="The result is not complete; the service's log tells why. Run it again.",
            ) from error
        except httpx2.TransportError as error:
            raise ServiceUnavailableError(
                f"no service answers at {self.url}: {error}",
                hint="Start it with `chronoduck serve`, or name it by --url.",
            ) from error

    def call(self, method: str, path: str, **options: Any) -> Any:
        """Return the JSON of an endpoint; health reports are returned whatever their status.

        Raises:
            RemoteProblem: the service answered a problem.
            ServiceUnavailableError: it does not answer.
        """
        for left in reversed(range(_ATTEMPTS)):
            with self._unreachable():
                response = self._client.request(method, path, **options)
            problem = _problem(response)
            if problem is None:
                break
            if not (left and _may_be_repeated(problem, options)):
                raise problem
        return orjson.loads(response.content)

    @contextmanager
    def stream(self, method: str, path: str, **options: Any) -> Iterator[httpx2.Response]:
        """Enter a response whose body is read piece by piece."""
        for left in reversed(range(_ATTEMPTS)):
            with self._unreachable(), self._client.stream(method, path, **options) as response:
                problem = _problem(response)
                if problem is None:
                    yield response
                    return
            if not (left and _may_be_repeated(problem, options)):
                raise problem


def _problem(response: httpx2.Response) -> RemoteProblem | None:
    if response.headers.get("content-type", "").startswith("application/problem+json"):
        return RemoteProblem(orjson.loads(response.read()))
    return None


def _may_be_repeated(problem: RemoteProblem, options: Mapping[str, Any]) -> bool:
    """Whether nothing was done; a body that is read while it is sent is gone, though."""
    return problem.code == EngineRestartedError.code and "content" not in options
