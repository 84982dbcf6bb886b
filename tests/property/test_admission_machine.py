"""Admission under random acquire, release, cancel, expire and close, on a loop stepped by hand."""

import asyncio

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from chronoduck.errors import DuckDBException, QueueFullError, ServiceUnavailableError
from chronoduck.resilience.admission import Admission

LIMIT, QUEUE = 3, 4


class AdmissionMachine(RuleBasedStateMachine):
    """Callers are tasks; the model is who holds a place and who came before whom."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.admission = Admission(LIMIT, QUEUE)
        self.waiting: list[tuple[int, asyncio.Task[float]]] = []
        self.holders = 0
        self.served: list[int] = []
        self.next_number = 0
        self.is_closed = False

    def settle(self) -> None:
        for _ in range(5):
            self.loop.run_until_complete(asyncio.sleep(0))
        still = []
        for number, task in self.waiting:
            if not task.done():
                still.append((number, task))
            elif not task.cancelled() and task.exception() is None:
                self.holders += 1
                self.served.append(number)
        self.waiting = still

    @rule(timeout=st.sampled_from([None, 1000.0]))
    def acquire(self, timeout: float | None) -> None:
        number = self.next_number
        self.next_number += 1
        expected_refusal = self.holders >= LIMIT and len(self.waiting) >= QUEUE
        task = self.loop.create_task(self.admission.acquire(timeout))
        self.waiting.append((number, task))
        self.settle()
        if self.is_closed:
            assert isinstance(task.exception(), ServiceUnavailableError)
        elif expected_refusal:
            assert isinstance(task.exception(), QueueFullError)

    @rule()
    def acquire_and_expire(self) -> None:
        if self.holders < LIMIT:
            return
        task = self.loop.create_task(self.admission.acquire(0.0))
        self.waiting.append((-1, task))
        self.settle()
        self.loop.run_until_complete(asyncio.sleep(0.001))
        self.settle()
        assert isinstance(task.exception(), DuckDBException)

    @precondition(lambda self: self.holders > 0)
    @rule()
    def release(self) -> None:
        self.holders -= 1
        self.admission.release()
        self.settle()

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        _, task = data.draw(st.sampled_from(self.waiting))
        task.cancel()
        self.settle()

    @precondition(lambda self: self.waiting and self.holders > 0)
    @rule(cancel_first=st.booleans())
    def cancel_at_the_hand_over(self, cancel_first: bool) -> None:
        _, task = self.waiting[0]
        if cancel_first:
            task.cancel()
        self.holders -= 1
        self.admission.release()
        task.cancel()
        self.settle()

    @rule()
    def close(self) -> None:
        if self.next_number % 7 == 0:
            self.is_closed = True
            self.admission.close(ServiceUnavailableError("closing"))
            self.settle()

    @invariant()
    def counts_agree_with_the_model(self) -> None:
        assert self.admission.running == self.holders <= LIMIT
        assert self.admission.waiting == len(self.waiting) <= QUEUE

    @invariant()
    def nobody_waits_beside_a_free_place(self) -> None:
        assert not (self.waiting and self.holders < LIMIT)

    @invariant()
    def the_order_is_that_of_arrival(self) -> None:
        assert self.served == sorted(self.served)

    def teardown(self) -> None:
        for _, task in self.waiting:
            task.cancel()
        self.settle()
        while self.holders:
            self.release()
        assert (self.admission.running, self.admission.waiting) == (0, 0)
        self.loop.close()


TestAdmissionMachine = AdmissionMachine.TestCase
TestAdmissionMachine.settings = settings(max_examples=100, stateful_step_count=60, deadline=None)
