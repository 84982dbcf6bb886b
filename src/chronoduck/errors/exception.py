"""The root of the error tree."""

from __future__ import annotations

from typing import ClassVar

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
