"""Random histories of the pool, one step of the event loop and of the closing threads at a time."""

import asyncio
import inspect
import logging
from collections import Counter
from concurrent.futures import Executor, Future

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from chronoduck.engine.pool import ConnectionPool
from chronoduck.errors import DuckDBConnectionError, PoolTimeoutError, ServiceUnavailableError

happened = Counter()
"""What the histories of this run came through; the test looks at it in the end."""


class HandLoop(asyncio.SelectorEventLoop):
    """An event loop with a clock set by hand, that runs one round of callbacks at a time."""

    now = 0.0

    def time(self):
        return self.now

    def step(self):
        self.call_soon(self.stop)
        self.run_forever()

    def settle(self):
        for _ in range(10):  # longer than any chain of callbacks in the pool
            self.step()


class HandExecutor(Executor):
    """Runs its work when it is told to, in any order."""

    def __init__(self):
        self.work = []

    def submit(self, call, *args):
        future = Future()
        self.work.append((future, call, args))
        return future

    def run(self, index):
        future, call, args = self.work.pop(index % len(self.work))
        try:
            future.set_result(call(*args))
        except OSError as error:
            future.set_exception(error)


class PoolMachine(RuleBasedStateMachine):
    """The model: which callers wait, who holds which lease, which connections are open."""

    def __init__(self):
        super().__init__()
        self.loop = HandLoop()
        self.executor = HandExecutor()
        self.open = set()
        self.opened = 0
        self.lost = set()  # open when the instance was lost
        self.waiting = []  # tasks of live callers, in the order they came
        self.cancelled = []
        self.leases = []
        self.unmet = {}  # task of a caller: when its time is up
        self.is_closed = False
        self.during_connect = lambda: None
        self.close_fails = False

    @initialize(max_size=st.integers(1, 3))
    def build(self, max_size):
        self.max_size = max_size
        self.pool = ConnectionPool(
            self.connect,
            self.disconnect,
            max_size=max_size,
            executor=self.executor,
            clock=self.loop.time,
        )

    def connect(self):
        self.during_connect()
        self.opened += 1
        self.open.add(self.opened)
        assert len(self.open) <= self.max_size
        return self.opened

    def disconnect(self, raw):
        self.open.remove(raw)  # fails if it is closed twice
        assert all(lease._raw != raw for lease in self.leases)
        if self.close_fails:
            raise OSError("rollback failed")

    async def call(self, timeout):
        """What a caller does; runs on to its end without suspending once it was woken."""
        task = asyncio.current_task()
        try:
            lease = await self.pool.get_connection(timeout)
        except asyncio.CancelledError:
            self.cancelled.remove(task)
            raise
        except PoolTimeoutError:
            happened["timeout"] += 1
            assert self.loop.now >= self.unmet[task]
            self.waiting.remove(task)
        except ServiceUnavailableError:
            assert self.is_closed
            self.waiting.remove(task)
        else:
            # One who was served before may still have to wake up: a cancelled caller passed it on.
            before = self.waiting[: self.waiting.index(task)]
            assert all(other._fut_waiter.done() for other in before), "a caller overtook another"
            self.waiting.remove(task)
            self.leases.append(lease)

    @rule(timeout=st.sampled_from([None, 0.0, 1.0, 5.0]))
    def acquire(self, timeout):
        happened["acquire"] += 1
        task = self.loop.create_task(self.call(timeout))
        self.waiting.append(task)
        self.unmet[task] = self.loop.now + (timeout or 0.0)

    @precondition(lambda self: self.leases)
    @rule(data=st.data(), tainted=st.booleans(), twice=st.booleans())
    def release(self, data, tainted, twice):
        happened["release"] += 1
        lease = self.take(data)
        self.pool.return_connection(lease, tainted=tainted)
        if twice:
            self.pool.return_connection(lease)
        try:
            _ = lease.raw
        except DuckDBConnectionError:
            return
        raise AssertionError("a returned lease was used")

    def take(self, data):
        return self.leases.pop(data.draw(st.integers(0, len(self.leases) - 1)))

    @precondition(lambda self: self.leases and self.waiting)
    @rule(data=st.data(), tainted=st.booleans())
    def release_and_cancel_who_gets_it(self, data, tainted):
        happened["cancel at hand-over"] += 1
        self.pool.return_connection(self.take(data), tainted=tainted)
        self.cancel(self.waiting[0])

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def cancel_a_waiter(self, data):
        happened["cancel in the queue"] += 1
        self.cancel(data.draw(st.sampled_from(self.waiting)))

    def cancel(self, task):
        self.waiting.remove(task)
        task.cancel()
        if inspect.getcoroutinestate(task.get_coro()) != inspect.CORO_CREATED:
            self.cancelled.append(task)  # one that never began ends without a word

    @precondition(lambda self: self.leases)
    @rule(data=st.data())
    def use(self, data):
        happened["use"] += 1
        lease = data.draw(st.sampled_from(self.leases))
        assert lease.raw in self.open
        assert sum(other._raw == lease.raw for other in self.leases) == 1

    @precondition(lambda self: any(lease._raw is None for lease in self.leases))
    @rule()
    def fail_to_open(self):
        happened["failed opening"] += 1

        def fail():
            raise OSError("no such device")

        self.during_connect = fail
        try:
            _ = next(lease for lease in self.leases if lease._raw is None).raw
        except OSError:
            pass
        finally:
            self.during_connect = lambda: None

    @precondition(lambda self: any(lease._raw is None for lease in self.leases))
    @rule(tainted=st.booleans(), fails=st.booleans())
    def release_while_it_opens(self, tainted, fails):
        happened["release while it opens"] += 1
        lease = next(lease for lease in self.leases if lease._raw is None)
        self.leases.remove(lease)

        def give_back():
            self.pool.return_connection(lease, tainted=tainted)
            self.loop.settle()  # the place is not free yet, whoever waits
            if fails:
                raise OSError("no such device")

        self.during_connect = give_back
        try:
            _ = lease.raw
        except (OSError, DuckDBConnectionError):
            pass
        else:
            raise AssertionError("a returned lease was used")
        finally:
            self.during_connect = lambda: None

    @precondition(lambda self: self.leases)
    @rule(data=st.data())
    def taint(self, data):
        happened["taint"] += 1
        data.draw(st.sampled_from(self.leases)).taint()

    @precondition(lambda self: self.executor.work)
    @rule(index=st.integers(0, 9), fails=st.booleans())
    def finish_a_closing(self, index, fails):
        happened["closing"] += 1
        self.close_fails = fails
        self.executor.run(index)

    @rule()
    def step(self):
        happened["step"] += 1
        self.loop.step()

    @rule()
    def settle(self):
        """Let everything happen that can, and look for places that nobody gets."""
        happened["settle"] += 1
        self.loop.settle()
        assert not self.cancelled
        assert not (self.waiting and self.pool.available_connections)
        assert len(self.waiting) == self.pool.requests_waiting
        assert self.pool.in_use == len(self.leases) + len(self.executor.work)

    @rule(seconds=st.sampled_from([0.5, 1.0, 3.0]))
    def pass_time(self, seconds):
        happened["time"] += 1
        self.loop.now += seconds

    @rule()
    def invalidate(self):
        happened["invalidate"] += 1
        self.pool.invalidate()
        self.lost = set(self.open)
        assert self.pool.in_use == self.pool.total_connections

    @precondition(lambda self: self.opened > 1 and not self.is_closed)
    @rule()
    def close(self):
        happened["close"] += 1
        self.is_closed = True
        self.loop.create_task(self.pool.close(0.0))
        self.loop.settle()
        assert not self.waiting

    @invariant()
    def bounds_hold(self):
        assert len(self.open) <= self.max_size
        assert 0 <= self.pool.in_use <= self.pool.total_connections <= self.max_size
        held = [lease._raw for lease in self.leases if lease._raw is not None]
        assert len(held) == len(set(held)), "one connection was handed to two users"
        assert self.lost.isdisjoint(self.pool._idle)

    def teardown(self):
        try:
            if hasattr(self, "pool"):
                self.everything_comes_to_an_end()
        finally:
            self.loop.close()

    def everything_comes_to_an_end(self):
        self.settle()
        rounds = len(self.waiting) + 3  # each serves at least one caller
        while self.leases or self.waiting or self.executor.work:
            rounds -= 1
            assert rounds > 0, "a caller waits for ever"
            while self.leases:
                self.pool.return_connection(self.leases.pop(), tainted=False)
            while self.executor.work:
                self.executor.run(0)
            self.settle()
        assert self.pool.in_use == 0
        assert len(self.open) == self.pool.total_connections
        closing = self.loop.create_task(self.pool.close(5.0))
        self.loop.settle()
        while self.executor.work:
            self.executor.run(0)
        self.loop.settle()
        assert closing.result()
        assert not self.open
        assert self.pool.connections_opened == self.pool.connections_closed == self.opened


def test_no_history_of_the_pool_leaks_overtakes_or_hangs(caplog):
    caplog.set_level(logging.CRITICAL)  # closings fail by the thousand here
    happened.clear()
    run_state_machine_as_test(
        PoolMachine,
        settings=settings(
            max_examples=200,
            stateful_step_count=75,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    assert happened.total() >= 10_000
    assert min(happened.values()) >= 1, happened
