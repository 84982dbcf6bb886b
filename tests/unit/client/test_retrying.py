"""What is sent again, and when."""

from __future__ import annotations

import pytest

from chronoduck.client.problems import ConnectionBrokenError, NobodyThereError, error_of
from chronoduck.client.retrying import Attempts, Repeat, Retries, repeat_of
from chronoduck.errors import (
    DatabaseFailedError,
    DuckDBException,
    DuckDBQueryError,
    EngineRestartedError,
    PenaltyBoxError,
    QueueFullError,
    QuotaExceededError,
    ServiceUnavailableError,
    WriteOutcomeUnknownError,
)

BROKEN = ConnectionBrokenError("cut")
KEY_IN_USE = error_of({"code": "idempotency_key_in_use", "status": 409, "retryable": True})
EVERYBODY = {Repeat.READ, Repeat.WRITE, Repeat.KEYED}


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def attempts(repeat: Repeat, clock: Clock | None = None, **retries: float) -> Attempts:
    return Attempts(Retries(**retries), repeat, clock or Clock(), lambda: 0.5)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("failure", "repeated"),
    [
        (QueueFullError("x"), EVERYBODY),
        (QuotaExceededError("x"), EVERYBODY),
        (EngineRestartedError("x"), EVERYBODY),
        (ServiceUnavailableError("x"), EVERYBODY),
        (BROKEN, {Repeat.READ, Repeat.KEYED}),
        (DatabaseFailedError("x"), {Repeat.READ, Repeat.KEYED}),  # at its commit, perhaps
        (
            error_of({"code": "http_503", "status": 503, "retryable": True}),
            {Repeat.READ, Repeat.KEYED},
        ),
        (KEY_IN_USE, {Repeat.KEYED}),
        (WriteOutcomeUnknownError("x"), set()),
        (PenaltyBoxError("x"), set()),  # the statement would do it again
        (DuckDBQueryError("x"), set()),
        (error_of({"code": "disk_full", "status": 507, "retryable": True}), set()),
    ],
    ids=lambda value: getattr(value, "code", ""),
)
def test_only_what_may_be_repeated_is(failure: DuckDBException, repeated: set[Repeat]) -> None:
    for repeat in Repeat:
        if repeat in repeated:
            assert attempts(repeat).wait_after(failure) >= 0
        else:
            with pytest.raises(DuckDBException):
                attempts(repeat).wait_after(failure)


def test_a_write_whose_connection_broke_has_an_unknown_outcome() -> None:
    with pytest.raises(WriteOutcomeUnknownError) as caught:
        attempts(Repeat.WRITE).wait_after(BROKEN)
    assert caught.value.__cause__ is BROKEN
    with pytest.raises(ConnectionBrokenError):
        attempts(Repeat.READ, attempts=1).wait_after(BROKEN)


def test_waits_grow_and_end_with_the_attempts() -> None:
    tries = attempts(Repeat.READ, attempts=5, first_seconds=1, cap_seconds=4)
    assert [tries.wait_after(BROKEN) for _ in range(4)] == [1, 2, 4, 4]
    with pytest.raises(ConnectionBrokenError):
        tries.wait_after(BROKEN)


def test_a_time_that_the_service_tells_is_waited_for() -> None:
    failure = QuotaExceededError("x")
    failure.retry_after_seconds = 20
    assert attempts(Repeat.WRITE).wait_after(failure) == pytest.approx(21)


def test_at_once_is_believed_once() -> None:
    tries = attempts(Repeat.READ, first_seconds=1)
    assert tries.wait_after(EngineRestartedError("x")) == 0
    assert tries.wait_after(EngineRestartedError("x")) == 2


def test_no_attempt_begins_after_the_total_time() -> None:
    clock = Clock()
    tries = attempts(Repeat.READ, clock, total_seconds=30)
    failure = QuotaExceededError("x")
    failure.retry_after_seconds = 20
    tries.wait_after(failure)
    clock.now += 21
    with pytest.raises(QuotaExceededError):
        tries.wait_after(failure)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1",
        " /* a */ -- b\n  (from t)",
        "WITH a AS (SELECT 1) SELECT * FROM a",
        "VALUES (1)",
        "describe t",
        "SUMMARIZE t",
    ],
)
def test_reads_are_known(sql: str) -> None:
    assert repeat_of(sql) is Repeat.READ


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO t VALUES (1)",
        "WITH a AS (SELECT 1) INSERT INTO t FROM a",
        "SELECT '--', nextval('s')",
        "SELECT /* */ setval('s', 1)",
        "CREATE TABLE t AS SELECT 1",
        "EXPLAIN ANALYZE DELETE FROM t",
        "selected",
        "CALL x()",
        "",
    ],
)
def test_in_doubt_a_statement_is_a_write(sql: str) -> None:
    assert repeat_of(sql) is Repeat.WRITE


def test_an_address_where_nobody_ever_answered_is_not_tried_again() -> None:
    failure = NobodyThereError("refused")
    with pytest.raises(NobodyThereError):
        attempts(Repeat.READ).wait_after(failure, was_reached=False)
    assert attempts(Repeat.READ).wait_after(failure, was_reached=True) >= 0
    assert attempts(Repeat.READ).wait_after(EngineRestartedError("x"), was_reached=False) >= 0
