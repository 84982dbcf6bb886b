"""Reading what an analyzer answers: it may have been taken over, so that only plain values are taken."""

from __future__ import annotations

from pydantic import TypeAdapter, ValidationError

from chronoduck import errors
from chronoduck.engine.analyzers.messages import Answer
from chronoduck.errors import DuckDBException

__all__ = ["UnsoundAnswerError", "raise_error", "read_answer"]

_ANSWERS = TypeAdapter(Answer)


class UnsoundAnswerError(Exception):
    """An analyzer sent what no analyzer sends."""


def read_answer(body: bytes) -> Answer:
    """Return an analyzer's answer.

    Raises:
        UnsoundAnswerError: it is none.
    """
    try:
        answer = _ANSWERS.validate_json(body)
    except ValidationError as error:
        raise UnsoundAnswerError(f"an analyzer's answer cannot be read: {error!r}"[:500]) from error
    if answer.error is not None and _class_of(answer.error[0]) is None:
        raise UnsoundAnswerError(f"an analyzer named the error {answer.error[0][:100]!r}")
    return answer


def raise_error(answer: Answer) -> None:
    """Raise the error of an answer, if it has one.

    Raises:
        DuckDBException: a new one each time, since a raised error holds all that was alive then.
    """
    if answer.error is None:
        return
    name, args, fields = answer.error
    kind = _class_of(name)
    assert kind is not None  # noqa: S101 - looked at when it was read
    error = kind.__new__(kind, *args)
    error.args = args
    vars(error).update(fields)
    raise error


def _class_of(name: str) -> type[DuckDBException] | None:
    kind = getattr(errors, name, None)
    is_error = isinstance(kind, type) and issubclass(kind, DuckDBException)
    return kind if is_error else None
