"""What follows the end of a server's process."""

from __future__ import annotations

import pytest

from chronoduck.supervision.channel import REPLACE_ME
from chronoduck.supervision.policy import Finish, Restart, RestartPolicy, ServerEnd


@pytest.fixture
def policy() -> RestartPolicy:
    return RestartPolicy(lambda: 0.5)  # the middle of the jitter: none


def end(code: int, served: float | None, *, first: bool = False, told: bool = False) -> ServerEnd:
    return ServerEnd(code, served, is_first=first, was_told_to_end=told)


@pytest.mark.parametrize("code", [64, 65, 69, 70, 74, 75, 77, 78])
def test_the_first_server_that_cannot_start_ends_it_all(policy: RestartPolicy, code: int) -> None:
    assert policy.decide(end(code, None, first=True)) == Finish(code)


def test_a_signal_before_the_first_service_is_told_as_shells_do(policy: RestartPolicy) -> None:
    assert policy.decide(end(-9, None, first=True)) == Finish(137)


@pytest.mark.parametrize("code", [0, 1, -9])
def test_what_was_told_to_end_is_not_started_again(policy: RestartPolicy, code: int) -> None:
    assert isinstance(policy.decide(end(code, 5.0, told=True)), Finish)


def test_a_server_that_ended_well_by_itself_is_not_started_again(policy: RestartPolicy) -> None:
    assert policy.decide(end(0, 100.0)) == Finish(0)


@pytest.mark.parametrize("code", [-9, -6, 1, 70, 75])
def test_a_crash_after_serving_is_followed_by_a_restart_at_once(
    policy: RestartPolicy, code: int
) -> None:
    assert policy.decide(end(code, 3600.0)) == Restart(0.0)
    assert policy.decide(end(code, 1.0)) == Restart(0.0)


def test_servers_that_die_young_are_restarted_later_but_never_much_later(
    policy: RestartPolicy,
) -> None:
    waits = [policy.decide(end(-11, 0.1)) for _ in range(6)]
    assert waits == [Restart(wait) for wait in (0.0, 0.25, 0.5, 1.0, 1.0, 1.0)]
    assert policy.decide(end(-11, 11.0)) == Restart(0.0)
    assert policy.decide(end(-11, 0.1)) == Restart(0.0)


def test_a_server_that_asks_for_its_successor_gets_it_at_once(policy: RestartPolicy) -> None:
    assert [policy.decide(end(REPLACE_ME, 0.5)) for _ in range(5)] == [Restart(0.0)] * 5


@pytest.mark.parametrize("code", [64, 65, 66, 74, 77, 78])
def test_a_successor_that_refuses_to_start_ends_it_all(policy: RestartPolicy, code: int) -> None:
    policy.decide(end(-9, 100.0))
    assert policy.decide(end(code, None)) == Finish(code)


def test_a_successor_that_cannot_start_is_tried_less_and_less_often_and_ten_times(
    policy: RestartPolicy,
) -> None:
    verdicts = [policy.decide(end(75, None)) for _ in range(10)]
    waits = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0)
    assert verdicts == [*(Restart(wait) for wait in waits), Finish(75)]


def test_a_successor_that_serves_makes_failed_starts_forgotten(policy: RestartPolicy) -> None:
    for _ in range(9):
        policy.decide(end(-6, None))
    policy.decide(end(-9, 60.0))
    assert policy.decide(end(-6, None)) == Restart(0.25)


def test_a_server_that_dies_of_opening_is_followed_twice_and_then_told_as_an_io_error(
    policy: RestartPolicy,
) -> None:
    died = ServerEnd(-11, None, is_first=True, was_told_to_end=False, was_opening=True)
    assert [policy.decide(died) for _ in range(3)] == [Restart(0.0), Restart(0.0), Finish(74)]


def test_a_server_that_serves_makes_deaths_of_opening_forgotten(policy: RestartPolicy) -> None:
    died = ServerEnd(-9, None, is_first=False, was_told_to_end=False, was_opening=True)
    assert [policy.decide(died) for _ in range(2)] == [Restart(0.0)] * 2
    policy.decide(end(-9, 60.0))
    assert policy.decide(died) == Restart(0.0)


def test_an_error_while_opening_is_passed_on(policy: RestartPolicy) -> None:
    refused = ServerEnd(65, None, is_first=True, was_told_to_end=False, was_opening=True)
    assert policy.decide(refused) == Finish(65)
