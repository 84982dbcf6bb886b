"""What the service takes from an analyzer, which may have been taken over."""

from __future__ import annotations

import pickle

import orjson
import pytest

from chronoduck.engine.analyzers.answers import UnsoundAnswerError, raise_error, read_answer
from chronoduck.engine.analyzers.messages import HEADER, Answer, answer_frame, error_fields
from chronoduck.errors import (
    BatchError,
    DuckDBException,
    DuckDBQueryError,
    InvalidRequestError,
    QueueFullError,
    StatementRefusedError,
)
from chronoduck.sql.definitions import MacroBody, ViewBody
from chronoduck.sql.scopes.names import Names
from chronoduck.sql.statements import StatementParser


def crossed(answer: Answer) -> Answer:
    return read_answer(answer_frame(answer)[HEADER.size :])


def test_every_kind_of_value_arrives_as_it_was_sent() -> None:
    parser = StatementParser()
    for sql in (
        "SELECT $a, $b",
        "INSERT INTO t VALUES (1) RETURNING *",
        "ALTER TABLE t ADD COLUMN c INT",
    ):
        sent = Answer(
            parser.parse(sql),
            Names(tables=frozenset({("a", "b", "c")}), functions=frozenset({"f"}), refusal="no"),
            (
                MacroBody("m", ("x", "y"), "x", is_table=True),
                ViewBody("v", "CREATE VIEW v AS SELECT 1"),
            ),
            cpu_seconds=0.25,
            is_tired=True,
        )
        assert crossed(sent) == sent
    parser.close()


@pytest.mark.parametrize(
    "error",
    [
        DuckDBQueryError(
            "no", hint="do", operator_detail="why", category="parser", line=1, column=2
        ),
        StatementRefusedError("no", rule="files"),
        InvalidRequestError("no"),
        QueueFullError("full"),
    ],
)
def test_errors_arrive_with_their_class_and_fields(error: DuckDBException) -> None:
    with pytest.raises(type(error)) as caught:
        raise_error(crossed(Answer(error=error_fields(error))))
    assert vars(caught.value) == vars(error)
    assert str(caught.value) == str(error)


def test_an_error_is_a_new_one_each_time() -> None:
    answer = crossed(Answer(error=error_fields(StatementRefusedError("no", rule="files"))))
    seen = []
    for _ in range(2):
        with pytest.raises(StatementRefusedError) as caught:
            raise_error(answer)
        seen.append(caught.value)
    assert seen[0] is not seen[1]


class _Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, ("raise SystemExit('an analyzer ran code in the service')",)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"{}x",
        pickle.dumps(_Evil()),
        orjson.dumps({"error": ["SystemExit", [], {}]}),
        orjson.dumps({"error": ["annotations", [], {}]}),
        orjson.dumps({"statement": {"text": 1}}),
        orjson.dumps({"statement": "SELECT 1"}),
        orjson.dumps({"cpu_seconds": "many"}),
    ],
)
def test_what_is_no_answer_is_not_taken(body: bytes) -> None:
    with pytest.raises(UnsoundAnswerError):
        read_answer(body)


def test_an_error_that_wraps_others_is_not_made_of_less() -> None:
    cause = DuckDBQueryError("no")
    fields = error_fields(BatchError(0, "SELECT", cause, rolled_back=True))
    with pytest.raises(TypeError):
        answer_frame(Answer(error=fields))
