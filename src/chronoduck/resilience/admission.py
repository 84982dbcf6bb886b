"""How many run, how many wait, and who is refused: a gate that is fair between its parties.

Everybody who asks belongs to a party (a principal). A party's callers are served in their order, the
parties in turn: a hundred callers of one delay the first caller of another by one turn, not by a
hundred. Two things are handed out together: a *place* to work, taken for one step, and a *seat* (a
connection), kept until the caller has ended. A caller without a seat waits here for both, so that
nobody holds a place while it waits for a seat.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass

from chronoduck.errors import (
    DuckDBException,
    PoolTimeoutError,
    QueueFullError,
    StatementTimeoutError,
)

__all__ = ["Admission"]

_MAX_RETRY_SECONDS = 30.0
_SMOOTHING = 0.1
"""Weight of the newest hold in the moving average."""
_LONG_SECONDS = 1.0
_REMEMBERED_PARTIES = 1000
"""Beyond so many, parties that have and want nothing are forgotten."""


@dataclass(slots=True, eq=False)
class _Waiter:
    turn: asyncio.Future[None]
    number: int
    """Position in the order of arrival."""


class _Party:
    """What one principal holds and who of it waits."""

    __slots__ = (
        "held_since",
        "held_until",
        "id",
        "is_capped",
        "newcomers",
        "places",
        "seated",
        "seats",
    )

    def __init__(self, party_id: str) -> None:
        self.id = party_id
        self.is_capped = False
        self.places = 0
        self.seats = 0
        self.held_since = 0.0
        """Since when it has places without a gap, while it has some."""
        self.held_until = 0.0
        self.newcomers: deque[_Waiter] = deque()
        """They wait for a place and a seat."""
        self.seated: deque[_Waiter] = deque()
        """They have their seat and wait for a place; the number of seats bounds them."""

    @property
    def has_waiters(self) -> bool:
        return bool(self.newcomers or self.seated)

    @property
    def is_idle(self) -> bool:
        return not (self.places or self.seats or self.has_waiters)


class Admission:
    """At most ``limit`` callers hold a place and ``seats`` a seat; ``queue_size`` newcomers wait.

    A capped party has at most ``place_share`` places and ``seat_share`` seats at once, so that some
    are left for others. While the queue is full, a caller of a party with fewer waiters takes the
    place of the newest one of the party with the most, who is refused in its stead.

    For one event loop. A caller cancelled while it waits leaves the queue; one cancelled after it
    was served, before it woke up, passes on what it was given.
    """

    def __init__(
        self,
        limit: int,
        queue_size: int,
        *,
        seats: int | None = None,
        place_share: int | None = None,
        seat_share: int | None = None,
        fair_seconds: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``seats``: none means as many as are asked for; a share: none means all.

        ``fair_seconds``: for so long a capped party that held places for long is remembered: one place
        is left for each of those, and one for others. Three with long callers would otherwise hold
        all places together, each within its share.
        """
        self.limit = limit
        self.queue_size = queue_size
        self.seats: float = math.inf if seats is None else seats
        self.place_share = limit if place_share is None else place_share
        self.seat_share = self.seats if seat_share is None else seat_share
        self.running = 0
        self.seated = 0
        self.waiting = 0
        """Callers in the queue now, with and without a seat."""
        self.total_admitted = 0
        self.total_refused = 0
        self.total_wait_seconds = 0.0
        self._clock = clock
        self._fair_seconds = fair_seconds
        self._held_long: dict[str, _Party] = {}
        """Capped parties that held places for long, now or lately."""
        self._newcomers = 0
        self._parties: dict[str, _Party] = {}
        self._in_turn: OrderedDict[str, _Party] = OrderedDict()
        """The parties of which somebody waits; the first is the next to be served."""
        self._numbers = 0
        self._closing_error: DuckDBException | None = None
        self._released_at: float | None = None
        self._seconds_per_release = 0.0

    @property
    def waiting_for_want(self) -> int:
        """Callers that wait because there is no place or seat at all: not for their party's share."""
        is_short = self.running >= self.limit or self.seated >= self.seats
        return self.waiting if is_short else 0

    async def acquire(
        self,
        timeout: float | None = None,
        party_id: str = "",
        *,
        is_capped: bool = False,
        has_seat: bool = False,
    ) -> float:
        """Take a place, and a seat unless there is one; return the seconds waited for them.

        Does not suspend when both are free. ``release`` gives the place back, ``leave`` the seat.

        Raises:
            QueueFullError: too many wait already; ``retry_after_seconds`` estimates when not.
            StatementTimeoutError: no place came free within ``timeout`` seconds.
            PoolTimeoutError: no seat did.
            DuckDBException: the error that ``close`` was given.
        """
        if self._closing_error is not None:
            raise self._closing_error
        party = self._parties.get(party_id) or self._new_party(party_id)
        party.is_capped = is_capped
        # Whoever gives something back serves the queue at once: nobody waits who could enter.
        if self._may_enter(party, has_seat):
            self._enter(party, has_seat)
            self.total_admitted += 1
            return 0.0
        if not has_seat and self._newcomers >= self.queue_size and not self._make_room(party):
            self.total_refused += 1
            raise self._refusal()
        return await self._wait(timeout, party, has_seat)

    def _new_party(self, party_id: str) -> _Party:
        if len(self._parties) >= _REMEMBERED_PARTIES:
            self._parties = {key: each for key, each in self._parties.items() if not each.is_idle}
        party = self._parties[party_id] = _Party(party_id)
        return party

    def _leaves_some(self, party: _Party, most: float, taken: int, *, seats: bool) -> bool:
        """Whether a party that has some may take one more of ``most``, of which so many are taken.

        One stays free for whoever has none, and one for each busy party that has none.
        """
        if not self._fair_seconds or not (party.seats if seats else party.places):
            return True
        now = self._clock()
        busy_without = sum(
            1
            for each in self._busy(now)
            if each is not party and not (each.seats if seats else each.places)
        )
        return most - (taken + 1) >= 1 + busy_without

    def _busy(self, now: float) -> list[_Party]:
        """Return the capped parties that held places for long lately; forgets the others."""
        gone = [
            key
            for key, party in self._held_long.items()
            if not party.places and now - party.held_until > self._fair_seconds
        ]
        for key in gone:
            del self._held_long[key]
        return list(self._held_long.values())

    def _note_hold(self, party: _Party) -> None:
        """Take in that a party gives a place back, which it may have held for long."""
        if not self._fair_seconds or not party.is_capped:
            return
        now = self._clock()
        if now - party.held_since > _LONG_SECONDS:
            party.held_until = now
            self._held_long[party.id] = party

    def _may_enter(self, party: _Party, has_seat: bool) -> bool:
        return (
            self.running < self.limit
            and (not party.is_capped or self._may_work(party))
            and (has_seat or self._may_sit(party))
        )

    def _may_sit(self, party: _Party) -> bool:
        return self.seated < self.seats and (
            not party.is_capped
            or (
                party.seats < self.seat_share
                and self._leaves_some(party, self.seats, self.seated, seats=True)
            )
        )

    def _may_work(self, party: _Party) -> bool:
        return party.places < self.place_share and self._leaves_some(
            party, self.limit, self.running, seats=False
        )

    def _enter(self, party: _Party, has_seat: bool) -> None:
        self.running += 1
        if not party.places:
            party.held_since = self._clock()
        party.places += 1
        if not has_seat:
            self.seated += 1
            party.seats += 1

    async def _wait(self, timeout: float | None, party: _Party, has_seat: bool) -> float:
        started = self._clock()
        loop = asyncio.get_running_loop()
        self._numbers += 1
        waiter = _Waiter(loop.create_future(), self._numbers)
        queue = party.seated if has_seat else party.newcomers
        queue.append(waiter)
        self._count(queue, party, 1)
        self._in_turn.setdefault(party.id, party)
        timer = (
            None
            if timeout is None
            else loop.call_later(timeout, self._expire, party, queue, waiter, timeout)
        )
        try:
            await waiter.turn
        except BaseException:
            self._withdraw(party, queue, waiter)
            raise
        finally:
            waited = self._clock() - started
            self.total_wait_seconds += waited
            if timer is not None:
                timer.cancel()
        self.total_admitted += 1
        return waited

    def _count(self, queue: deque[_Waiter], party: _Party, change: int) -> None:
        self.waiting += change
        if queue is party.newcomers:
            self._newcomers += change

    def _remove(self, party: _Party, queue: deque[_Waiter], waiter: _Waiter) -> None:
        """Take a waiter off its queue; one that was taken off already is no longer there."""
        if waiter in queue:
            queue.remove(waiter)
            self._count(queue, party, -1)
        if not party.has_waiters:
            self._in_turn.pop(party.id, None)

    def _withdraw(self, party: _Party, queue: deque[_Waiter], waiter: _Waiter) -> None:
        waiter.turn.cancel()
        if waiter.turn.cancelled():
            self._remove(party, queue, waiter)
        elif waiter.turn.exception() is None:
            self.release(party.id)
            if queue is party.newcomers:
                self.leave(party.id)

    def _expire(
        self, party: _Party, queue: deque[_Waiter], waiter: _Waiter, timeout: float
    ) -> None:
        if waiter.turn.done():
            return
        self._remove(party, queue, waiter)
        if queue is party.newcomers and not self._may_sit(party):
            waiter.turn.set_exception(
                PoolTimeoutError(
                    f"no connection free after {timeout:.2f} s ({self.seated} of {self.seats:g} in "
                    f"use, {party.seats} of them by this caller's principal)",
                    hint="GET queries shows what holds them, results that are read slowly too. An "
                    "operator can raise DUCKDB_MAX_CONNECTIONS or DUCKDB_QUOTA_CONNECTIONS.",
                )
            )
            return
        waiter.turn.set_exception(
            StatementTimeoutError(
                f"waited {timeout:.2f} s for a worker ({self.running} of {self.limit} busy, "
                f"{self.waiting} waiting)",
                hint="GET queries shows what runs; or raise timeout_seconds.",
            )
        )

    def release(self, party_id: str = "") -> None:
        """Give a place back; whoever's turn it is has it at once."""
        self._measure_pace()
        party = self._parties[party_id]
        self._note_hold(party)
        party.places -= 1
        self.running -= 1
        self._serve()

    def leave(self, party_id: str = "") -> None:
        """Give a seat back."""
        party = self._parties[party_id]
        party.seats -= 1
        self.seated -= 1
        self._serve()

    def _serve(self) -> None:
        """Let in whoever may, the parties in turn."""
        while self._in_turn and self.running < self.limit:
            for party in self._in_turn.values():
                queue = self._next_queue(party)
                if queue is not None:
                    break
            else:
                return
            waiter = queue[0]
            self._in_turn.move_to_end(party.id)
            self._remove(party, queue, waiter)
            self._enter(party, queue is party.seated)
            waiter.turn.set_result(None)

    def _next_queue(self, party: _Party) -> deque[_Waiter] | None:
        """Return the queue whose first waiter may enter now: of both, that of who came first."""
        found: deque[_Waiter] | None = None
        for queue in (party.seated, party.newcomers):
            while queue and queue[0].turn.done():  # cancelled, and not yet awake to withdraw
                queue.popleft()
                self._count(queue, party, -1)
            if (
                queue
                and self._may_enter(party, queue is party.seated)
                and (found is None or queue[0].number < found[0].number)
            ):
                found = queue
        return found

    def _make_room(self, party: _Party) -> bool:
        """Refuse the newest waiter of the party with the most in this one's favour, if that is fair."""
        longest = max(
            self._in_turn.values(), key=lambda each: len(each.newcomers), default=party
        ).newcomers
        if len(longest) <= len(party.newcomers) + 1:
            return False
        waiter = longest.pop()
        self.waiting -= 1
        self._newcomers -= 1
        if not waiter.turn.done():
            self.total_refused += 1
            waiter.turn.set_exception(self._refusal())
        return True

    def _measure_pace(self) -> None:
        now = self._clock()
        if self._released_at is not None and self.waiting:
            newest = now - self._released_at
            self._seconds_per_release += _SMOOTHING * (newest - self._seconds_per_release)
        self._released_at = now

    def _refusal(self) -> QueueFullError:
        error = QueueFullError(
            f"{self.running} statements run and {self.waiting} wait, which is all that may",
            hint="Retry after the seconds in Retry-After; an operator can raise DUCKDB_QUEUE_SIZE.",
        )
        estimate = self._seconds_per_release * self.waiting
        error.retry_after_seconds = float(min(_MAX_RETRY_SECONDS, max(1, math.ceil(estimate))))
        return error

    def close(self, error: DuckDBException) -> None:
        """Refuse every caller, the waiting ones too, with ``error``; places can still be released."""
        self._closing_error = error
        for party in self._in_turn.values():
            for waiter in (*party.newcomers, *party.seated):
                if not waiter.turn.done():
                    waiter.turn.set_exception(error)
            party.newcomers.clear()
            party.seated.clear()
        self._in_turn.clear()
        self.waiting = self._newcomers = 0
