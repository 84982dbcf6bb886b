"""Admission under random arrivals, steps, ends, cancellations and deadlines of several parties."""

import asyncio
from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from chronoduck.errors import DuckDBException, QueueFullError, ServiceUnavailableError
from chronoduck.resilience.admission import Admission

LIMIT, QUEUE, SEATS, PLACE_SHARE, SEAT_SHARE = 3, 4, 5, 2, 3
CAPPED, FREE = ("ann", "bob", "eve"), ("admin",)
PARTIES = (*CAPPED, *FREE)


@dataclass(eq=False)
class Caller:
    """One who asked: waits with a task, works with a place, or pauses with only its seat."""

    number: int
    party: str
    task: asyncio.Task[float] | None = None
    has_seat: bool = False
    has_place: bool = False


class AdmissionMachine(RuleBasedStateMachine):
    """The model: who holds a place, who a seat, and who came before whom in each party."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.callers: list[Caller] = []
        self.next_number = 0
        self.is_closed = False
        self.passed_over = dict.fromkeys(PARTIES, 0)
        """Releases since a party with nothing running waits and could be served."""

    @initialize(with_seats=st.booleans())
    def build(self, with_seats: bool) -> None:
        self.seats = SEATS if with_seats else 10**9
        self.admission = Admission(
            LIMIT,
            QUEUE,
            seats=SEATS if with_seats else None,
            place_share=PLACE_SHARE,
            seat_share=SEAT_SHARE,
        )

    # --- the model ----------------------------------------------------------------------------

    def waiting(self, party: str | None = None, seated: bool | None = None) -> list[Caller]:
        return [
            each
            for each in self.callers
            if each.task is not None
            and party in (None, each.party)
            and seated in (None, each.has_seat)
        ]

    def places(self, party: str | None = None) -> int:
        return sum(each.has_place for each in self.callers if party in (None, each.party))

    def taken_seats(self, party: str | None = None) -> int:
        return sum(each.has_seat for each in self.callers if party in (None, each.party))

    def could_be_served(self, caller: Caller) -> bool:
        """Whether it could enter if a place were free."""
        is_capped = caller.party in CAPPED
        if is_capped and self.places(caller.party) >= PLACE_SHARE:
            return False
        return caller.has_seat or (
            self.taken_seats() < self.seats
            and not (is_capped and self.taken_seats(caller.party) >= SEAT_SHARE)
        )

    def settle(self) -> list[Caller]:
        """Let the loop run; note who was served, in the order of arrival within each queue."""
        for _ in range(5):
            self.loop.run_until_complete(asyncio.sleep(0))
        served = []
        for caller in list(self.callers):
            task = caller.task
            if task is None or not task.done():
                continue
            caller.task = None
            if task.cancelled() or task.exception() is not None:
                if not caller.has_seat:
                    self.callers.remove(caller)
                continue
            served.append(caller)
        for caller in served:
            overtaken = [
                each
                for each in self.waiting(caller.party, caller.has_seat)
                if each.number < caller.number and not each.task.cancelling()
            ]
            assert not overtaken, "a caller overtook one of its own party"
        for caller in served:
            caller.has_place = caller.has_seat = True
            self.passed_over[caller.party] = 0
        return served

    def ask(self, caller: Caller, timeout: float | None) -> None:
        caller.number = self.next_number
        self.next_number += 1
        caller.task = self.loop.create_task(
            self.admission.acquire(
                timeout, caller.party, is_capped=caller.party in CAPPED, has_seat=caller.has_seat
            )
        )

    # --- what happens -------------------------------------------------------------------------

    @rule(party=st.sampled_from(PARTIES), timeout=st.sampled_from([None, 1000.0]))
    def arrive(self, party: str, timeout: float | None) -> None:
        queued = {each: len(self.waiting(each, seated=False)) for each in PARTIES}
        before = self.waiting(seated=False)
        newcomer = Caller(self.next_number, party)
        enters = self.places() < LIMIT and self.could_be_served(newcomer)
        self.callers.append(newcomer)
        self.ask(newcomer, timeout)
        task = newcomer.task
        assert task is not None
        tasks = {each: each.task for each in before}
        self.settle()
        if self.is_closed:
            assert isinstance(task.exception(), ServiceUnavailableError)
            return
        evicted = [each for each in before if each.task is None and not each.has_place]
        is_full = sum(queued.values()) >= QUEUE
        longest = max(queued.values())
        if enters:
            assert newcomer.has_place
            assert not evicted
        elif not is_full:
            assert newcomer.task is not None
            assert not evicted
        elif longest > queued[party] + 1:
            (victim,) = evicted
            assert isinstance(tasks[victim].exception(), QueueFullError)
            assert queued[victim.party] == longest
            assert victim.number == max(
                each.number for each in before if each.party == victim.party
            )
            assert newcomer.task is not None
        else:
            assert isinstance(task.exception(), QueueFullError)
            assert not evicted

    @rule(party=st.sampled_from(PARTIES))
    def arrive_and_expire(self, party: str) -> None:
        newcomer = Caller(self.next_number, party)
        if self.places() < LIMIT and self.could_be_served(newcomer):
            return
        if len(self.waiting(seated=False)) >= QUEUE:
            return
        self.callers.append(newcomer)
        self.ask(newcomer, 0.0)
        task = newcomer.task
        assert task is not None
        self.settle()
        self.loop.run_until_complete(asyncio.sleep(0.001))
        self.settle()
        assert isinstance(task.exception(), DuckDBException)

    @precondition(lambda self: any(each.has_place for each in self.callers))
    @rule(data=st.data())
    def end_a_step(self, data: st.DataObject) -> None:
        working = [each for each in self.callers if each.has_place]
        caller = data.draw(st.sampled_from(working))
        hungry = [
            party
            for party in PARTIES
            if not self.places(party)
            and any(self.could_be_served(each) for each in self.waiting(party))
        ]
        caller.has_place = False
        self.admission.release(caller.party)
        served = {each.party for each in self.settle()}
        for party in hungry:
            if party not in served:
                self.passed_over[party] += 1
                assert self.passed_over[party] < len(PARTIES), f"{party} is starved"
        assert not hungry or served, "a place was left to nobody"

    @precondition(lambda self: any(each.has_seat for each in self.callers))
    @rule(data=st.data(), timeout=st.sampled_from([None, 1000.0]))
    def go_on_or_leave(self, data: st.DataObject, timeout: float | None) -> None:
        pausing = [
            each
            for each in self.callers
            if each.has_seat and not each.has_place and each.task is None
        ]
        if not pausing:
            return
        caller = data.draw(st.sampled_from(pausing))
        if data.draw(st.booleans()) and not self.is_closed:
            self.ask(caller, timeout)
            task = caller.task
            assert task is not None
            self.settle()
            assert caller.has_place or not task.done(), "one with a seat is never refused"
            return
        self.callers.remove(caller)
        self.admission.leave(caller.party)
        self.settle()

    @precondition(lambda self: self.waiting())
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        caller = data.draw(st.sampled_from(self.waiting()))
        assert caller.task is not None
        caller.task.cancel()
        self.settle()

    @precondition(lambda self: self.waiting() and self.places())
    @rule(data=st.data(), cancel_first=st.booleans())
    def cancel_at_the_hand_over(self, data: st.DataObject, cancel_first: bool) -> None:
        caller = data.draw(st.sampled_from(self.waiting()))
        working = data.draw(st.sampled_from([each for each in self.callers if each.has_place]))
        assert caller.task is not None
        if cancel_first:
            caller.task.cancel()
        working.has_place = False
        self.admission.release(working.party)
        caller.task.cancel()
        self.settle()
        self.passed_over = dict.fromkeys(PARTIES, 0)

    @rule()
    def close(self) -> None:
        if self.next_number % 17 == 16:
            self.is_closed = True
            self.admission.close(ServiceUnavailableError("closing"))
            self.settle()

    # --- what always holds --------------------------------------------------------------------

    @invariant()
    def counts_agree_with_the_model(self) -> None:
        if not hasattr(self, "admission"):
            return
        assert self.admission.running == self.places() <= LIMIT
        assert self.admission.seated == self.taken_seats() <= self.seats
        assert self.admission.waiting == len(self.waiting())
        assert len(self.waiting(seated=False)) <= QUEUE

    @invariant()
    def no_capped_party_has_more_than_its_share(self) -> None:
        for party in CAPPED:
            assert self.places(party) <= PLACE_SHARE
            if hasattr(self, "admission"):
                assert self.taken_seats(party) <= SEAT_SHARE

    @invariant()
    def nobody_waits_who_could_be_served(self) -> None:
        if self.places() < LIMIT:
            assert not any(self.could_be_served(each) for each in self.waiting())

    @invariant()
    def a_party_counts_as_passed_over_only_while_it_waits(self) -> None:
        for party in PARTIES:
            if self.places(party) or not any(
                self.could_be_served(each) for each in self.waiting(party)
            ):
                self.passed_over[party] = 0

    def teardown(self) -> None:
        for caller in self.waiting():
            assert caller.task is not None
            caller.task.cancel()
        self.settle()
        for caller in list(self.callers):
            if caller.has_place:
                self.admission.release(caller.party)
            self.admission.leave(caller.party)
        if hasattr(self, "admission"):
            assert (self.admission.running, self.admission.waiting) == (0, 0)
            assert self.admission.seated == 0
        self.loop.close()


TestAdmissionMachine = AdmissionMachine.TestCase
TestAdmissionMachine.settings = settings(max_examples=200, stateful_step_count=60, deadline=None)
