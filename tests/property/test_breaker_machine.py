"""The circuit breaker against a model, on a simulated clock."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from chronoduck.errors import CircuitBreakerOpenException
from chronoduck.resilience.breaker import (
    BreakerState,
    CircuitBreaker,
    CircuitBreakerConfig,
    Permit,
)

CONFIG = CircuitBreakerConfig(
    failure_threshold=3,
    success_threshold=2,
    timeout_seconds=10,
    max_timeout_seconds=80,
    window_seconds=60,
    half_open_max_calls=2,
    jitter_ratio=0.2,
)


class BreakerMachine(RuleBasedStateMachine):
    """The model: the failures of the window, the trials in flight, the time it opened."""

    permits = Bundle("permits")

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.breaker = CircuitBreaker(
            config=CONFIG, clock=lambda: self.now, random=lambda: (self.now * 7919) % 1.0
        )
        self.failures: list[float] = []
        self.opened_at = 0.0
        self.last_wait = 0.0
        self.failed_trials = 0
        self.open_trials: set[int] = set()
        self.ids: dict[int, Permit] = {}
        self.breaker.add_listener(self._changed)

    def _changed(self, old: BreakerState, new: BreakerState, reason: str) -> None:
        assert old != new or new in (BreakerState.OPEN, BreakerState.CLOSED)
        assert reason
        self.open_trials.clear()
        if new is BreakerState.OPEN:
            self.opened_at = self.now
            self.last_wait = self.breaker.get_status()["seconds_until_retry"]

    @rule(seconds=st.floats(min_value=0, max_value=100))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(target=permits)
    def call(self) -> tuple[int, Permit] | None:
        state, waited = self.breaker.state, self.now - self.opened_at
        try:
            permit = self.breaker.before_call()
        except CircuitBreakerOpenException as error:
            assert state is not BreakerState.CLOSED
            if state is BreakerState.OPEN:
                assert waited <= self.last_wait + 1e-3
            else:
                assert len(self.open_trials) >= CONFIG.half_open_max_calls
            assert error.retry_after_seconds
            assert error.retry_after_seconds <= CONFIG.max_timeout_seconds
            return None
        if self.breaker.state is BreakerState.HALF_OPEN:
            self.open_trials.add(id(permit))
            assert len(self.open_trials) <= CONFIG.half_open_max_calls
        self.ids[id(permit)] = permit  # keeps the object, so that its id stays its own
        return id(permit), permit

    @rule(held=consumes(permits), outcome=st.sampled_from(["success", "failure", "neutral"]))
    def end(self, held: tuple[int, Permit] | None, outcome: str) -> None:
        if held is None:
            return
        key, permit = held
        was_trial = key in self.open_trials
        self.open_trials.discard(key)
        before = self.breaker.state
        if outcome == "success":
            self.breaker.record_success(permit, 0.01)
        elif outcome == "failure":
            self.breaker.record_failure(permit, "broken")
        else:
            self.breaker.record_neutral(permit)
        after = self.breaker.state
        if outcome == "neutral":
            assert after is before
        if was_trial and outcome == "failure":
            assert after is BreakerState.OPEN
        if before is BreakerState.OPEN:
            assert after is BreakerState.OPEN, "a late result changes nothing"
        if before is BreakerState.CLOSED and after is BreakerState.OPEN:
            assert outcome == "failure"

    @rule()
    def reset(self) -> None:
        self.breaker.reset()
        assert self.breaker.state is BreakerState.CLOSED
        assert self.breaker.get_status()["failure_count"] == 0

    @rule()
    def force_open(self) -> None:
        self.breaker.force_open("maintenance")

    @invariant()
    def an_open_breaker_always_tries_again(self) -> None:
        assert self.breaker.get_status()["seconds_until_retry"] <= CONFIG.max_timeout_seconds

    @invariant()
    def a_closed_breaker_has_fewer_failures_than_the_threshold(self) -> None:
        if self.breaker.state is BreakerState.CLOSED:
            assert self.breaker.get_status()["failure_count"] < CONFIG.failure_threshold


TestBreakerMachine = BreakerMachine.TestCase
TestBreakerMachine.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)


def test_jitter_stays_within_its_ratio_and_the_cap() -> None:
    for number in (0.0, 0.5, 0.999):
        breaker = CircuitBreaker(config=CONFIG, clock=lambda: 0.0, random=lambda n=number: n)
        breaker.force_open("x")
        assert breaker.get_status()["seconds_until_retry"] == pytest.approx(10, rel=0.2001)
