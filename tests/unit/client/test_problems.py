"""Problems become the errors that the service raised."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from chronoduck import errors
from chronoduck.api.problems import problem_fields
from chronoduck.client.problems import error_of
from chronoduck.transfer.idempotency import KeyReusedError


def classes(base: type[errors.DuckDBException] = errors.DuckDBException) -> Iterator[type]:
    for each in base.__subclasses__():
        if hasattr(errors, each.__name__):
            yield each
            yield from classes(each)


@pytest.mark.parametrize("kind", list(classes()), ids=lambda kind: kind.__name__)
def test_every_error_comes_back_as_what_it_was(kind: type[errors.DuckDBException]) -> None:
    if kind is errors.BatchError:
        cause = errors.StatementRefusedError("no", rule="read-only")
        raised: errors.DuckDBException = errors.BatchError(1, "DROP", cause, rolled_back=True)
    else:
        raised = kind("what happened", hint="what to do")
    back = error_of(problem_fields(raised, "r1"), ["SELECT 1", "DROP"])
    assert type(back) is kind
    for name in ("detail", "hint", "code", "http_status", "retryable", "title", "exit_code"):
        assert getattr(back, name) == getattr(raised, name), name
    assert back.request_id == "r1"


def test_facts_of_statements_come_along() -> None:
    raised = errors.DuckDBQueryError("x", category="binder", line=2, column=8)
    back = error_of(problem_fields(raised, None))
    assert isinstance(back, errors.DuckDBQueryError)
    assert (back.category, back.line, back.column) == ("binder", 2, 8)
    assert back.operator_detail == "x (line 2, column 8)"


def test_a_batch_tells_which_statement_failed_and_why() -> None:
    cause = errors.StatementRefusedError("no", rule="read-only")
    raised = errors.BatchError(1, "DROP", cause, rolled_back=False)
    back = error_of(problem_fields(raised, None), ["SELECT 1", "DROP"])
    assert isinstance(back, errors.BatchError)
    assert (back.index, back.sql, back.rolled_back) == (1, "DROP", False)
    assert isinstance(back.cause, errors.StatementRefusedError)
    assert back.cause.rule == "read-only"


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, errors.DuckDBQueryError),
        (401, errors.AuthenticationError),
        (403, errors.PermissionDeniedError),
        (404, errors.NotFoundError),
        (422, errors.InvalidRequestError),
        (429, errors.QuotaExceededError),
        (503, errors.DuckDBConnectionError),
        (507, errors.DuckDBResourceError),
        (418, errors.DuckDBException),
    ],
)
def test_an_unknown_code_is_kept_in_the_class_of_its_status(
    status: int, kind: type[errors.DuckDBException]
) -> None:
    back = error_of({"code": "of_tomorrow", "status": status, "detail": "x"})
    assert type(back) is kind
    assert (back.code, back.http_status) == ("of_tomorrow", status)


def test_what_is_to_be_caught_does_not_depend_on_what_else_is_loaded() -> None:
    raised = KeyReusedError("the key came with another request before")
    back = error_of(problem_fields(raised, None))
    assert type(back) is errors.InvalidRequestError
    assert (back.code, back.exit_code) == (raised.code, raised.exit_code)
