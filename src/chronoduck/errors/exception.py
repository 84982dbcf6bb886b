"""The root of the error tree."""

from __future__ import annotations

from typing import ClassVar, Self

__all__ = [
    "DuckDBException",
]


class DuckDBException(Exception):
    """Base of every error that chronoduck raises on purpose."""

    code: ClassVar[str] = "error"
    title: ClassVar[str] = "Error"
    http_status: ClassVar[int] = 500
    exit_code: ClassVar[int] = 1
    retryable: ClassVar[bool] = False
    default_hint: ClassVar[str] = ""

    def __init__(
        self, detail: str, *, hint: str | None = None, operator_detail: str | None = None
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.hint = self.default_hint if hint is None else hint
        self.operator_detail = operator_detail or detail
        self.retry_after_seconds: float | None = None
        self.request_id: str | None = None
        """Of the request that the service answered so; clients of it set it."""
        self.is_recorded = False
        """Whether a statement's record in log and audit trail tells of it."""

    def __str__(self) -> str:
        return self.detail

    def __copy__(self) -> Self:
        """Return an equal error that can be raised on its own, whatever the constructor asks for.

        Several callers may wait for one piece of work: each gets a copy, since raising sets the
        traceback. The default would call the constructor with the message alone.
        """
        twin = type(self).__new__(type(self), *self.args)
        twin.args = self.args
        vars(twin).update(vars(self))
        twin.__cause__, twin.__context__ = self.__cause__, self.__context__
        return twin

    @property
    def is_service_state(self) -> bool:
        """Whether the state of the service stopped it, and not what was asked for."""
        return self.retryable or self.http_status in (409, 429) or self.http_status >= 500

    def keep_state_of(self, cause: DuckDBException) -> None:
        """Answer as ``cause`` would if that is the service's state: who waits may succeed.

        Every error that wraps another one calls it, so that a full disk or a queue never becomes
        the caller's fault on the way out.
        """
        if cause.is_service_state:
            names = (
                "code",
                "title",
                "http_status",
                "exit_code",
                "retryable",
                "retry_after_seconds",
            )
            vars(self).update({name: getattr(cause, name) for name in names})
