"""Who waits after a fault, who runs alone, and who is left in peace; the time is passed in."""

from __future__ import annotations

import json

import pytest

from chronoduck.resilience.penalty_box import PenaltyBox
from chronoduck.resilience.penalty_records import FaultKind, Penalty, Suspect

DEATH = FaultKind.PROCESS_DEATH


def suspect(text: str, *, is_proved: bool = False, is_exempt: bool = False) -> Suspect:
    party, _, shape = text.partition(":")
    return Suspect(party, shape, is_proved=is_proved, is_exempt=is_exempt)


def boxed(found: list[Penalty]) -> set[str]:
    """Return the parties that are boxed as a whole."""
    return {each.party for each in found if not each.shape}


def waits(box: PenaltyBox, now: float, party: str, shape: str = "other") -> float:
    penalty = box.penalty(now, party, lambda: shape)
    return 0.0 if penalty is None else penalty.seconds


def is_alone(box: PenaltyBox, now: float, party: str, shape: str) -> bool:
    return box.must_run_alone(now, party, lambda: shape)


def test_the_only_suspect_of_a_death_waits_and_its_shape_longer_or_as_long() -> None:
    box = PenaltyBox()
    assert boxed(box.note_death(0.0, [suspect("eve:bomb")])) == {"eve"}
    assert waits(box, 0.0, "eve") == 15.0
    assert waits(box, 16.0, "eve") == 0.0
    assert waits(box, 0.0, "bob", "bomb") == 0.0


def test_each_boxing_doubles_the_wait_up_to_a_quarter_of_an_hour() -> None:
    box = PenaltyBox()
    now, found = 0.0, []
    for _ in range(9):
        box.note_death(now, [suspect("eve:bomb")])
        found.append(waits(box, now, "eve"))
        now += found[-1] + 1
    assert found == [15, 30, 60, 120, 240, 480, 900, 900, 900]


def test_an_hour_without_a_fault_begins_from_nothing() -> None:
    box = PenaltyBox()
    box.note_death(0.0, [suspect("eve:bomb")])
    box.note_death(3700.0, [suspect("eve:bomb")])
    assert waits(box, 3700.0, "eve") == 15.0


def test_of_two_suspects_none_is_boxed_and_both_run_alone_next_time() -> None:
    box = PenaltyBox()
    assert box.note_death(0.0, [suspect("eve:bomb"), suspect("bob:report")]) == []
    assert is_alone(box, 1.0, "eve", "bomb")
    assert is_alone(box, 1.0, "bob", "report")
    assert not is_alone(box, 1.0, "bob", "another")
    assert not is_alone(box, 1.0, "amy", "another")


def test_alone_the_guilty_one_is_found_and_the_other_cleared() -> None:
    box = PenaltyBox()
    box.note_death(0.0, [suspect("eve:bomb"), suspect("bob:report")])
    box.note_survived("bob", "report")
    assert not is_alone(box, 1.0, "bob", "report")
    assert boxed(box.note_death(2.0, [suspect("eve:bomb")])) == {"eve"}
    assert waits(box, 2.0, "bob", "report") == 0.0


def test_a_long_report_is_not_boxed_for_two_crashers_beside_it() -> None:
    box = PenaltyBox()
    box.note_death(0.0, [suspect("bob:report"), suspect("eve:bomb")])
    # It is sent again, runs alone for its while, and then somebody else's bomb comes beside it.
    box.note_survived("bob", "report", has_ended=False)
    found = box.note_death(5.0, [suspect("bob:report", is_proved=True), suspect("mal:bomb")])
    assert boxed(found) == set()
    assert boxed(box.note_death(9.0, [suspect("mal:bomb")])) == {"mal"}
    assert boxed(box.note_death(9.5, [suspect("eve:bomb")])) == {"eve"}
    assert waits(box, 10.0, "bob", "report") == 0.0


def test_a_busy_principal_beside_many_crashers_is_watched_and_never_boxed() -> None:
    """Its texts differ each time: no shape of it is ever run again, and none is cleared."""
    box = PenaltyBox()
    for number in range(2):
        found = box.note_death(
            float(number), [suspect(f"bob:report{number}"), suspect(f"eve{number}:bomb")]
        )
        assert boxed(found) == set()
    assert is_alone(box, 2.0, "bob", "anything")
    for number in range(2, 8):
        # What it sends runs alone for its while before anybody is let in beside it.
        found = box.note_death(
            2.0 + number,
            [suspect(f"bob:report{number}", is_proved=True), suspect(f"eve{number}:bomb")],
        )
        assert boxed(found) == set()
    assert waits(box, 10.0, "bob") == 0.0


def test_two_that_are_always_together_are_watched_and_not_boxed() -> None:
    box = PenaltyBox()
    for number in range(4):
        pair = [suspect(f"bob:a{number}"), suspect(f"eve:b{number}")]
        assert boxed(box.note_death(float(number), pair)) == set()
    assert is_alone(box, 5.0, "eve", "new")
    assert boxed(box.note_death(6.0, [suspect("eve:new")])) == {"eve"}


def test_accomplices_that_are_never_alone_are_boxed_together_at_last() -> None:
    box = PenaltyBox()
    for number in range(5):
        found = box.note_death(
            float(number), [suspect(f"mal:a{number}"), suspect(f"eve:b{number}")]
        )
    assert boxed(found) == {"mal", "eve"}


def test_a_suspect_of_more_deaths_than_anybody_else_is_boxed() -> None:
    box = PenaltyBox()
    for number in range(2):
        pair = [suspect(f"eve:b{number}"), suspect(f"user{number}:a")]
        assert boxed(box.note_death(float(number), pair)) == set()
    assert boxed(box.note_death(2.0, [suspect("eve:b2"), suspect("user2:a")])) == {"eve"}


def test_a_certain_author_explains_the_deaths_before() -> None:
    box = PenaltyBox()
    box.note_death(0.0, [suspect("eve:bomb"), suspect("bob:a")])
    box.note_death(1.0, [suspect("eve:bomb")])
    # Only one death is left unexplained: bob was near one, not two.
    box.note_death(2.0, [suspect("mal:other"), suspect("bob:b")])
    assert not is_alone(box, 3.0, "bob", "new")


def test_a_shape_that_never_ended_at_three_deaths_is_boxed_and_its_party_is_not() -> None:
    box = PenaltyBox()
    for number in range(3):
        box.note_survived("bob", "late", has_ended=False)
        pair = [suspect("bob:late", is_proved=True), suspect(f"user{number}:a")]
        found = box.note_death(float(number), pair)
    assert [(each.party, each.shape) for each in found] == [("bob", "late")]
    assert waits(box, 3.0, "bob", "late") > 0
    assert waits(box, 3.0, "bob", "other") == 0.0


def test_an_honest_writer_beside_every_crasher_is_not_the_one_that_is_boxed() -> None:
    """Its loads have one shape, and each one that ends clears it."""
    box = PenaltyBox()
    for number in range(20):
        found = box.note_death(float(number), [suspect("bob:load"), suspect(f"eve{number}:b")])
        assert found == []
        box.note_survived("bob", "load")
    assert waits(box, 21.0, "bob") == 0.0


def test_several_statements_of_one_principal_are_one_suspect() -> None:
    box = PenaltyBox()
    assert boxed(box.note_death(0.0, [suspect("eve:a"), suspect("eve:b")])) == {"eve"}
    assert is_alone(box, 20.0, "eve", "a")


def test_with_suspects_that_nobody_could_note_no_author_is_certain() -> None:
    box = PenaltyBox()
    assert box.note_death(0.0, [suspect("eve:bomb")], is_complete=False) == []
    assert is_alone(box, 1.0, "eve", "bomb")


def test_the_local_admin_is_never_boxed_and_hides_nobody() -> None:
    box = PenaltyBox()
    root = suspect("admin:bomb", is_exempt=True)
    for number in range(5):
        assert box.note_death(float(number), [root]) == []
    assert box.note_death(5.0, [root, suspect("bob:a")]) == []
    assert is_alone(box, 6.0, "bob", "a")


@pytest.mark.parametrize(
    "kind", [FaultKind.INTERNAL_ERROR, FaultKind.ANALYZER_KILLED, FaultKind.IGNORED_INTERRUPT]
)
def test_a_smaller_fault_boxes_the_shape_first_and_the_party_at_the_third(kind: FaultKind) -> None:
    box = PenaltyBox()
    assert boxed(box.note_fault(0.0, "eve", "a", kind)) == set()
    assert waits(box, 0.0, "eve", "a") == 15.0
    assert waits(box, 0.0, "eve", "b") == 0.0
    assert boxed(box.note_fault(1.0, "eve", "b", kind)) == set()
    assert boxed(box.note_fault(2.0, "eve", "c", kind)) == {"eve"}


def test_smaller_faults_of_several_parties_at_once_are_the_engines() -> None:
    box = PenaltyBox()
    for number in range(5):
        for party in ("amy", "bob", "eve"):
            found = box.note_fault(float(number), party, "same", FaultKind.INTERNAL_ERROR)
    assert boxed(found) == set()
    assert waits(box, 5.0, "amy") == 0.0


def test_ignored_interrupts_of_several_parties_at_once_excuse_nobody() -> None:
    """Whoever has three keys would repeat such statements with all of them for ever."""
    box = PenaltyBox()
    found = [
        box.note_fault(float(number), party, f"shape {number}", FaultKind.IGNORED_INTERRUPT)
        for number in range(3)
        for party in ("amy", "bob", "eve")
    ]
    assert set().union(*map(boxed, found[-3:])) == {"amy", "bob", "eve"}
    assert boxed(box.note_fault(4.0, "dan", "a", FaultKind.INTERNAL_ERROR)) == set()
    assert boxed(box.note_fault(5.0, "dan", "b", FaultKind.INTERNAL_ERROR)) == set()
    found = [box.note_fault(6.0, "dan", "c", FaultKind.INTERNAL_ERROR)]
    assert boxed(found[0]) == {"dan"}, "others' ignored interrupts excused internal errors"
    assert not is_alone(box, 30.0, "eve", "new"), "others would wait for it"


def test_after_the_box_everything_runs_alone_for_a_while() -> None:
    box = PenaltyBox()
    box.note_death(0.0, [suspect("eve:bomb")])
    assert is_alone(box, 20.0, "eve", "new")
    assert not is_alone(box, 1000.0, "eve", "new")


def test_an_operator_releases_a_party() -> None:
    box = PenaltyBox()
    box.note_death(0.0, [suspect("eve:bomb")])
    box.note_death(0.0, [suspect("eve:b"), suspect("bob:a")])
    assert box.release("eve")
    assert not box.release("eve")
    assert waits(box, 0.0, "eve", "bomb") == 0.0
    assert not is_alone(box, 0.0, "eve", "b")
    assert is_alone(box, 0.0, "bob", "a")


def test_one_bomb_from_a_hundred_keys_costs_a_few_processes() -> None:
    box, deaths = PenaltyBox(), 0
    for number in range(100):
        now, key = number / 2, f"eve{number}"
        if box.penalty(now, key, lambda: "bomb") is None:
            deaths += 1
            assert deaths == 1 or is_alone(box, now, key, "bomb")
            box.note_death(now, [suspect(f"{key}:bomb")])
    # Two until the shape waits for everybody; then one after each of its waits, which double.
    assert deaths == 4
    assert waits(box, 50.0, "another", "bomb") > 0
    assert waits(box, 50.0, "another", "report") == 0


def test_a_shape_that_one_party_made_deadly_runs_alone_for_others_and_is_cleared_for_each() -> None:
    box = PenaltyBox()
    box.note_death(0.0, [suspect("eve:report")])
    assert waits(box, 1.0, "bob", "report") == 0
    assert is_alone(box, 1.0, "bob", "report")
    box.note_survived("bob", "report", has_ended=False)
    assert is_alone(box, 1.0, "bob", "report")
    box.note_survived("bob", "report")
    assert not is_alone(box, 1.0, "bob", "report")
    assert is_alone(box, 1.0, "amy", "report")
    # Who has run it to its end since goes on when it waits for everybody else.
    box.note_death(20.0, [suspect("mal:report")])
    assert waits(box, 21.0, "amy", "report") > 0
    assert waits(box, 21.0, "bob", "report") == 0


def test_a_suspected_shape_runs_alone_for_everybody_until_it_ends_for_anybody() -> None:
    box = PenaltyBox()
    box.note_death(0.0, [suspect("eve:bomb"), suspect("bob:report")])
    assert is_alone(box, 1.0, "amy", "report")
    assert is_alone(box, 1.0, "amy", "bomb")
    box.note_survived("bob", "report")
    assert not is_alone(box, 1.0, "amy", "report")
    assert is_alone(box, 1.0, "amy", "bomb")


def test_what_has_no_text_is_nobody_elses_shape() -> None:
    box = PenaltyBox()
    box.note_death(0.0, [suspect("eve:load")])
    box.note_death(0.0, [suspect("mal:load"), suspect("bob:a")])
    assert not is_alone(box, 1.0, "amy", "load")


def test_an_operator_releases_the_shapes_of_everybody_and_a_restart_does_not() -> None:
    box = PenaltyBox()
    box.note_death(0.0, [suspect("eve:bomb")])
    box.note_death(0.0, [suspect("mal:bomb")])
    after = PenaltyBox()
    after.restore(0.0, json.loads(json.dumps(box.state(0.0))))
    for each in (box, after):
        assert waits(each, 1.0, "amy", "bomb") == 14.0
        assert ("*", "bomb") in {(one.party, one.shape) for one in each.penalties(1.0)}
        assert each.release("*")
        assert not each.release("*")
        assert waits(each, 1.0, "amy", "bomb") == 0
    assert waits(box, 1.0, "eve") > 0


def test_a_restart_forgets_nothing_and_waits_go_on_meanwhile() -> None:
    box = PenaltyBox()
    box.note_death(0.0, [suspect("amy:a"), suspect("bob:b")])
    box.note_death(100.0, [suspect("eve:bomb")])
    told = json.loads(json.dumps(box.state(105.0)))
    # The next process has a clock of its own; 4 s have passed since the state was written.
    after = PenaltyBox()
    after.restore(1000.0 - 4.0, told)
    assert waits(after, 1000.0, "eve") == pytest.approx(15.0 - 5.0 - 4.0)
    assert is_alone(after, 1000.0, "bob", "b")
    after.note_death(1001.0, [suspect("eve:bomb")])
    assert waits(after, 1001.0, "eve") == pytest.approx(30.0)


@pytest.mark.parametrize("told", [{}, {"parties": 1, "deaths": []}, {"parties": {"a": {}}}])
def test_a_state_of_another_form_is_refused_whole(told: dict[str, object]) -> None:
    box = PenaltyBox()
    box.note_death(0.0, [suspect("eve:bomb")])
    with pytest.raises((ValueError, TypeError, KeyError, AttributeError)):
        box.restore(0.0, told)
    assert waits(box, 0.0, "eve") == 15.0


def test_memory_is_bounded_whatever_comes() -> None:
    box = PenaltyBox()
    for number in range(6_000):
        box.note_fault(float(number), f"user{number}", "a", FaultKind.INTERNAL_ERROR)
    for number in range(300):
        box.note_fault(6_000.0, "eve", f"shape{number}", FaultKind.INTERNAL_ERROR)
    assert len(box) <= 5_000
    assert len(box.penalties(6_000.0)) <= 200
    box.tidy(60_000.0)
    assert len(box) == 0
