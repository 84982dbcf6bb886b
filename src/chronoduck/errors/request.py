"""What was asked for, who asked, or how the service was set up is at fault; nothing ran."""

from __future__ import annotations

from collections.abc import Iterable

from chronoduck.errors.exception import DuckDBException

__all__ = [
    "AuthenticationError",
    "InvalidRequestError",
    "LoadError",
    "NotFoundError",
    "PenaltyBoxError",
    "PermissionDeniedError",
    "QuotaExceededError",
    "RowFilterError",
    "SettingsError",
    "TemplateError",
    "TemplateNotFoundError",
    "TooManyAttemptsError",
]


class SettingsError(DuckDBException):
    """A setting is unknown or invalid."""

    code = "settings_invalid"
    title = "Invalid setting"
    exit_code = 78


class TemplateError(DuckDBException):
    """A query template is broken; the detail names file and line."""

    code = "template_invalid"
    title = "Broken template"
    exit_code = 78


class TemplateNotFoundError(TemplateError):
    """No template has that name."""

    code = "template_not_found"
    title = "No such template"
    http_status = 404
    exit_code = 66


class RowFilterError(DuckDBException):
    """The row filter of a narrowed principal does not fit its table; the operator has to mend it."""

    code = "row_filter_invalid"
    title = "A row filter cannot be applied"
    http_status = 500
    exit_code = 78
    default_hint = "Tell the operator: the service's log says why."

    @classmethod
    def because(cls, problems: Iterable[str]) -> RowFilterError:
        """Return the error; ``problems`` are for the operator."""
        return cls(
            "what this key sees of the table cannot be said: its row filter does not fit",
            operator_detail="; ".join(problems),
        )


class NotFoundError(DuckDBException):
    """The named table, statement or other object does not exist."""

    code = "not_found"
    title = "Not found"
    http_status = 404
    exit_code = 66


class InvalidRequestError(DuckDBException):
    """The request cannot be understood; nothing was changed."""

    code = "invalid_request"
    title = "Invalid request"
    http_status = 422
    exit_code = 64


class IdempotencyKeyUnsupportedError(InvalidRequestError):
    """The request carries an ``Idempotency-Key`` where the service would not look at it."""

    code = "idempotency_key_unsupported"
    title = "Idempotency-Key is not known here"


class AuthenticationError(DuckDBException):
    """No valid credential came with the request."""

    code = "unauthenticated"
    title = "Authentication required"
    http_status = 401
    exit_code = 77


class PermissionDeniedError(DuckDBException):
    """The credential is valid and does not allow this."""

    code = "forbidden"
    title = "Not allowed"
    http_status = 403
    exit_code = 77


class QuotaExceededError(DuckDBException):
    """The principal used what it may use; ``retry_after_seconds`` tells when it may again."""

    code = "quota_exceeded"
    title = "Quota exceeded"
    http_status = 429
    exit_code = 75
    retryable = True


class PenaltyBoxError(DuckDBException):
    """The principal's statements broke things, and it has to wait; nothing was run."""

    code = "penalty_box"
    title = "In the penalty box"
    http_status = 429
    exit_code = 75
    retryable = True

    def __init__(self, detail: str, *, hint: str | None = None, reason: str = "") -> None:
        """``reason`` is the kind of the last fault, such as ``process_death``."""
        super().__init__(detail, hint=hint)
        self.reason = reason


class TooManyAttemptsError(DuckDBException):
    """Too many invalid credentials came from one address; it has to wait."""

    code = "too_many_attempts"
    title = "Too many attempts"
    http_status = 429
    exit_code = 75
    retryable = True
    default_hint = "Wait as long as Retry-After says, and send a valid token."


class LoadError(DuckDBException):
    """A file cannot be loaded; the detail says how far it got."""

    code = "load_failed"
    title = "Load failed"
    http_status = 422
    exit_code = 65
