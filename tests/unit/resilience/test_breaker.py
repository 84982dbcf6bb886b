"""The circuit breaker step by step, on a simulated clock."""

import pytest

from chronoduck.errors import CircuitBreakerOpenException
from chronoduck.resilience.breaker import BreakerState, CircuitBreaker, CircuitBreakerConfig


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> CircuitBreaker:
    config = CircuitBreakerConfig(failure_threshold=3, success_threshold=2, jitter_ratio=0.0)
    return CircuitBreaker("duckdb", config, clock=clock)


def fail(breaker: CircuitBreaker, times: int = 1) -> None:
    for _ in range(times):
        breaker.record_failure(breaker.before_call(), "disk on fire")


def test_it_opens_at_the_threshold_and_says_why(breaker: CircuitBreaker) -> None:
    fail(breaker, 2)
    assert breaker.state is BreakerState.CLOSED
    fail(breaker)
    assert breaker.state is BreakerState.OPEN
    with pytest.raises(CircuitBreakerOpenException, match="disk on fire") as caught:
        breaker.before_call()
    assert caught.value.retry_after_seconds == pytest.approx(30)
    assert "breaker reset" in caught.value.hint


def test_failures_older_than_the_window_do_not_count(breaker: CircuitBreaker, clock: Clock) -> None:
    fail(breaker, 2)
    clock.now += 61
    fail(breaker, 2)
    assert breaker.state is BreakerState.CLOSED


def test_a_success_between_failures_does_not_hide_them(breaker: CircuitBreaker) -> None:
    fail(breaker, 2)
    breaker.record_success(breaker.before_call(), 0.1)
    fail(breaker)
    assert breaker.state is BreakerState.OPEN


def test_users_errors_never_open_it(breaker: CircuitBreaker) -> None:
    for _ in range(1000):
        breaker.record_neutral(breaker.before_call())
    assert breaker.get_status()["failure_count"] == 0


def test_trials_close_it(breaker: CircuitBreaker, clock: Clock) -> None:
    fail(breaker, 3)
    clock.now += 30
    for _ in range(2):
        breaker.record_success(breaker.before_call(), 0.1)
    assert breaker.state is BreakerState.CLOSED
    assert breaker.get_status()["failure_count"] == 0


def test_a_failed_trial_doubles_the_wait_up_to_the_cap(
    breaker: CircuitBreaker, clock: Clock
) -> None:
    fail(breaker, 3)
    waits = []
    for _ in range(8):
        waits.append(breaker.get_status()["seconds_until_retry"])
        clock.now += waits[-1]
        fail(breaker)
    assert waits == [30, 60, 120, 240, 300, 300, 300, 300]


def test_only_a_few_trials_pass_at_a_time(breaker: CircuitBreaker, clock: Clock) -> None:
    fail(breaker, 3)
    clock.now += 30
    permits = [breaker.before_call() for _ in range(3)]
    with pytest.raises(CircuitBreakerOpenException):
        breaker.before_call()
    breaker.record_neutral(permits[0])
    breaker.before_call()


def test_late_results_of_calls_from_before_do_not_count(
    breaker: CircuitBreaker, clock: Clock
) -> None:
    early = [breaker.before_call() for _ in range(4)]
    fail(breaker, 3)
    clock.now += 30
    trial = breaker.before_call()
    breaker.record_failure(early[0], "late")
    breaker.record_success(early[1], 0.1)
    breaker.record_success(early[2], 0.1)
    assert breaker.state is BreakerState.HALF_OPEN
    breaker.record_success(trial, 0.1)
    assert breaker.state is BreakerState.HALF_OPEN


def test_a_reset_closes_it_and_starts_the_backoff_anew(
    breaker: CircuitBreaker, clock: Clock
) -> None:
    fail(breaker, 3)
    clock.now += 30
    fail(breaker)
    breaker.reset()
    breaker.record_success(breaker.before_call(), 0.1)
    fail(breaker, 3)
    assert breaker.get_status()["seconds_until_retry"] == 30


def test_an_operator_can_force_it(breaker: CircuitBreaker) -> None:
    breaker.force_open("maintenance")
    with pytest.raises(CircuitBreakerOpenException, match="maintenance"):
        breaker.before_call()
    breaker.force_closed()
    breaker.before_call()


def test_who_forces_it_may_say_why(breaker: CircuitBreaker) -> None:
    reasons: list[str] = []
    breaker.add_listener(lambda old, new, reason: reasons.append(reason))
    breaker.force_open("the disk is being replaced")
    breaker.force_closed("the disk was replaced")
    assert reasons == ["the disk is being replaced", "the disk was replaced"]


def test_listeners_hear_every_change(breaker: CircuitBreaker, clock: Clock) -> None:
    heard: list[tuple[str, str]] = []
    breaker.add_listener(lambda old, new, reason: heard.append((old, new)))
    fail(breaker, 3)
    clock.now += 30
    for _ in range(2):
        breaker.record_success(breaker.before_call(), 0.1)
    assert heard == [("closed", "open"), ("open", "half_open"), ("half_open", "closed")]


def test_its_status_has_the_names_that_clients_read(breaker: CircuitBreaker) -> None:
    fail(breaker, 3)
    status = breaker.get_status()
    assert status["name"] == "duckdb"
    assert status["state"] == "open"
    assert status["next_attempt_time"].startswith("2")
    assert status["config"].keys() == {"failure_threshold", "success_threshold", "timeout_seconds"}
    assert status["metrics"].keys() == {
        "total_requests",
        "successful_requests",
        "failed_requests",
        "success_rate",
        "circuit_open_count",
        "avg_response_time",
        "last_failure_time",
        "last_success_time",
    }
