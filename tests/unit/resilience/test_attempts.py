"""Failed attempts: the wait grows, ends, and hits nobody else."""

from __future__ import annotations

from chronoduck.resilience.attempts import AttemptLimit


def limit() -> AttemptLimit:
    return AttemptLimit(max_failures=3, first_wait=1.0, max_wait=30.0)


def test_the_first_failures_cost_no_wait_and_then_it_doubles_up_to_the_longest() -> None:
    attempts, now = limit(), 0.0
    waits = []
    for _ in range(10):
        waits.append(attempts.fail("a", "t", now))
        now += waits[-1]
        assert attempts.wait("a", "t", now) == 0.0
    assert waits == [0.0, 0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]


def test_a_wait_does_not_grow_by_being_asked_about() -> None:
    attempts = limit()
    for _ in range(3):
        attempts.fail("a", "t", 0.0)
    assert [attempts.wait("a", "t", 0.25 * n) for n in range(5)] == [1.0, 0.75, 0.5, 0.25, 0.0]


def test_other_origins_and_other_targets_do_not_wait() -> None:
    attempts = limit()
    for _ in range(50):
        attempts.fail("a", "t", 0.0)
    assert attempts.wait("a", "t", 0.0) > 0
    assert attempts.wait("b", "t", 0.0) == attempts.wait("a", "u", 0.0) == 0.0


def test_who_has_proven_to_have_the_secret_does_not_wait_for_a_guessing_neighbour() -> None:
    attempts = limit()
    attempts.succeed("a", "t", 0.0)
    for _ in range(50):
        attempts.fail("a", "t", 1.0)
    assert attempts.wait("a", "t", 2.0) == 0.0
    for _ in range(50):
        attempts.fail("a", "t", 3_601.0)
    assert attempts.wait("a", "t", 3_602.0) > 0.0  # that was more than an hour ago


def test_a_success_ends_the_wait() -> None:
    attempts = limit()
    for _ in range(5):
        attempts.fail("a", "t", 0.0)
    attempts.succeed("a", "t", 10.0)
    assert attempts.fail("a", "t", 10.0) == 0.0


def test_after_a_quiet_time_it_begins_anew() -> None:
    attempts = limit()
    for _ in range(5):
        attempts.fail("a", "t", 0.0)
    assert attempts.fail("a", "t", 5_000.0) == 0.0


def test_memory_is_bounded_whoever_comes() -> None:
    attempts = limit()
    for number in range(50_000):
        attempts.fail(f"10.0.{number >> 8}.{number & 255}", "t", 0.0)
    assert len(attempts) == 20_000


def test_the_number_of_failures_never_overflows() -> None:
    attempts = limit()
    for number in range(5_000):
        attempts.fail("a", "t", float(number))
    assert 0 < attempts.wait("a", "t", 5_000.0) <= 30.0
